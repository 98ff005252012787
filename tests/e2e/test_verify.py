"""`laker verify`: proven when all is well, and exactly what is wrong when it is not."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.senders import encoded
from harness.rows import Event

BAD: list[bytes | None] = [b"no json", b'{"cut":', None, b"[1]", b"\xff\xfe"]


@pytest.fixture(params=["delta", "parquet"])
def loaded(request: pytest.FixtureRequest, new_laker: Callable[..., Laker], topic: Topic, lake: Lake, events: list[Event]) -> Laker:
    """A table of several commits, with dead letters and tombstones, all of its log still there."""
    laker = new_laker(lake, topic, format=request.param, flush_rows=2_000)
    topic.produce_with_confluent(encoded(events[:5_000]) + BAD)
    laker.load_the_rest()
    topic.produce_with_confluent(encoded(events[5_000:6_000]) + BAD)
    laker.load_the_rest()
    return laker


def test_what_landed_is_proven_against_the_log(loaded: Laker) -> None:
    told = loaded.run("verify")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "proven: every offset from first to next landed exactly once" in told.stdout, told.stdout
    report = _report(loaded, 0)
    assert report["proven"] and report["problems"] == [] and report["log"]["not_compared"] is None, report
    partitions = report["partitions"]
    rows, dead = (sum(partition[count] for partition in partitions) for count in ("rows", "dead"))
    assert (rows, dead, report["log"]["tombstones"]) == (6_000, 2 * (len(BAD) - 1), 2)
    assert all(partition["compared"] == [partition["first"], partition["next"]] for partition in partitions)
    assert report["files"]["count"] == report["files"]["with_checksum"], "every file carries a checksum"


def test_a_deleted_file_is_named_and_the_exit_code_is_1(loaded: Laker, lake: Lake) -> None:
    gone = lake.parquet_files("logs")[0]
    lake.file_system.delete_file(gone)
    report = _report(loaded, 1)
    assert not report["proven"]
    lost = [problem for problem in report["problems"] if problem["kind"] == "lost"]
    assert lost and all(problem["offsets"] for problem in lost), report["problems"]
    if lake.has_delta_log("logs"):
        (missing,) = [problem for problem in report["problems"] if problem["kind"] == "file_missing"]
        assert gone.endswith(missing["files"][0]), missing
    told = loaded.run("verify", "logs")
    assert told.returncode == 1 and "WRONG lost" in told.stdout and "NOT PROVEN" in told.stdout, told.stdout


def test_what_cannot_be_verified_says_so(new_laker: Callable[..., Laker], folder_lake: Lake) -> None:
    laker = new_laker(folder_lake, flush_after="1s")
    nothing = laker.run("verify")
    assert nothing.returncode == 1 and "no stream has a table yet" in nothing.stderr, nothing.stderr
    unknown = laker.run("verify", "log")
    assert unknown.returncode == 2 and "logs" in unknown.stderr, unknown.stderr


def test_a_running_laker_can_be_verified_and_its_log_is_compared_when_it_has_ended(
    new_laker: Callable[..., Laker], folder_lake: Lake
) -> None:
    laker = new_laker(folder_lake, flush_after="1s")
    process = laker.up()
    assert laker.post(b'{"n":1}\n{"n":2}\n').status == 200
    assert process.stop() == 0
    process = laker.up()
    running = _report(laker, 0)
    assert running["proven"] and running["log"]["not_compared"], running
    assert process.stop() == 0
    ended = _report(laker, 0)
    assert ended["proven"] and ended["log"] == {"records": 2, "tombstones": 0, "not_compared": None}, ended


def _report(laker: Laker, code: int) -> dict[str, Any]:
    done = laker.run("verify", "--format", "json")
    assert done.returncode == code, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)["streams"]
    assert isinstance(report, dict)
    return report
