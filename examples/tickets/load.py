"""People who use the ticket service: they search, mistype, look around, and sometimes buy.

    python load.py --url http://127.0.0.1:8000 --users 50 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Optional

import httpx

from tickets.catalogue import SHOWS, Show
from tickets.people import Action, Person, Purchase, Search, View, people, visit

_SECONDS_DEFAULT = 60.0


@dataclass
class Tally:
    """What the people did, and what failed."""

    events_max: Optional[int]
    seconds_max: Optional[float]
    started: float = field(default_factory=time.monotonic)
    sent: int = 0
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def may_go_on(self) -> bool:
        """Whether there is time and need for one more request; counts it if so."""
        if self.events_max is not None and self.sent >= self.events_max:
            return False
        if self.seconds_max is not None and self.seconds >= self.seconds_max:
            return False
        self.sent += 1
        return True

    def line(self) -> str:
        """The state in one line."""
        actions = ", ".join(f"{count} {action}" for action, count in self.done.most_common())
        rate = self.done.total() / max(self.seconds, 1e-9)
        failed = f", {self.failed.total()} failed" if self.failed else ""
        return f"{self.seconds:5.1f} s: {self.done.total()} events ({actions}), {rate:.0f} requests/s{failed}"


async def user(client: httpx.AsyncClient, crowd: list[Person], seed: str, pause: float, tally: Tally) -> None:
    """One seat at a browser: a person after the other, until time or events are up."""
    rng = random.Random(seed)
    going = True
    while going:
        going = await _visit(client, rng.choice(crowd), rng, pause, tally)


async def _visit(client: httpx.AsyncClient, person: Person, rng: random.Random, pause: float, tally: Tally) -> bool:
    doing = visit(person, rng)
    action: Optional[Action] = next(doing, None)
    while action is not None:
        if not tally.may_go_on():
            return False
        found = await _act(client, person, action, tally)
        await asyncio.sleep(rng.expovariate(1 / pause) if pause else 0)
        try:
            action = doing.send(found)
        except StopIteration:
            action = None
    return True


async def _act(client: httpx.AsyncClient, person: Person, action: Action, tally: Tally) -> list[Show]:
    name = type(action).__name__.lower()
    headers = {"User-Agent": person.user_agent}
    if person.user_id is not None:
        headers["user_id"] = person.user_id
    try:
        response = await client.send(_request(client, action, headers))
        response.raise_for_status()
    except httpx.HTTPError as error:
        tally.failed[str(error) or type(error).__name__] += 1
        return []
    tally.done[name] += 1
    return [SHOWS[show["id"]] for show in response.json()] if isinstance(action, Search) else []


def _request(client: httpx.AsyncClient, action: Action, headers: dict[str, str]) -> httpx.Request:
    if isinstance(action, Search):
        given = {name: value for name, value in action._asdict().items() if value}
        return client.build_request("GET", "/search", params=given, headers=headers)
    if isinstance(action, View):
        return client.build_request("GET", f"/shows/{action.show_id}", headers=headers)
    assert isinstance(action, Purchase)
    order = {"seats": action.seats, "payment": action.payment._asdict()}
    return client.build_request("POST", f"/shows/{action.show_id}/purchase", json=order, headers=headers)


async def show_progress(tally: Tally) -> None:
    """A line that is rewritten on a terminal, a line every ten seconds elsewhere."""
    terminal = sys.stderr.isatty()
    while True:
        await asyncio.sleep(1 if terminal else 10)
        start, end = ("\r", "") if terminal else ("", "\n")
        print(f"{start}{tally.line()}", end=end, file=sys.stderr, flush=True)


async def play(url: str, users: int, seed: int, pause: float, tally: Tally) -> None:
    """Lets the users use the service until time or events are up."""
    crowd = people(users * 20, random.Random(seed))
    limits = httpx.Limits(max_connections=users, max_keepalive_connections=users)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
        progress = asyncio.create_task(show_progress(tally))
        await asyncio.gather(*(user(client, crowd, f"{seed}/{number}", pause, tally) for number in range(users)))
        progress.cancel()
    if sys.stderr.isatty():
        print(file=sys.stderr)


def main() -> int:
    """Plays, prints what happened, and returns 1 if a request failed."""
    options = _options()
    seconds = options.seconds if options.seconds or options.events else _SECONDS_DEFAULT
    tally = Tally(options.events, seconds)
    asyncio.run(play(options.url, options.users, options.seed, options.pause, tally))
    print(f"{tally.sent} requests, {tally.done.total()} events in {tally.seconds:.1f} s")
    for action, count in tally.done.most_common():
        print(f"  {action:10} {count:8}")
    for reason, count in tally.failed.most_common(5):
        print(f"  failed {count} times: {reason}", file=sys.stderr)
    return 1 if tally.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plays people who use the ticket service.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the ticket service (default: %(default)s)")
    parser.add_argument("--users", type=int, default=50, help="how many at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help=f"how long (default: {_SECONDS_DEFAULT:g} without --events)")
    parser.add_argument("--events", type=int, help="how many events in all")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same people (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=0.2, help="mean seconds between two requests of a user (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
