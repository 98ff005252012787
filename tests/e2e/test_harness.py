"""The harness itself: that its readers read and its comparison sees. Needs no binary."""

from __future__ import annotations

import json
import tomllib
from datetime import date, datetime, timezone
from typing import Any

import pyarrow
import pyarrow.dataset
import pytest
from deltalake import write_deltalake

from harness.kafka import Topic
from harness.laker import to_toml
from harness.lakes import Lake
from harness.readers import count_rows, readers_of
from harness.rows import assert_each_place_once, assert_same_rows, differences, event_of, without_nulls

EVENTS: dict[str, dict[str, Any]] = {
    "a": {"_id": "a", "seq": 1, "show": {"id": 7}, "seats": [1, 2]},
    "b": {"_id": "b", "seq": None, "show": {"id": 8, "venue": {"name": "홀"}}, "note": {}},
    "c": {"_id": "c", "seq": "three", "show": "Hamlet", "seats": []},
}
RECEIVED = datetime(2026, 11, 20, 18, tzinfo=timezone.utc)


def _row(offset: int, **columns: Any) -> dict[str, Any]:
    system = {"_partition": 0, "_offset": offset, "_received_at": RECEIVED, "_time": RECEIVED}
    return {**system, "event_date": date(2026, 11, 20), "_residual": None, **columns}


#: The first file lacks what the second has, as in a table that evolved.
FIRST = [_row(0, _id="a", seq=1, show={"id": 7}, seats=[1, 2])]
SECOND = [
    _row(1, _id="b", seq=None, show={"id": 8, "venue": {"name": "홀"}}, _residual=json.dumps({"note": {}})),
    _row(2, _id="c", seq=None, show=None, _residual='{"seq": "three", "show": "Hamlet", "seats": []}'),
]


def _table(rows: list[dict[str, Any]]) -> pyarrow.Table:
    table = pyarrow.Table.from_pylist(rows)
    for name, kind in {"_partition": pyarrow.int32(), "_received_at": _MICROS, "_time": _MICROS}.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    for name, kind in {"_residual": pyarrow.string(), "seq": pyarrow.int64()}.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    return table


_MICROS = pyarrow.timestamp("us", tz="UTC")


def _write(lake: Lake, table_format: str) -> None:
    for index, rows in enumerate([FIRST, SECOND]):
        if table_format == "delta":
            write_deltalake(
                lake.table_url("logs"),
                _table(rows),
                mode="append",
                schema_mode="merge",
                partition_by=["event_date"],
                storage_options=lake.storage_options,
            )
        else:
            pyarrow.dataset.write_dataset(
                _table(rows),
                f"{lake.table_path('logs')}/data/p=0",
                format="parquet",
                basename_template=f"{index:020}-{{i}}.parquet",
                filesystem=lake.file_system,
                existing_data_behavior="overwrite_or_ignore",
            )


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_every_reader_reads_the_same_rows(lake: Lake, table_format: str) -> None:
    _write(lake, table_format)
    assert count_rows(lake, "logs") == len(EVENTS)
    tables = {name: read(lake, "logs") for name, read in readers_of(table_format).items()}
    for name, table in tables.items():
        assert differences(EVENTS, table.to_pylist()) == [], name
        assert_same_rows(tables["pyarrow"], table, f"pyarrow and {name}")
        assert_each_place_once(table)


def test_a_row_with_its_residual_is_the_event() -> None:
    for row, event in zip(FIRST + SECOND, EVENTS.values()):
        assert event_of(row) == without_nulls(event)


def test_nulls_count_as_absent_and_empty_objects_do_not() -> None:
    assert without_nulls({"a": None, "b": {"c": None}, "d": {}, "e": [None, {"f": None}]}) == {"d": {}, "e": [None, None]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows[:-1], "1 missing: ['c']"),
        (lambda rows: rows + rows[:1], "1 doubled: ['a']"),
        (lambda rows: rows + [_row(9, _id="x")], "unknown: {'_id': 'x'}"),
        (lambda rows: [{**rows[0], "seq": 2}, *rows[1:]], "other contents"),
        (lambda rows: [*rows[:2], {**rows[2], "_residual": None}], "other contents"),
    ],
)
def test_a_difference_is_seen(change: Any, expected: str) -> None:
    found = differences(EVENTS, change(FIRST + SECOND))
    assert len(found) == 1 and expected in found[0], found


def test_two_reads_that_differ_in_a_system_column_are_not_the_same() -> None:
    moved = [{**FIRST[0], "_received_at": RECEIVED.replace(hour=19)}]
    with pytest.raises(AssertionError, match="differ in 1 rows"):
        assert_same_rows(_table(FIRST), _table(moved), "one and other")


def test_both_kinds_of_producer_reach_a_topic(topic: Topic) -> None:
    topic.produce_with_confluent([b"1", None])
    topic.produce_with_kafka_python([b"2", b""])
    assert sorted(topic.read(4), key=repr) == sorted([b"1", None, b"2", b""], key=repr)


def test_settings_are_written_as_toml() -> None:
    settings = {"lake": "file:/a b", "streams": {"logs": {"flush_rows": 3, "columns": {"the price": "double"}}}}
    assert tomllib.loads(to_toml(settings)) == settings
