"""Several `laker load` share a topic through the consumer group: processes come and go, no event is lost or doubled."""

from __future__ import annotations

from typing import Callable, Sequence

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import count_rows, delta_version, read_with_duckdb, read_with_pyarrow
from harness.rows import Event, assert_each_place_once, assert_same_events, assert_same_rows
from harness.senders import Flow, encoded
from harness.waiting import wait_until


def test_one_loader_stopped_and_one_added_while_events_flow(
    new_laker: Callable[..., Laker], topic: Topic, s3_lake: Lake, events: list[Event]
) -> None:
    sent = events[: len(events) // 2]
    stay, leave, join = [new_laker(s3_lake, topic, flush_after="1s", flush_rows=5_000) for _ in range(3)]
    stay.start("load")
    leaving = leave.start("load")
    flow = Flow(encoded(sent), lambda part: _produce(topic, part, s3_lake), slices=40)

    wait_until(lambda: count_rows(s3_lake, "logs") > len(sent) // 5, "a fifth of the events has landed")
    join.start("load")
    wait_until(lambda: count_rows(s3_lake, "logs") > len(sent) * 2 // 5, "two fifths have landed")
    assert leaving.stop() == 0, leaving.log_end()
    flow.wait()
    wait_until(lambda: count_rows(s3_lake, "logs") >= len(sent), "everything has landed")
    for laker in (stay, join):
        assert laker.processes[0].stop() == 0, laker.processes[0].log_end()
    stay.load_the_rest()

    table = read_with_pyarrow(s3_lake, "logs")
    assert_each_place_once(table)
    assert_same_events({event["_id"]: event for event in sent}, table)
    assert_same_rows(table, read_with_duckdb(s3_lake, "logs"), "pyarrow and duckdb")


def test_a_loader_killed_hard_leaves_its_partitions_to_the_others(
    new_laker: Callable[..., Laker], topic: Topic, s3_lake: Lake, events: list[Event]
) -> None:
    sent = events[: len(events) // 10]
    stay, die = [new_laker(s3_lake, topic, flush_after="1s", flush_rows=2_000) for _ in range(2)]
    for laker in (stay, die):
        laker.forget_the_dead_soon()
    stay.start("load")
    dying = die.start("load")
    flow = Flow(encoded(sent), lambda part: _produce(topic, part, s3_lake), slices=10)
    wait_until(lambda: count_rows(s3_lake, "logs") > len(sent) // 4, "a quarter of the events has landed")
    dying.kill()
    flow.wait()
    wait_until(lambda: count_rows(s3_lake, "logs") >= len(sent), "everything has landed", limit_seconds=300)
    assert stay.processes[0].stop() == 0

    table = read_with_pyarrow(s3_lake, "logs")
    assert_each_place_once(table)
    assert_same_events({event["_id"]: event for event in sent}, table)


def _produce(topic: Topic, part: Sequence[bytes], lake: Lake) -> None:
    """One slice, and then not the next before the table has moved: events flow for as long as commits happen."""
    version = delta_version(lake, "logs")
    topic.produce_with_confluent(part)
    wait_until(lambda: delta_version(lake, "logs") > version, "the table moves")
