"""The JSON suite through both doors: each case a row, a dead letter or a rejection as its manifest says,
its neighbours intact."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Callable, Iterable

import pytest

from harness.kafka import Topic
from harness.laker import Answer, Laker
from harness.lakes import Lake
from harness.readers import count_rows, read_with_duckdb, read_with_pyarrow
from harness.rows import assert_same_rows, event_of, without_nulls
from harness.suite import Case, cases, comparable, read_strictly

Row = dict[str, Any]
by_format = pytest.mark.parametrize("table_format", ["delta", "parquet"])


def test_python_and_the_folders_agree_on_what_is_json() -> None:
    assert len(cases()) >= 250
    for case in cases():
        is_json = read_strictly(case.payload) is not None
        assert case.kind == "implementation-defined" or is_json == (case.kind == "valid"), case.file


@by_format
def test_over_http_each_case_between_two_good_ones_is_what_the_manifest_says(
    new_laker: Callable[..., Laker], folder_lake: Lake, table_format: str
) -> None:
    laker = new_laker(folder_lake, format=table_format)
    process = laker.up()
    answers = [laker.post(b"\n".join([_good(2 * n), case.payload, _good(2 * n + 1)])) for n, case in enumerate(cases())]
    assert process.stop() == 0, process.log_end()

    wrong = [case.file for case, answer in zip(cases(), answers) if _verdicts(answer) != ["row", *case.line, "row"]]
    assert not wrong, wrong
    rows = {(row["_partition"], row["_offset"]): row for row in _rows(folder_lake)}
    for number, (case, answer) in enumerate(zip(cases(), answers)):
        taken = [line for line, verdict in zip(case.lines(), case.line) if verdict == "row"]
        sent = [_good(2 * number), *taken, _good(2 * number + 1)]
        assert _events(rows.pop(place) for place in _places(answer)) == [_event(line) for line in sent], case.file
    assert not rows, "rows that no request of this test sent"
    assert count_rows(folder_lake, "logs__dead") == 0


@by_format
def test_over_http_each_case_alone_is_what_the_manifest_says(
    new_laker: Callable[..., Laker], folder_lake: Lake, table_format: str
) -> None:
    laker = new_laker(folder_lake, format=table_format)
    process = laker.up()
    accepted = 0
    for case in cases():
        assert laker.post(_good(0)).status == 200
        answer = laker.post(case.payload)
        if isinstance(case.body, str):
            assert (answer.status, answer.json()["code"]) == (400, case.body), case.file
        else:
            assert _verdicts(answer) == case.body, case.file
            accepted += case.body.count("row")
            assert answer.status == (200 if "row" in case.body else 400), case.file
    assert laker.post(_good(1)).status == 200
    assert process.stop() == 0, process.log_end()
    events = Counter(_events(_rows(folder_lake)))
    assert (events.pop(_event(_good(0))), events.pop(_event(_good(1)))) == (len(cases()), 1)
    assert sum(events.values()) == accepted
    assert count_rows(folder_lake, "logs__dead") == 0


@by_format
def test_over_kafka_each_case_between_two_good_ones_is_what_the_manifest_says(
    new_laker: Callable[..., Laker], topic: Topic, folder_lake: Lake, table_format: str
) -> None:
    laker = new_laker(folder_lake, topic, format=table_format)
    topic.produce_with_confluent(_woven())
    laker.load_the_rest()
    _assert_landed_as_the_manifest_says(folder_lake)
    laker.load_the_rest()
    _assert_landed_as_the_manifest_says(folder_lake)


def _woven() -> Iterable[bytes]:
    for number, case in enumerate(cases()):
        yield _good(number)
        yield case.payload
    yield _good(len(cases()))


def _assert_landed_as_the_manifest_says(lake: Lake) -> None:
    rows = [case.payload for case in cases() if case.record == "row"]
    good = [_good(number) for number in range(len(cases()) + 1)]
    landed = _rows(lake)
    assert Counter(_events(landed)) == Counter(map(_event, rows + good))
    letters = read_with_duckdb(lake, "logs__dead").to_pylist()
    dead = Counter((case.payload, case.record) for case in cases() if case.record != "row")
    assert Counter((letter["raw"], letter["reason"]) for letter in letters) == dead
    assert all(letter["detail"] for letter in letters)
    places = Counter((row["_partition"], row["_offset"]) for row in landed + letters)
    assert max(places.values()) == 1 and len(places) == 2 * len(cases()) + 1


def _rows(lake: Lake) -> list[Row]:
    """Rows that two readers agree on."""
    one, other = read_with_pyarrow(lake, "logs"), read_with_duckdb(lake, "logs")
    assert_same_rows(one, other, "pyarrow and duckdb")
    rows: list[Row] = one.to_pylist()
    return rows


def _good(number: int) -> bytes:
    return json.dumps({"_id": f"good-{number}", "n": number}).encode()


def _event(payload: bytes) -> str:
    return comparable(without_nulls(json.loads(payload)))


def _events(rows: Iterable[Row]) -> list[str]:
    return [comparable(event_of(row)) for row in rows]


def _verdicts(answer: Answer) -> list[str]:
    said = answer.json()
    rejected = {one["index"]: one["code"] for one in said.get("rejected", [])}
    count = said.get("accepted", 0) + len(rejected)
    return [rejected.get(index, "row") for index in range(count)]


def _places(answer: Answer) -> list[tuple[int, int]]:
    """Where the events of one request lie. The embedded log puts them behind one another in one partition."""
    _, partition, offsets = answer.json()["receipt"].split(".")
    first, _, last = offsets.partition("-")
    return [(int(partition), offset) for offset in range(int(first), int(last or first) + 1)]
