"""The auditor itself: on tables written here, it finds each kind of damage, and nothing where there is none.
Needs no binary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pyarrow
import pyarrow.parquet
import pytest

from harness.auditor import audit
from harness.books import Book, Entry, KafkaProducer
from harness.kafka import Topic
from harness.lakes import Lake

EVENTS = 200
Row = dict[str, Any]
#: Rows and dead letters of each partition, and what is said of them.
Tables = dict[str, dict[int, list[Row]]]


@pytest.fixture
def books(topic: Topic) -> list[Book]:
    producer = KafkaProducer(topic, "k0", seed=7, events_per_second=1)
    producer.send(EVENTS)
    return [producer.book]


def test_nothing_is_found_where_nothing_is_wrong(folder_lake: Lake, topic: Topic, books: list[Book]) -> None:
    _write(folder_lake, topic, _tables(topic))
    found = audit(folder_lake, topic, books)
    assert found.sent == found.acknowledged == found.records == EVENTS
    assert found.rows + found.dead_letters + found.tombstones == EVENTS
    assert found.dead_letters > 0 and found.tombstones > 0


def _lose(tables: Tables) -> None:
    tables["logs"][0].pop()


def _double(tables: Tables) -> None:
    tables["logs"][0].append(tables["logs"][0][0])


def _land_in_both(tables: Tables) -> None:
    letter = tables["logs__dead"][_with_letters(tables)][0]
    tables["logs"][0].append({**tables["logs"][0][0], "_partition": letter["_partition"], "_offset": letter["_offset"]})


def _change_the_text(tables: Tables) -> None:
    tables["logs"][0][0]["text"] += "."


def _swap_two(tables: Tables) -> None:
    one, other = tables["logs"][0][:2]
    one["_offset"], other["_offset"] = other["_offset"], one["_offset"]


def _change_a_letter(tables: Tables) -> None:
    tables["logs__dead"][_with_letters(tables)][0]["raw"] += b" "


def _lose_a_letter(tables: Tables) -> None:
    tables["logs__dead"][_with_letters(tables)].pop()


def _invent(tables: Tables) -> None:
    tables["logs"][0].append({**tables["logs"][0][0], "_offset": 1_000_000})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_lose, "lost"),
        (_double, "doubled"),
        (_land_in_both, "doubled"),
        (_change_the_text, "checksum is wrong"),
        (_swap_two, "another event's"),
        (_change_a_letter, "not what was sent"),
        (_lose_a_letter, "lost"),
        (_invent, "landed, and not in the log"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else None,
)
def test_damage_to_the_tables_is_found(
    folder_lake: Lake, topic: Topic, books: list[Book], damage: Callable[[Tables], None], said: str
) -> None:
    tables = _tables(topic)
    damage(tables)
    _write(folder_lake, topic, tables)
    with pytest.raises(AssertionError, match=said):
        audit(folder_lake, topic, books)


def test_an_acknowledged_event_that_is_not_in_the_log_is_found(
    folder_lake: Lake, topic: Topic, books: list[Book]
) -> None:
    _write(folder_lake, topic, _tables(topic))
    books[0].entries.append(Entry(b"{}", attempts=1, acknowledged=True))
    with pytest.raises(AssertionError, match="acknowledged, and not in the log"):
        audit(folder_lake, topic, books)


def test_more_copies_than_were_sent_are_found(folder_lake: Lake, topic: Topic, books: list[Book]) -> None:
    topic.produce_with_confluent([books[0].entries[0].payload])
    _write(folder_lake, topic, _tables(topic))
    with pytest.raises(AssertionError, match="more often than it was sent"):
        audit(folder_lake, topic, books)


def test_a_hole_in_the_chain_is_found(folder_lake: Lake, topic: Topic, books: list[Book]) -> None:
    _write(folder_lake, topic, _tables(topic), hole=1)
    with pytest.raises(AssertionError, match="follows"):
        audit(folder_lake, topic, books)


def test_a_chain_that_does_not_reach_the_end_is_found(folder_lake: Lake, topic: Topic, books: list[Book]) -> None:
    _write(folder_lake, topic, _tables(topic), short=1)
    with pytest.raises(AssertionError, match="have not landed to their end"):
        audit(folder_lake, topic, books)


def _with_letters(tables: Tables) -> int:
    return next(partition for partition, rows in tables["logs__dead"].items() if rows)


def _tables(topic: Topic) -> Tables:
    tables: Tables = {name: {p: [] for p in range(topic.partitions)} for name in ("logs", "logs__dead")}
    for partition, offset, value in topic.read_all():
        place = {"_partition": partition, "_offset": offset}
        if value is not None and value.endswith(b"}"):
            event = json.loads(value)
            kept = {name: event[name] for name in ("_id", "producer", "sequence", "text", "checksum")}
            tables["logs"][partition].append({**place, **kept})
        elif value is not None:
            tables["logs__dead"][partition].append({**place, "reason": "invalid_json", "raw": value})
    return tables


def _write(lake: Lake, topic: Topic, tables: Tables, hole: int = 0, short: int = 0) -> None:
    """Each partition as two files that continue each other, unless there shall be a hole between them."""
    ends = {partition: 0 for partition in range(topic.partitions)}
    for partition, offset, _ in topic.read_all():
        ends[partition] = max(ends[partition], offset + 1)
    for name, partitions in tables.items():
        for partition, rows in partitions.items():
            start_file = Path(lake.table_path(name)) / "_laker" / "start" / f"p={partition}.json"
            start_file.parent.mkdir(parents=True, exist_ok=True)
            start_file.write_text(json.dumps({"log": "log", "start": 0}))
            end, middle = ends[partition] - short, ends[partition] // 2
            _write_file(lake, name, partition, 0, middle, [row for row in rows if row["_offset"] < middle])
            rest = [row for row in rows if row["_offset"] >= middle]
            _write_file(lake, name, partition, middle + hole, end, rest)


def _write_file(lake: Lake, table: str, partition: int, start: int, end: int, rows: list[Row]) -> None:
    folder = Path(lake.table_path(table)) / "data" / f"p={partition}"
    folder.mkdir(parents=True, exist_ok=True)
    said = {"batch_id": f"{table}-{partition}-{start}", "partition": partition, "start": start, "end": end}
    schema = _SCHEMAS[table].with_metadata({f"laker.{name}": str(value) for name, value in said.items()})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), folder / f"{start:020}.parquet")


_PLACE = [("_partition", pyarrow.int32()), ("_offset", pyarrow.int64())]
_TEXTS = [(name, pyarrow.string()) for name in ("_id", "producer", "text", "checksum")]
_SCHEMAS = {
    "logs": pyarrow.schema([*_PLACE, *_TEXTS, ("sequence", pyarrow.int64())]),
    "logs__dead": pyarrow.schema([*_PLACE, ("reason", pyarrow.string()), ("raw", pyarrow.binary())]),
}
