"""`GET /receipts/{receipt}`: what became of each event of a request."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.waiting import wait_until


def _told(laker: Laker, receipt: str) -> dict[str, Any]:
    answer = laker.ask("GET", f"/receipts/{receipt}")
    assert answer.status == 200, answer
    told = answer.json()
    assert isinstance(told, dict) and told["receipt"] == receipt, told
    return told


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_events_are_queued_and_then_landed_with_version_and_files(
    new_laker: Callable[..., Laker], folder_lake: Lake, table_format: str
) -> None:
    laker = new_laker(folder_lake, format=table_format, flush_after="1h")
    process = laker.up()
    receipt = laker.post(b'{"n":1}\n{"n":2}\n{"n":3}\n').json()["receipt"]
    queued = _told(laker, receipt)
    assert queued["state"] == "queued", queued
    assert sum(part["last"] - part["first"] + 1 for part in queued["events"]) == 3
    assert all(part["state"] == "queued" for part in queued["events"]), queued
    assert process.stop() == 0, "the end lands what is there"
    process = laker.up()
    landed = _told(laker, receipt)
    assert landed["state"] == "landed", landed
    files = {file for part in landed["events"] for file in part["files"]}
    on_disk = {f"file://{path}" for path in folder_lake.parquet_files("logs")}
    assert files and files <= on_disk, (files, on_disk)
    if table_format == "delta":
        assert all(0 < part["version"] <= landed["version"] for part in landed["events"]), landed
    assert process.stop() == 0


def test_a_dead_letter_is_told_with_its_reason_and_when_it_was_replayed(
    new_laker: Callable[..., Laker], topic: Topic, folder_lake: Lake
) -> None:
    laker = new_laker(folder_lake, topic)
    topic.produce_with_confluent([b'\xef\xbb\xbf{"n":1}'])
    laker.load_the_rest()
    serving = laker.start("serve")
    serving.wait_ready()
    (letter,) = laker.sql("SELECT _partition, _offset FROM logs__dead")
    receipt = f"logs.{letter['_partition']}.{letter['_offset']}"
    dead = _told(laker, receipt)
    (part,) = dead["events"]
    assert dead["state"] == part["state"] == "dead" and part["reason"] == "invalid_json", dead
    assert "byte 0" in part["detail"] and "replayed_at" not in part, dead
    replayed = laker.run("dead", "replay", "--repair", "byte-order-mark")
    assert "1 landed" in replayed.stdout, replayed.stdout + replayed.stderr
    wait_until(lambda: "replayed_at" in _told(laker, receipt)["events"][0], "the receipt says it was replayed")
    assert serving.stop() == 0


def test_what_is_no_receipt_of_this_laker_is_refused(
    new_laker: Callable[..., Laker], topic: Topic, folder_lake: Lake
) -> None:
    laker = new_laker(folder_lake)
    laker.up()
    for receipt, status, code in [
        ("nonsense", 400, "not_a_receipt"),
        ("log.0.0", 404, "unknown_stream"),
        ("logs.0.999", 404, "unknown_receipt"),
        ("logs.77.0", 404, "unknown_receipt"),
    ]:
        answer = laker.ask("GET", f"/receipts/{receipt}")
        assert (answer.status, answer.json()["code"]) == (status, code), answer
        assert answer.json()["message"], answer
    collecting = new_laker(folder_lake, topic)
    collecting.start("collect").wait_ready()
    answer = collecting.ask("GET", "/receipts/logs.0.0")
    assert (answer.status, answer.json()["code"]) == (404, "no_table"), answer
    assert "laker serve" in answer.json()["message"]
