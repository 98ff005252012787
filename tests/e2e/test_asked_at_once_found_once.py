"""Whoever sends an event and asks at once finds it, once, landed or not, while commits happen every second."""

from __future__ import annotations

import json
from typing import Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import delta_version

QUERIES = 2_000
#: The seam moves with each commit; fewer than this and little was proven.
COMMITS_MIN = 5
COUNT = "SELECT count(*) AS n, count(DISTINCT seq) AS different, min(seq) AS first, max(seq) AS last FROM logs"


@pytest.fixture(params=["embedded", "kafka"])
def laker(request: pytest.FixtureRequest, new_laker: Callable[..., Laker], folder_lake: Lake) -> Laker:
    topic: Topic | None = None if request.param == "embedded" else request.getfixturevalue("topic")
    return new_laker(folder_lake, topic, flush_after="1s")


def test_a_sequence_is_never_short_and_never_doubled(laker: Laker, folder_lake: Lake) -> None:
    process = laker.up()
    sent = 0
    while sent < QUERIES or delta_version(folder_lake, "logs") < COMMITS_MIN:
        answer = laker.post(json.dumps({"_id": f"e{sent}", "seq": sent}).encode())
        assert answer.status == 200, answer
        sent += 1
        rows = laker.sql(COUNT)
        assert rows == [{"n": sent, "different": sent, "first": 0, "last": sent - 1}]
    assert process.stop() == 0, process.log_end()


def test_one_answer_reads_one_version(laker: Laker) -> None:
    """Two counts in one statement see the same rows, also when a commit happens between them."""
    process = laker.up()
    statement = "SELECT (SELECT count(*) FROM logs) AS one, (SELECT count(*) FROM logs) AS other"
    for number in range(300):
        assert laker.post(json.dumps([{"seq": 2 * number}, {"seq": 2 * number + 1}]).encode()).status == 200
        assert laker.sql(statement) == [{"one": 2 * number + 2, "other": 2 * number + 2}]
    assert process.stop() == 0, process.log_end()
