"""Each kind of damage to a table is found by `laker verify`, with its place.

The vandal knows what is written down: after rewriting a file it makes size, count and checksum right
again, or leaves the checksum out, as an older Laker would have.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable

import pyarrow
import pyarrow.compute
import pyarrow.parquet
import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake

Rows = Callable[[pyarrow.Table], pyarrow.Table]


@pytest.fixture(params=["delta", "parquet"])
def laker(request: pytest.FixtureRequest, new_laker: Callable[..., Laker], topic: Topic, folder_lake: Lake) -> Laker:
    laker = new_laker(folder_lake, topic, format=request.param)
    for round_number in range(2):
        topic.produce_with_confluent(
            [json.dumps({"n": f"{round_number}-{n}", "price": n / 7}).encode() for n in range(200)] + [b"{broken"]
        )
        laker.load_the_rest()
    assert _problems(laker, 0) == []
    return laker


def test_a_truncated_file_is_found(laker: Laker, folder_lake: Lake) -> None:
    path = Path(folder_lake.parquet_files("logs")[0])
    path.write_bytes(path.read_bytes()[:-500])
    kinds = _kinds(laker)
    assert kinds & {"file_damaged", "file_stray"} and "lost" in kinds, kinds


def test_a_changed_byte_is_found(laker: Laker, folder_lake: Lake) -> None:
    path = Path(folder_lake.parquet_files("logs")[0])
    content = bytearray(path.read_bytes())
    content[8] ^= 1
    path.write_bytes(content)
    damaged = [problem for problem in _problems(laker, 1) if problem["kind"] == "file_damaged"]
    assert damaged and all(str(path).endswith(problem["files"][0]) for problem in damaged), damaged


def test_a_changed_row_is_found_with_its_field(laker: Laker, folder_lake: Lake) -> None:
    def change(rows: pyarrow.Table) -> pyarrow.Table:
        names = rows["n"].to_pylist()
        names[3] = "changed"
        return rows.set_column(rows.schema.get_field_index("n"), "n", pyarrow.array(names))

    place = _rewrite(folder_lake, "logs", change, 3)
    (problem,) = _problems(laker, 1)
    assert (problem["kind"], problem["partition"], problem["offsets"]) == ("changed", place[0], [[place[1], place[1] + 1]])
    assert '"n"' in problem["message"], problem


def test_a_missing_row_is_found(laker: Laker, folder_lake: Lake) -> None:
    place = _rewrite(folder_lake, "logs", lambda rows: pyarrow.concat_tables([rows[:3], rows[4:]]), 3)
    problems = _problems(laker, 1)
    assert {"rows_missing", "lost"} <= {problem["kind"] for problem in problems}, problems
    (lost,) = [problem for problem in problems if problem["kind"] == "lost"]
    assert (lost["partition"], lost["offsets"]) == (place[0], [[place[1], place[1] + 1]])


def test_a_doubled_row_is_found(laker: Laker, folder_lake: Lake) -> None:
    place = _rewrite(folder_lake, "logs", lambda rows: pyarrow.concat_tables([rows, rows[3:4]]), 3)
    (doubled,) = [problem for problem in _problems(laker, 1) if problem["kind"] == "doubled"]
    assert (doubled["partition"], doubled["offsets"]) == (place[0], [[place[1], place[1] + 1]])


def test_a_missing_dead_letter_is_found(laker: Laker, folder_lake: Lake) -> None:
    place = _rewrite(folder_lake, "logs__dead", lambda rows: rows[1:], 0)
    problems = _problems(laker, 1)
    assert {"dead_missing", "lost"} <= {problem["kind"] for problem in problems}, problems
    (lost,) = [problem for problem in problems if problem["kind"] == "lost"]
    assert (lost["partition"], lost["offsets"]) == (place[0], [[place[1], place[1] + 1]])


def test_a_file_that_is_in_the_table_twice_is_found(laker: Laker, folder_lake: Lake) -> None:
    path = folder_lake.parquet_files("logs")[0]
    copy = path.replace(".parquet", "-copy.parquet")
    rows = pyarrow.parquet.read_metadata(path).num_rows
    shutil.copy(path, copy)
    if folder_lake.has_delta_log("logs"):
        entries = _entries(folder_lake, "logs")
        (add,) = [action for entry in entries for action in _actions(entry) if path.endswith(action.get("add", {}).get("path", "?"))]
        add["add"]["path"] = add["add"]["path"].replace(".parquet", "-copy.parquet")
        entry = entries[-1].with_name(f"{len(entries):020}.json")
        entry.write_text("\n".join(map(json.dumps, [{"commitInfo": {"operation": "WRITE"}}, add])))
    doubled = [problem for problem in _problems(laker, 1) if problem["kind"] == "doubled"]
    assert sum(end - start for problem in doubled for start, end in problem["offsets"]) == rows
    assert all(len(problem["files"]) == 2 for problem in doubled), doubled


def test_a_range_that_was_skipped_is_found(laker: Laker, folder_lake: Lake) -> None:
    before = json.loads(laker.run("verify", "--format", "json").stdout)["streams"][0]["partitions"]
    (partition, end) = next((part["partition"], part["next"]) for part in before if part["next"] > 0)
    if folder_lake.has_delta_log("logs"):
        entries = _entries(folder_lake, "logs")
        moves = [action["txn"] for entry in entries for action in _actions(entry) if "txn" in action]
        (ours, *_) = [txn["appId"] for txn in moves if txn["appId"].startswith("laker/") and txn["appId"].endswith(f"/{partition}")]
        info = {
            "operation": "WRITE", "laker.batch_id": "vandal", "laker.log": ours.split("/")[1],
            "laker.ranges": {str(partition): [end + 3, end + 5]}, "laker.row_count": 0, "laker.skipped_count": 2,
        }
        entry = entries[-1].with_name(f"{len(entries):020}.json")
        entry.write_text("\n".join(map(json.dumps, [{"commitInfo": info}, {"txn": {"appId": ours, "version": end + 5}}])))
        expected = [[end, end + 3]]
    else:
        # The second of three links goes: what it covered is skipped.
        (first, second, *_) = [path for path in folder_lake.parquet_files("logs") if f"/p={partition}/" in path]
        start, stop = (int(Path(second).stem), end)
        Path(second).rename(Path(first).with_name(f"{start:020}.gone"))
        moved = pyarrow.parquet.read_table(first)
        moved = moved[:0].replace_schema_metadata(
            {**_footer(first), b"laker.start": str(stop).encode(), b"laker.end": str(stop + 2).encode(),
             b"laker.row_count": b"0", b"laker.dead_count": b"0"}
        )
        pyarrow.parquet.write_table(moved, Path(first).with_name(f"{stop:020}.parquet"))
        expected = [[start, stop]]
    gaps = [problem for problem in _problems(laker, 1) if problem["kind"] == "gap" and problem["partition"] == partition]
    assert [problem["offsets"] for problem in gaps] == [expected], gaps


def _rewrite(lake: Lake, table: str, change: Rows, at: int) -> tuple[int, int]:
    """Gives the first file other rows, and says which place of the log its row `at` had."""
    path = next(path for path in lake.parquet_files(table) if pyarrow.parquet.read_metadata(path).num_rows > at)
    rows = pyarrow.parquet.read_table(path, partitioning=None)
    place = (rows["_partition"][at].as_py(), rows["_offset"][at].as_py())
    kept = {key: value for key, value in _footer(path).items() if key != b"laker.checksum"}
    changed = change(rows).replace_schema_metadata(kept)
    pyarrow.parquet.write_table(changed, path)
    if lake.has_delta_log(table):
        for entry in _entries(lake, table):
            actions = _actions(entry)
            for action in actions:
                add = action.get("add", {})
                if path.endswith(add.get("path", "?")):
                    add["size"] = Path(path).stat().st_size
                    add["tags"] = None
                    add["stats"] = json.dumps({**json.loads(add["stats"]), "numRecords": changed.num_rows})
            entry.write_text("\n".join(map(json.dumps, actions)))
    return place


def _footer(path: str) -> dict[bytes, bytes]:
    """What a file says of itself."""
    pairs = pyarrow.parquet.read_metadata(path).metadata or {}
    return {key: value for key, value in pairs.items() if key != b"ARROW:schema"}


def _entries(lake: Lake, table: str) -> list[Path]:
    return sorted(Path(lake.table_path(table), "_delta_log").glob("*.json"))


def _actions(entry: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in entry.read_text().splitlines()]


def _kinds(laker: Laker) -> set[str]:
    return {problem["kind"] for problem in _problems(laker, 1)}


def _problems(laker: Laker, code: int) -> list[dict[str, Any]]:
    done = laker.run("verify", "--format", "json")
    assert done.returncode == code, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)["streams"]
    problems = report["problems"]
    assert isinstance(problems, list)
    return problems
