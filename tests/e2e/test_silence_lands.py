"""What has arrived lands by the clock: no further event is needed to push it."""

from __future__ import annotations

from typing import Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import count_rows, read_with_pyarrow
from harness.rows import Event, assert_same_events
from harness.senders import encoded, send_all
from harness.waiting import wait_until

EVENTS = 1_000


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
@pytest.mark.parametrize("log", ["embedded", "kafka"])
def test_events_and_then_silence(
    request: pytest.FixtureRequest,
    new_laker: Callable[..., Laker],
    folder_lake: Lake,
    events: list[Event],
    log: str,
    table_format: str,
) -> None:
    topic: Topic | None = None if log == "embedded" else request.getfixturevalue("topic")
    laker = new_laker(folder_lake, topic, format=table_format, flush_after="2s")
    process = laker.up()
    send_all(laker, encoded(events[:EVENTS]))
    wait_until(lambda: count_rows(folder_lake, "logs") == EVENTS, "all events have landed with nothing after them")
    assert_same_events({event["_id"]: event for event in events[:EVENTS]}, read_with_pyarrow(folder_lake, "logs"))
    assert process.stop() == 0, process.log_end()
