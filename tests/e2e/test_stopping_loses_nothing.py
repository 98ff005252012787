"""SIGTERM while 200 clients send: every event that was answered with 200 is in the table when the process has ended."""

from __future__ import annotations

from typing import Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import read_with_pyarrow
from harness.rows import assert_each_place_once
from harness.senders import Crowd
from harness.waiting import wait_until

CLIENTS = 200
ACKNOWLEDGED_MIN = 4_000


@pytest.mark.parametrize(("log", "lake_kind"), [("embedded", "folder"), ("kafka", "s3")])
def test_every_acknowledged_event_is_in_the_table_after_sigterm(
    request: pytest.FixtureRequest, new_laker: Callable[..., Laker], log: str, lake_kind: str
) -> None:
    topic: Topic | None = None if log == "embedded" else request.getfixturevalue("topic")
    lake: Lake = request.getfixturevalue(f"{lake_kind}_lake")
    laker = new_laker(lake, topic, flush_after="30s")
    process = laker.up()
    crowd = Crowd(laker, CLIENTS)
    wait_until(lambda: len(crowd.acknowledged) > ACKNOWLEDGED_MIN, "the crowd is sending")
    assert process.stop() == 0, process.log_end()
    crowd.wait()

    table = read_with_pyarrow(lake, "logs")
    landed = table["_id"].to_pylist()
    assert crowd.acknowledged <= set(landed), sorted(crowd.acknowledged - set(landed))[:5]
    assert set(landed) <= crowd.sent
    assert len(landed) == len(set(landed)), "an event that was sent once is in the table twice"
    assert_each_place_once(table)
    # A client in the middle of a request is told to come back, or finds nobody; it is never told of a failure.
    assert crowd.statuses <= {503, None}, crowd.statuses
