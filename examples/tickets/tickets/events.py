"""The events of the ticket service without the service: as many as asked for, the same for the same seed.

>>> first, second = ticket_events(2, seed=7)
>>> first["action"], first["seq"], second["seq"]
('search', 0, 1)
"""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import islice
from typing import Any, Iterator, Optional

from tickets.catalogue import SHOWS, search
from tickets.people import Action, Person, Purchase, Search, View, people, visit
from tickets.shapes import Fields, purchase_fields, search_fields, view_fields

Event = dict[str, Any]

START = datetime(2026, 11, 20, 18, 0, tzinfo=timezone.utc)
#: Mean time between two events: 200,000 of them take 28 hours and so fall on two or three days.
GAP_MS_MEAN = 500
_PEOPLE_COUNT = 2_000
_VISITS_AT_ONCE = 50
_searched = lru_cache(maxsize=None)(search)


def ticket_events(
    count: int, seed: int = 1, *, evolve: bool = False, start: Optional[datetime] = None
) -> Iterator[Event]:
    """Yields `count` events as the service would log them, in the order of their timestamps.

    Each has a `_id` of its own (a UUIDv7) and its number from 0 as `seq`.
    With `evolve`, the second half has new fields (`campaign`, `show.venue`, `payment.coupon`)
    and values that contradict the first half, as `EVOLUTIONS` lists them.
    The same arguments give the same events, in every process.
    """
    rng = random.Random(seed)
    time = start or START
    for seq, (person, fields) in enumerate(islice(_actions(rng), count)):
        time += timedelta(microseconds=rng.randint(1, 2_000 * GAP_MS_MEAN))
        event: Event = {
            "timestamp": time.isoformat(timespec="microseconds"),
            "_id": _event_id(time, seq, rng),
            "seq": seq,
            "user_id": person.user_id or "anonymous",
            "device": person.device,
            **fields,
        }
        if evolve and seq >= count // 2:
            _evolve(event, rng)
        yield event


def _actions(rng: random.Random) -> Iterator[tuple[Person, Fields]]:
    """What people do, for ever: many visits at once, their actions interleaved."""
    crowd = people(_PEOPLE_COUNT, rng)
    visits: list[Iterator[tuple[Person, Fields]]] = []
    while True:
        while len(visits) < _VISITS_AT_ONCE:
            visits.append(_visit_fields(rng.choice(crowd), rng))
        chosen = rng.randrange(len(visits))
        done = next(visits[chosen], None)
        if done is None:
            del visits[chosen]
        else:
            yield done


def _visit_fields(person: Person, rng: random.Random) -> Iterator[tuple[Person, Fields]]:
    doing = visit(person, rng)
    action: Optional[Action] = next(doing, None)
    while action is not None:
        found = _searched(*action) if isinstance(action, Search) else []
        yield person, _fields(action, len(found))
        try:
            action = doing.send(found)
        except StopIteration:
            return


def _fields(action: Action, results: int) -> Fields:
    if isinstance(action, Search):
        return {"action": "search", **search_fields(*action, results)}
    show = SHOWS[action.show_id]
    if isinstance(action, View):
        return {"action": "view", **view_fields(show)}
    assert isinstance(action, Purchase)
    return {"action": "purchase", **purchase_fields(show, action.seats, action.payment)}


def _event_id(time: datetime, seq: int, rng: random.Random) -> str:
    """A UUIDv7 whose last 32 bits are the sequence number, so that no two events share one."""
    milliseconds = int(time.timestamp() * 1000)
    random_bits = rng.getrandbits(42)
    value = milliseconds << 80 | 0x7 << 76 | (random_bits >> 30) << 64
    value |= 0b10 << 62 | (random_bits & (2**30 - 1)) << 32 | seq & (2**32 - 1)
    return str(uuid.UUID(int=value))


def _evolve(event: Event, rng: random.Random) -> None:
    if rng.random() < 0.3:
        event["campaign"] = {"source": rng.choice(["newsletter", "banner", "친구"]), "code": rng.randint(1, 99)}
    if "show" in event:
        show = SHOWS[event["show"]["id"]]
        event["show"]["venue"] = {"name": show.venue, "city": show.region}
    if "payment" in event:
        event["payment"]["coupon"] = rng.choice([None, {}, {"code": "WINTER10", "percent": 10}])
    if rng.random() < 0.2:
        change = rng.choice(EVOLUTIONS[event["action"]])
        change(event)


def _results_integral_float(event: Event) -> None:
    event["results"] = float(event["results"])


def _results_fraction(event: Event) -> None:
    event["results"] += 0.5


def _keyword_other_case(event: Event) -> None:
    event["Keyword"] = event.pop("keyword")


def _keyword_both_cases(event: Event) -> None:
    event["Keyword"] = event["keyword"].upper()


def _keyword_list(event: Event) -> None:
    event["keyword"] = event["keyword"].split()


def _price_text(event: Event) -> None:
    event["show"]["price"] = f"{event['show']['price']:,}"


def _show_text(event: Event) -> None:
    event["show"] = event["show"]["title"]


def _quantity_fraction(event: Event) -> None:
    event["quantity"] += 0.5


def _total_beyond_long(event: Event) -> None:
    event["total"] = 2**63 + event["total"]


def _seats_disagree(event: Event) -> None:
    event["seats"] = [*event["seats"], 7]


def _payment_text(event: Event) -> None:
    event["payment"] = event["payment"]["method"]


#: The contradictions of the second half, by action: each is applied alone to an event.
EVOLUTIONS = {
    "search": [
        _results_integral_float,
        _results_fraction,
        _keyword_other_case,
        _keyword_both_cases,
        _keyword_list,
    ],
    "view": [_price_text, _show_text],
    "purchase": [_price_text, _quantity_fraction, _total_beyond_long, _seats_disagree, _payment_text],
}
