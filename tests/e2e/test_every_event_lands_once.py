"""Every event is in the table exactly once, whatever the log, the lake and the format,
and every reader finds the same rows.

200,000 events of the ticket service, whose second half has new fields and contradicting types. The first two
fifths arrive before a clean stop, a part from Kafka producers while Laker is down, the rest after the restart.
`laker load --until-caught-up` then lands what producers wrote to Kafka behind Laker's back.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import count_rows, readers_of
from harness.rows import Event, assert_each_place_once, assert_same_events, assert_same_rows
from harness.senders import encoded, send_all


@pytest.fixture(scope="session")
def payloads(events: list[Event]) -> list[bytes]:
    return encoded(events)


@pytest.fixture(params=["embedded", "kafka"])
def any_log(request: pytest.FixtureRequest) -> Optional[Topic]:
    """None is the embedded log."""
    return None if request.param == "embedded" else request.getfixturevalue("topic")


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_every_event_lands_once_and_every_reader_sees_it(
    new_laker: Callable[..., Laker],
    any_log: Optional[Topic],
    lake: Lake,
    table_format: str,
    events: list[Event],
    payloads: list[bytes],
) -> None:
    laker = new_laker(lake, any_log, format=table_format, flush_after="3s", flush_rows=60_000)
    before, down, after = _parts(payloads, any_log)
    process = laker.up()
    _send(laker, any_log, before)
    assert process.stop() == 0, process.log_end()
    if any_log:
        any_log.produce_with_confluent(down)
    process = laker.up()
    _send(laker, any_log, after)
    assert process.stop() == 0, process.log_end()
    laker.load_the_rest()

    tables = {name: read(lake, "logs") for name, read in readers_of(table_format).items()}
    pyarrow_table = tables.pop("pyarrow")
    assert_each_place_once(pyarrow_table)
    assert_same_events({event["_id"]: event for event in events}, pyarrow_table)
    for name, table in tables.items():
        assert_same_rows(pyarrow_table, table, f"pyarrow and {name}")
    assert count_rows(lake, "logs__dead") == 0
    _assert_query_agrees(laker, pyarrow_table)


def _parts(payloads: list[bytes], topic: Optional[Topic]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """What is sent before the stop, while Laker is down, and after the restart."""
    stop = len(payloads) * 2 // 5
    start = stop + (len(payloads) // 10 if topic else 0)
    return payloads[:stop], payloads[stop:start], payloads[start:]


def _send(laker: Laker, topic: Optional[Topic], payloads: list[bytes]) -> None:
    """Over HTTP alone, or half over HTTP and the rest by two producers that know nothing of Laker."""
    if topic is None:
        send_all(laker, payloads)
        return
    send_all(laker, payloads[0::2])
    topic.produce_with_kafka_python(payloads[1::4])
    topic.produce_with_confluent(payloads[3::4])


def _assert_query_agrees(laker: Laker, table: Any) -> None:
    """`laker query` straight on the lake, no server running, counts what the others count."""
    statement = "SELECT count(*) AS n, count(DISTINCT _id) AS ids, sum(_offset) AS s FROM logs"
    done = laker.run("query", "--format", "csv", statement)
    assert done.returncode == 0, done.stderr
    expected = f"{table.num_rows},{table.num_rows},{sum(table['_offset'].to_pylist())}"
    assert done.stdout.splitlines()[1] == expected
