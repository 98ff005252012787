"""An event is what the values were at the call, as strict JSON."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Dict

import pytest

from laker._event import event_line, uuid7


def logged(**fields: Any) -> Dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    event = json.loads(event_line("u1", "mobile", "search", fields).json, parse_constant=refuse)
    assert isinstance(event, dict)
    return event


def test_an_event_says_who_did_what_when_and_has_an_id_of_its_own() -> None:
    before = datetime.now(timezone.utc)
    event = logged(keyword="giselle", results=3)
    time_of_event = datetime.fromisoformat(event["timestamp"])
    assert before <= time_of_event <= datetime.now(timezone.utc)
    assert len(event["timestamp"]) == len("2026-11-20T18:00:00.000001+00:00")
    assert uuid.UUID(event["_id"]).version == 7
    del event["timestamp"], event["_id"]
    assert event == {"user_id": "u1", "device": "mobile", "action": "search", "keyword": "giselle", "results": 3}


def test_the_application_may_bring_time_and_id() -> None:
    event = logged(timestamp="2026-01-01T00:00:00Z", _id="mine")
    assert (event["timestamp"], event["_id"]) == ("2026-01-01T00:00:00Z", "mine")


def test_ids_are_distinct_rfc_9562_and_sorted_by_millisecond() -> None:
    ids = [uuid.UUID(uuid7()) for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert all(each.version == 7 and each.variant == uuid.RFC_4122 for each in ids)
    milliseconds = [each.int >> 80 for each in ids]
    assert milliseconds == sorted(milliseconds)


class Seat(enum.Enum):
    STALLS = "stalls"


@dataclass
class Card:
    brand: str
    limit: Decimal


class Model:
    def model_dump(self) -> Dict[str, object]:
        return {"a": date(2026, 1, 2)}


class Array:
    def tolist(self) -> object:
        return [1.5, float("nan")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc), "2026-01-02T03:04:05.000006+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(milliseconds=1500), 1.5),
        (Decimal("12.50"), 12.5),
        (Decimal("0.1000000000000000000001"), "0.1000000000000000000001"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/a/b"), "/a/b"),
        (b"\x00\xff", "AP8="),
        ((1, 2), [1, 2]),
        (frozenset(["x"]), ["x"]),
        (Seat.STALLS, "stalls"),
        (Card("visa", Decimal(3)), {"brand": "visa", "limit": 3.0}),
        (Model(), {"a": "2026-01-02"}),
        ({Seat.STALLS: 1, (1, 2): 2, 3: 4}, {"stalls": 1, "(1, 2)": 2, "3": 4}),
        ("서울 \u2028\n\x00", "서울 \u2028\n\x00"),
        (2**70, 2**70),
    ],
)
def test_values_of_everyday_types_keep_their_meaning(value: object, expected: object) -> None:
    line = event_line("u1", "mobile", "search", {"value": value})
    assert json.loads(line.json)["value"] == expected
    assert not line.altered
    assert b"\n" not in line.json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        ([1.5, float("inf"), {"x": float("-inf")}], [1.5, None, {"x": None}]),
        (Decimal("NaN"), None),
        (Array(), [1.5, None]),
        (complex(1, 2), "(1+2j)"),
    ],
)
def test_a_value_without_a_json_form_is_replaced_and_that_is_noted(value: object, expected: object) -> None:
    line = event_line("u1", "mobile", "search", {"value": value})
    assert line.altered
    assert logged(value=value)["value"] == expected


def test_a_lone_surrogate_stays_what_it_was() -> None:
    assert logged(keyword="a\ud800b")["keyword"] == "a\ud800b"


def test_the_event_is_a_copy() -> None:
    seats = ["A-1"]
    line = event_line("u1", "mobile", "purchase", {"seats": seats})
    seats.append("A-2")
    assert json.loads(line.json)["seats"] == ["A-1"]


def test_an_object_that_contains_itself_is_an_error_and_no_endless_walk() -> None:
    loop: Dict[str, object] = {}
    loop["loop"] = loop
    with pytest.raises(ValueError, match="contains itself"):
        event_line("u1", "mobile", "search", loop)
