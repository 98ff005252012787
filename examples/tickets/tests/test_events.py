"""The generated events are the service's, the same each time, and evolve as asked."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import uuid
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from parts import EXAMPLE, process_environment
from tickets.catalogue import SHOWS
from tickets.events import EVOLUTIONS, ticket_events

COUNT = 20_000


def shape(value: Any) -> Any:
    """The names and types of a value."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return type(value).__name__


def test_the_same_seed_gives_the_same_events_in_every_process() -> None:
    program = (
        "import json; from tickets.events import ticket_events\n"
        "for event in ticket_events(2000, seed=5, evolve=True): print(json.dumps(event))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=EXAMPLE,
            env=process_environment(PYTHONHASHSEED=hash_seed),
            check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    here = "".join(json.dumps(event) + "\n" for event in ticket_events(2000, seed=5, evolve=True)).encode()
    assert {hashlib.sha256(output).hexdigest() for output in outputs} == {hashlib.sha256(here).hexdigest()}


def test_a_different_seed_gives_other_events_with_other_ids() -> None:
    ids = [{event["_id"] for event in ticket_events(1_000, seed=seed)} for seed in (1, 2)]
    assert not ids[0] & ids[1]


def test_ids_are_unique_and_numbers_and_times_go_up() -> None:
    events = list(ticket_events(COUNT, evolve=True))
    assert len({event["_id"] for event in events}) == COUNT
    assert all(uuid.UUID(event["_id"]).version == 7 for event in events[:100])
    assert [event["seq"] for event in events] == list(range(COUNT))
    times = [datetime.fromisoformat(event["timestamp"]) for event in events]
    assert times == sorted(times)


def test_without_evolving_each_action_has_one_shape_and_all_actions_come() -> None:
    events = list(ticket_events(COUNT))
    shapes: dict[str, set[str]] = {}
    for event in events:
        event.pop("payment", None)
        shapes.setdefault(event["action"], set()).add(
            json.dumps({name: kind for name, kind in shape(event).items() if kind != "NoneType"})
        )
    assert set(shapes) == {"search", "view", "purchase"}
    assert len(shapes["view"]) == len(shapes["purchase"]) == 1
    # A keyword anywhere, a keyword in a region, and a category in a region.
    assert len(shapes["search"]) == 3


def test_the_second_half_has_new_fields_and_every_contradiction() -> None:
    events = list(ticket_events(COUNT, evolve=True))
    early, late = events[: COUNT // 2], events[COUNT // 2 :]
    assert early == list(ticket_events(COUNT))[: COUNT // 2]
    assert not any("campaign" in event or "Keyword" in event for event in early)
    assert {"campaign", "Keyword"} <= {name for event in late for name in event}
    kinds = Counter(
        (name, type(event[name]).__name__) for event in late for name in event if name in {"results", "show", "keyword"}
    )
    assert {("results", "float"), ("show", "str"), ("keyword", "list")} <= set(kinds)
    purchases = [event for event in late if event["action"] == "purchase"]
    assert any(isinstance(event["show"], dict) and isinstance(event["show"]["price"], str) for event in purchases)
    assert any(event["quantity"] % 1 for event in purchases)
    assert any(event["total"] > 2**63 for event in purchases)
    assert any(7 in event["seats"] for event in purchases)
    assert any(event["payment"] == "card" for event in purchases)
    assert sum(map(len, EVOLUTIONS.values())) == 12


def test_people_of_different_regions_look_for_different_things() -> None:
    typed: dict[str, Counter[str]] = {}
    for event in ticket_events(COUNT):
        if event["action"] == "search" and event["region"] and event["keyword"]:
            typed.setdefault(event["region"], Counter())[event["keyword"].lower()] += 1
    favourites = {region: keywords.most_common(1)[0] for region, keywords in typed.items()}
    assert len({keyword for keyword, _ in favourites.values()}) > 3
    for region, (_, count) in favourites.items():
        assert count > 2 * typed[region].most_common(5)[-1][1], f"the favourite of {region} stands out"
    known = {word.lower() for show in SHOWS.values() for word in (show.title, show.performer)}
    mistyped = sum(count for counts in typed.values() for keyword, count in counts.items() if keyword not in known)
    assert mistyped > 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_events_are_no_special_case(count: int) -> None:
    assert len(list(ticket_events(count, evolve=True))) == count
