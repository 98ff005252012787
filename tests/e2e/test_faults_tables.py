"""Other programs at the same table, poison in the topic, and a table of many parts. Faults F14, F17 and F29 of
docs/faults.md."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Callable, Iterator, Optional

import confluent_kafka
import deltalake
import pytest

from harness.fault_proxy import FaultProxy, Rule
from harness.faults import ApplyAndDrop, DropBefore
from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import count_rows, read_with_duckdb, read_with_pyarrow
from harness.rows import assert_each_place_once
from harness.waiting import LIMIT_SECONDS, wait_until
from harness.world import World
from test_bad_input import BAD

both = pytest.mark.parametrize("table_format", ["delta", "parquet"])
EVENTS = 300
DAYS = 500
LOG_PARTITIONS = 64
COLUMNS = 400
WIDE_EVENTS = 2_000
#: Peak memory of a loader with `flush_bytes` of 16 MB, whatever the table's shape.
RESIDENT_BYTES_MAX = 1_000_000_000


@pytest.mark.parametrize("table_format", ["delta"])
def test_f14_others_compact_clean_up_and_add_columns_meanwhile(world: World) -> None:
    loader = world.loader(flush_rows=100).start()
    producer = world.producer(events_per_second=400).start()
    loader.wait_says("committed")
    for number in range(5):
        landed = world.rows_landed()
        _retried(lambda: _open(world).optimize.compact())
        added = [deltalake.Field(f"by_hand_{number}", deltalake.schema.PrimitiveType("string"))]
        _retried(lambda: _open(world).alter.add_columns(added))
        _open(world).vacuum(retention_hours=1, dry_run=False, enforce_retention_duration=False)
        wait_until(lambda: world.rows_landed() > landed, "the loader goes on")
    producer.stop()
    world.wait_landed(loader)
    assert loader.process.stop() == 0, loader.process.log_end()
    world.finish()
    assert {f"by_hand_{number}" for number in range(5)} <= set(read_with_pyarrow(world.lake, "logs").column_names)


@pytest.mark.parametrize("table_format", ["delta"])
def test_f14_rows_deleted_by_others_do_not_come_back_and_those_restored_are_there_once(world: World) -> None:
    loader = world.loader().start()
    world.produce(EVENTS)
    world.wait_landed(loader)
    before, sent = _open(world).version(), world.rows_sent()
    _retried(lambda: _open(world).delete())
    world.produce(EVENTS)
    wait_until(lambda: world.rows_landed() >= world.rows_sent() - sent, "what is new has landed")
    assert world.rows_landed() == world.rows_sent() - sent, "the positions outlive the rows"
    assert loader.process.stop() == 0, loader.process.log_end()
    after = _open(world).version()
    _open(world).restore(before)
    assert _open(world).version() == after + 1
    loader.start()
    world.produce(EVENTS)
    wait_until(lambda: world.rows_landed() > sent, "the loader goes on")
    assert loader.process.stop() == 0, loader.process.log_end()
    world.load_the_rest()
    table = read_with_pyarrow(world.lake, "logs")
    assert_each_place_once(table)
    # A restore takes rows away that landed in between, as a delete does; the loader does not bring them back.
    assert table.num_rows < world.rows_sent()


@both
def test_f14_the_newest_commits_are_taken_away(world: World) -> None:
    """As after a restore of the bucket from a backup: the table is as it was then, its positions too, and what
    was behind them lands again."""
    loader = world.loader(flush_rows=50).start()
    for _ in range(3):
        world.produce(EVENTS)
        world.wait_landed(loader)
    assert loader.process.stop() == 0, loader.process.log_end()
    taken = world.rows_landed()
    for path in _newest_commits(world):
        world.lake.file_system.delete_file(path)
    assert world.rows_landed() < taken
    world.produce(EVENTS)
    world.finish()


@both
def test_f17_poison_is_a_dead_letter_once_whatever_dies_in_between(world: World) -> None:
    """Killed between the commit of dead letters and that of the rows, before and after each."""
    good: list[bytes] = []

    def weave() -> Iterator[Optional[bytes]]:
        for bad in BAD:
            good.append(b'{"_id":"good-%d","n":%d}' % (len(good), len(good)))
            yield from (good[-1], None, bad.payload)

    for number, (step, moment) in enumerate([("commit of dead letters", "after"), ("commit", "before"), ("commit", "after")]):
        loader = world.loader(group=f"poisoned-{number}")
        if moment == "before":
            loader.proxy.add(Rule(world.steps[step], DropBefore(), count=1, before=loader.kill))
        else:
            loader.proxy.add(Rule(world.steps[step], ApplyAndDrop(), count=1, after=loader.kill))
        loader.start()
        world.topic.produce_with_confluent(weave())
        wait_until(lambda: loader.ended, f"it is killed {moment} the {step}")
    world.load_the_rest()

    table = read_with_duckdb(world.lake, "logs")
    letters = read_with_duckdb(world.lake, "logs__dead").to_pylist()
    assert sorted(table["_id"].to_pylist()) == sorted(f"good-{number}" for number in range(len(good)))
    assert sorted(letter["raw"] for letter in letters) == sorted(3 * [bad.payload for bad in BAD])
    codes = {bad.payload: bad.code for bad in BAD}
    assert all(letter["reason"] == codes[letter["raw"]] for letter in letters)
    assert all(letter["_offset"] is not None and letter["detail"] for letter in letters)
    places = [(row["_partition"], row["_offset"]) for row in table.to_pylist() + letters]
    assert len(set(places)) == len(places)


@both
def test_f29_many_days_partitions_and_columns_fit_into_memory(
    kafka_servers: str,
    s3_lake: Lake,
    name: str,
    new_laker: Callable[..., Laker],
    new_proxy: Callable[..., FaultProxy],
    table_format: str,
) -> None:
    topic = Topic(kafka_servers, name, LOG_PARTITIONS)
    laker = new_laker(s3_lake, topic, format=table_format, flush_bytes="16MB", flush_after="60s")
    _spread(topic, _wide_events())
    process = laker.start("load")
    wait_until(lambda: count_rows(s3_lake, "logs") >= WIDE_EVENTS, "all have landed", limit_seconds=600)
    peak = _peak_resident_bytes(process.child.pid)
    print(f"peak memory of the loader: {peak / 1e6:.0f} MB")
    assert process.stop() == 0, process.log_end()
    table = read_with_duckdb(s3_lake, "logs")
    assert_each_place_once(table)
    assert sorted(table["n"].to_pylist()) == list(range(WIDE_EVENTS))
    assert len(table.column_names) >= COLUMNS
    assert len(set(table["event_date"].to_pylist())) == DAYS
    assert len(set(table["_partition"].to_pylist())) == LOG_PARTITIONS
    assert peak < RESIDENT_BYTES_MAX


def _wide_events() -> Iterator[bytes]:
    for number in range(WIDE_EVENTS):
        event = {"_id": f"e{number}", "n": number, "timestamp": (1_600_000_000 + number % DAYS * 86_400) * 1_000}
        yield json.dumps(event | {f"column_{c}": f"value {number} {c}" for c in range(COLUMNS)}).encode()


def _spread(topic: Topic, payloads: Iterator[bytes]) -> None:
    """One after the other to each partition in turn; a producer left to itself prefers some."""
    producer = confluent_kafka.Producer({"bootstrap.servers": topic.bootstrap_servers})
    for number, payload in enumerate(payloads):
        producer.produce(topic.name, payload, partition=number % topic.partitions)
        producer.poll(0)
    assert producer.flush(LIMIT_SECONDS) == 0


def _peak_resident_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def _open(world: World) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(world.lake.table_url("logs"), storage_options=world.lake.storage_options)


def _retried(change: Callable[[], object]) -> None:
    """Others lose races against the loader, and try again as their users would."""

    def attempt() -> bool:
        try:
            change()
        except deltalake.exceptions.CommitFailedError:
            return False
        return True

    wait_until(attempt, "another program's change is in the table")


def _newest_commits(world: World) -> list[str]:
    """The last versions of a Delta table; of plain Parquet the last file of each partition."""
    lake = world.lake
    if world.table_format == "delta":
        newest = _open(world).version()
        return [f"{lake.table_path('logs')}/_delta_log/{version:020}.json" for version in range(newest - 1, newest + 1)]
    last: dict[str, str] = {}
    for path in lake.parquet_files("logs"):
        last[path.rsplit("/", 1)[0]] = path
    return list(last.values())
