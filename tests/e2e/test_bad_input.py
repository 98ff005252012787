"""Bad input, each a clear answer, and its neighbours intact all the way into the table."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Callable, Optional

import pyarrow
import pytest

from harness.kafka import Topic
from harness.laker import Answer, Laker
from harness.lakes import Lake
from harness.readers import count_rows, read_with_duckdb, read_with_pyarrow
from harness.rows import event_of, without_nulls
from harness.waiting import wait_until

MIB = 1024 * 1024
DEEP = b'{"_id":"bad","a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
BEFORE = b'{"_id":"before","n":1}'
AFTER = b'{"_id":"after","n":2}'


@dataclass(frozen=True)
class Bad:
    """One bad event, which no table row can stand for."""

    name: str
    payload: bytes
    code: str


@dataclass(frozen=True)
class Odd:
    """One event that is strange but an event: its row and residual give it back."""

    name: str
    payload: bytes
    #: Texts that stand in the residual byte for byte as they were sent.
    residual: list[bytes] = field(default_factory=list)


BAD = [
    Bad("broken UTF-8", b'{"_id":"bad","name":"caf\xe9"}', "invalid_utf8"),
    Bad("truncated", b'{"_id":"bad","a":', "invalid_json"),
    Bad("10,000 deep", DEEP, "too_deep"),
    Bad("array", b'[{"_id":"bad"}]', "not_an_object"),
    Bad("array of arrays", b"[[1],[2]]", "not_an_object"),
    Bad("number", b"42", "not_an_object"),
    Bad("text", b'"text"', "not_an_object"),
    Bad("null", b"null", "not_an_object"),
    Bad("no JSON", b"<event/>", "invalid_json"),
]
ODD = [
    Odd("10 MB string", b'{"_id":"odd","text":"' + b"x" * 10_000_000 + b'"}'),
    Odd("number no type holds", b'{"_id":"odd","big":1e400}', [b"1e400"]),
    Odd("lone surrogate", b'{"_id":"odd","text":"\\ud800"}', [b"\\ud800"]),
    Odd("keys differing by case", b'{"_id":"odd","Key":1,"key":2,"KEY":3}'),
    Odd("key with a space", b'{"_id":"odd","a key":"value"}', [b'"a key"']),
    Odd("keys Delta forbids", json.dumps({"_id": "odd", **{f"a{c}b": 1 for c in " ,;{}()\n\t="}}).encode()),
    Odd("5,000 keys", json.dumps({"_id": "odd", **{f"key_{n}": n for n in range(5_000)}}).encode()),
    Odd("field of arrays of arrays", b'{"_id":"odd","a":[[1,2],[3],[]]}'),
    Odd("array that disagrees", b'{"_id":"odd","a":[1,"two",{"three":3}]}', [b'[1,"two",{"three":3}]']),
    Odd("empty object and array", b'{"_id":"odd","o":{},"a":[],"d":{"e":{}}}'),
    Odd("names of system columns", b'{"_id":"odd","_offset":"mine","_time":7,"event_date":"never","_residual":{"x":1}}'),
    Odd("other type than the column's", b'{"_id":"odd","n":"three"}', [b'"three"']),
    Odd("fraction in a long column", b'{"_id":"odd","n":2.5}', [b"2.5"]),
    Odd("integer beyond long", b'{"_id":"odd","n":9223372036854775808}', [b"9223372036854775808"]),
    Odd("id that is no string", b'{"_id":17,"odd":true}', [b"17"]),
    Odd("escapes and other scripts", '{"_id":"odd","키":"값\\u0000\\n😀","\\u0061":"b"}'.encode()),
    Odd("no field at all", b"{}"),
]
named = pytest.mark.parametrize


@pytest.fixture
def laker(new_laker: Callable[..., Laker], folder_lake: Lake) -> Laker:
    laker = new_laker(folder_lake, flush_after="200ms")
    laker.up()
    return laker


@pytest.fixture
def kafka_laker(new_laker: Callable[..., Laker], folder_lake: Lake, topic: Topic) -> Laker:
    return new_laker(folder_lake, topic, flush_after="200ms")


@named("bad", BAD, ids=lambda bad: bad.name)
def test_over_http_a_bad_event_alone_is_400_and_between_others_is_named(
    laker: Laker, folder_lake: Lake, bad: Bad
) -> None:
    if not bad.payload.startswith(b"["):
        _assert_error(laker.post(bad.payload), 400, bad.code)
    answer = laker.post(b"\n".join([BEFORE, bad.payload, AFTER]))
    assert answer.status == 200, answer
    said = answer.json()
    assert said["accepted"] == 2 and isinstance(said["receipt"], str)
    assert [(one["index"], one["code"]) for one in said["rejected"]] == [(1, bad.code)]
    assert said["rejected"][0]["message"]
    table = _landed(laker, folder_lake)
    assert sorted(table["_id"].to_pylist()) == ["after", "before"]
    assert count_rows(folder_lake, "logs__dead") == 0


@named("odd", ODD, ids=lambda odd: odd.name)
def test_over_http_an_odd_event_comes_back_whole(laker: Laker, folder_lake: Lake, odd: Odd) -> None:
    # Landed first, so that the columns have their types when the odd one comes.
    assert laker.post(BEFORE).status == 200
    _wait_landed(folder_lake, 1)
    answer = laker.post(b"\n".join([odd.payload, AFTER]))
    assert (answer.status, answer.json()["accepted"]) == (200, 2), answer
    _assert_odd_came_back(_landed(laker, folder_lake), odd)
    _assert_odd_came_back(read_with_duckdb(folder_lake, "logs"), odd)


@named("odd", ODD, ids=lambda odd: odd.name)
def test_over_kafka_an_odd_event_comes_back_whole(
    kafka_laker: Laker, topic: Topic, folder_lake: Lake, odd: Odd
) -> None:
    topic.produce_with_confluent([BEFORE])
    kafka_laker.load_the_rest()
    topic.produce_with_kafka_python([odd.payload, AFTER])
    kafka_laker.load_the_rest()
    _assert_odd_came_back(read_with_pyarrow(folder_lake, "logs"), odd)


@named("table_format", ["delta", "parquet"])
def test_over_kafka_bad_events_are_dead_letters_byte_for_byte_and_tombstones_are_skipped(
    new_laker: Callable[..., Laker], topic: Topic, folder_lake: Lake, table_format: str
) -> None:
    laker = new_laker(folder_lake, topic, format=table_format)
    too_large = b'{"_id":"bad","text":"' + b"x" * (16 * MIB) + b'"}'
    dead = [bad.payload for bad in BAD] + [b"", b" ", too_large]
    good = [json.dumps({"_id": f"good-{number}", "n": number}).encode() for number in range(len(dead) + 1)]
    woven: list[Optional[bytes]] = [good[0]]
    for bad_one, good_one in zip(dead, good[1:]):
        woven += [bad_one, None, good_one]
    topic.produce_with_confluent(woven)
    laker.load_the_rest()

    table = read_with_pyarrow(folder_lake, "logs")
    assert sorted(table["_id"].to_pylist()) == sorted(f"good-{number}" for number in range(len(good)))
    letters = read_with_duckdb(folder_lake, "logs__dead").to_pylist()
    assert sorted(letter["raw"] for letter in letters) == sorted(dead)
    expected = {bad.payload: bad.code for bad in BAD}
    for letter in letters:
        assert letter["reason"] and letter["detail"] and letter["_received_at"] is not None
        assert letter["reason"] == expected.get(letter["raw"], letter["reason"])
    places = [(row["_partition"], row["_offset"]) for row in table.to_pylist() + letters]
    assert len(set(places)) == len(good) + len(dead), "each place is in one of the two tables, once"


def test_a_topic_of_nothing_but_dead_letters_and_tombstones_moves_on(
    kafka_laker: Laker, topic: Topic, folder_lake: Lake
) -> None:
    for _ in range(2):
        topic.produce_with_confluent([b"no json", None, b"", None])
        kafka_laker.load_the_rest()
    assert count_rows(folder_lake, "logs__dead") == 4
    topic.produce_with_confluent([BEFORE])
    kafka_laker.load_the_rest()
    assert read_with_pyarrow(folder_lake, "logs")["_id"].to_pylist() == ["before"]
    assert count_rows(folder_lake, "logs__dead") == 4


@named(
    ("status", "code", "body", "headers", "path"),
    [
        pytest.param(400, "empty_body", b"", {}, "/events", id="empty body"),
        pytest.param(400, "empty_body", b" \n ", {}, "/events", id="blank body"),
        pytest.param(400, "empty_body", b"[]", {}, "/events", id="empty array"),
        pytest.param(400, "not_an_object", b"[[1],[2]]", {}, "/events", id="array of arrays"),
        pytest.param(413, "too_large", b'{"a":"' + b"x" * 17 * MIB + b'"}', {}, "/events", id="body over the limit"),
        pytest.param(413, "too_large", b"bomb", {"Content_Encoding": "gzip"}, "/events", id="gzip bomb"),
        pytest.param(400, None, b"no gzip", {"Content_Encoding": "gzip"}, "/events", id="no gzip at all"),
        pytest.param(415, None, b"{}", {"Content_Encoding": "br"}, "/events", id="unknown encoding"),
        pytest.param(415, None, b"<e/>", {"Content_Type": "application/xml"}, "/events", id="wrong content type"),
        pytest.param(404, "unknown_stream", b"{}", {}, "/events/lgos", id="unknown stream"),
        pytest.param(404, None, b"{}", {}, "/events/..%2F..%2Fetc", id="stream that is a path"),
    ],
)
def test_a_request_that_cannot_be_taken_is_told_why(
    laker: Laker, folder_lake: Lake, status: int, code: Optional[str], body: bytes, headers: dict[str, str], path: str
) -> None:
    payload = gzip.compress(b" " * 200 * MIB) if body == b"bomb" else body
    answer = laker.post(payload, path, **headers)
    _assert_error(answer, status, code)
    assert laker.post(AFTER).status == 200
    assert _landed(laker, folder_lake)["_id"].to_pylist() == ["after"]


def test_an_unknown_stream_is_told_the_nearest_one_and_makes_no_table(laker: Laker, folder_lake: Lake) -> None:
    answer = laker.post(b"{}", "/events/lgos")
    assert "logs" in answer.json()["message"]
    assert laker.post(AFTER).status == 200
    _landed(laker, folder_lake)
    assert count_rows(folder_lake, "lgos") == 0


def test_a_field_has_the_type_fixed_by_hand(new_laker: Callable[..., Laker], folder_lake: Lake) -> None:
    laker = new_laker(folder_lake, columns={"price": "double"})
    laker.up()
    assert laker.post(b'{"_id":"a","price":5}\n{"_id":"b","price":5.5}\n{"_id":"c","price":"5"}').status == 200
    table = _landed(laker, folder_lake)
    assert table.schema.field("price").type == pyarrow.float64()
    assert sorted(zip(table["_id"].to_pylist(), table["price"].to_pylist())) == [("a", 5.0), ("b", 5.5), ("c", None)]


def _assert_error(answer: Answer, status: int, code: Optional[str]) -> None:
    assert answer.status == status, answer
    said = answer.json()
    assert said["code"] == code if code else said["code"], said
    assert said["message"], said


def _wait_landed(lake: Lake, rows: int) -> None:
    wait_until(lambda: count_rows(lake, "logs") >= rows, f"{rows} rows have landed")


def _landed(laker: Laker, lake: Lake) -> pyarrow.Table:
    """The table once Laker has stopped: all that was acknowledged."""
    process = laker.processes[-1]
    assert process.stop() == 0, process.log_end()
    return read_with_pyarrow(lake, "logs")


def _assert_odd_came_back(table: pyarrow.Table, odd: Odd) -> None:
    rows = table.to_pylist()
    neighbours = [row for row in rows if row["_id"] in ("before", "after")]
    assert [event_of(row) for row in sorted(neighbours, key=lambda row: row["n"])] == [
        json.loads(BEFORE),
        json.loads(AFTER),
    ]
    (row,) = [row for row in rows if row["_id"] not in ("before", "after")]
    for text in odd.residual:
        assert text in (row["_residual"] or "").encode(), row["_residual"]
    expected, found = without_nulls(json.loads(odd.payload)), event_of(row)
    assert found == expected, f"{str(found)[:2000]} is not {str(expected)[:2000]}"
