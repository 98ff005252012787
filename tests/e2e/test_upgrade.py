"""A log and a table that an earlier format wrote are read and gone on with by today's binary."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import pytest

from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import read_with_duckdb, readers_of
from harness.rows import event_of, without_nulls
from harness.suite import comparable

Place = tuple[int, int]
GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = sorted(folder for folder in GOLDEN.glob("format-*/*") if folder.is_dir())
#: What today's binary adds: a known column, a new one, a conflict.
ADDED = [b'{"_id":"g","n":7,"name":"later"}', b'{"_id":"h","n":"eight","new":true}']


def test_there_is_a_golden_folder_of_each_kind() -> None:
    assert {folder.name for folder in FOLDERS} == {"delta", "delta-checkpoint", "parquet"}


@pytest.mark.parametrize("golden", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_table_of_an_earlier_format_is_read_and_gone_on_with(
    new_laker: Callable[..., Laker], tmp_path: Path, folder_lake: Lake, golden: Path
) -> None:
    for part in ("log", "lake"):
        shutil.copytree(golden / part, tmp_path / part)
    table_format = "parquet" if golden.name == "parquet" else "delta"
    events = _events(golden)
    _assert_landed(folder_lake, table_format, events, [])

    laker = new_laker(folder_lake, format=table_format)
    laker.load_the_rest()
    _assert_landed(folder_lake, table_format, events, [])
    process = laker.up()
    rows = sum(_is_event(payload) for payload in events.values())
    assert laker.sql("SELECT count(*) AS n FROM logs") == [{"n": rows}]
    assert laker.post(b"\n".join(ADDED)).json()["accepted"] == 2
    assert laker.sql("SELECT count(*) AS n FROM logs") == [{"n": rows + 2}]
    assert process.stop() == 0, process.log_end()
    _assert_landed(folder_lake, table_format, events, ADDED)


def _events(golden: Path) -> dict[Place, bytes]:
    """What the log has, by place: `partition offset payload`, the payload in hexadecimal digits."""
    events = {}
    for line in (golden / "events.txt").read_text().splitlines():
        partition, offset, digits = line.split(" ")
        events[int(partition), int(offset)] = bytes.fromhex(digits)
    return events


def _is_event(payload: bytes) -> bool:
    try:
        return isinstance(json.loads(payload.decode()), dict)
    except ValueError:
        return False


def _assert_landed(lake: Lake, table_format: str, events: dict[Place, bytes], added: list[bytes]) -> None:
    """Each event is in one of the two tables, once, whole and at its place; of the added ones the place is new."""
    golden = {place: _whole(payload) for place, payload in events.items() if _is_event(payload)}
    for reader in readers_of(table_format).values():
        rows: list[dict[str, Any]] = reader(lake, "logs").to_pylist()
        landed = {(row["_partition"], row["_offset"]): comparable(event_of(row)) for row in rows}
        assert len(landed) == len(rows) == len(golden) + len(added)
        assert {place: event for place, event in landed.items() if place in events} == golden
        assert Counter(event for place, event in landed.items() if place not in events) == Counter(map(_whole, added))
    letters = read_with_duckdb(lake, "logs__dead").to_pylist()
    dead = {place: payload for place, payload in events.items() if not _is_event(payload)}
    assert {(letter["_partition"], letter["_offset"]): letter["raw"] for letter in letters} == dead
    assert len(letters) == len(dead)


def _whole(payload: bytes) -> str:
    return comparable(without_nulls(json.loads(payload)))
