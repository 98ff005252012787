"""Loaders that die, freeze, are overtaken or started twice. Faults F1 to F5 and F38 of docs/faults.md."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from harness.auditor import Chain, delta_entries
from harness.fault_proxy import Rule
from harness.faults import ApplyAndDrop, DropBefore, Gate, Hold, Pass
from harness.waiting import wait_until
from harness.world import STEPS, Loader, World

both = pytest.mark.parametrize("table_format", ["delta", "parquet"])
EVENTS = 300
#: Files of batches that were under way, and are of no use to anybody: two batches, around midnight two days.
ORPHANS_MAX = 4


@pytest.mark.parametrize(
    ("table_format", "step"), [(table_format, step) for table_format, steps in STEPS.items() for step in steps]
)
def test_f01_killed_before_and_after_a_step(world: World, step: str) -> None:
    """SIGKILL at each step, twice: when the server has not seen the request, and when it has applied it."""
    producer = world.producer(events_per_second=300).start()
    if step in ("listing", "reading back"):
        first = world.loader(group="first").start()
        first.wait_says("committed")
        first.kill()
    for moment in ("before", "after"):
        # A new group each time: the broker need not forget the member that was killed.
        loader = world.loader(group=f"killed-{moment}", flush_rows=50)
        # The answer to a process that is gone goes nowhere, so its connection may as well be reset.
        if moment == "before":
            rule = Rule(world.steps[step], DropBefore(), count=1, before=loader.kill)
        else:
            rule = Rule(world.steps[step], ApplyAndDrop(), count=1, after=loader.kill)
        loader.proxy.add(rule)
        loader.start()
        wait_until(lambda: loader.ended, f"it is killed {moment} {step}")
        assert rule.struck == 1, loader.process.log_end()
    producer.stop()
    found = world.finish()
    assert found.dead_letters > 0 and found.tombstones > 0


@both
@pytest.mark.parametrize("in_time", [True, False], ids=["in time", "too late"])
@pytest.mark.parametrize("step", ["upload", "commit"])
def test_f02_a_partition_moves_on_during_a_step(world: World, step: str, in_time: bool) -> None:
    """A second loader joins while the first one's request is on its way; the request arrives before the
    partitions are given away, or after the second loader has committed."""
    if step not in world.steps:
        pytest.skip("of plain Parquet the upload is the commit")
    stays, joins = world.loader(), world.loader()
    _land_some(world, stays)
    gate = Gate()
    held = stays.proxy.on(world.steps[step], Hold(gate), count=None)
    world.produce(EVENTS)
    held.wait_struck()
    joins.start()
    stays.wait_says("partitions revoked")
    if not in_time:
        joins.wait_says("committed")
    gate.open()
    world.produce(EVENTS)
    world.wait_landed(stays, joins)
    _stop(stays, joins)
    world.finish()
    assert len(_orphans(world)) <= ORPHANS_MAX, _orphans(world)


@both
@pytest.mark.parametrize("step", ["upload", "commit of dead letters", "commit"])
def test_f03_a_zombie_wakes_up_after_its_successor(world: World, step: str) -> None:
    """SIGSTOP with the request on its way, past the session time-out; a successor lands everything; then the
    request arrives, and SIGCONT."""
    if step not in world.steps:
        pytest.skip("of plain Parquet the upload is the commit")
    zombie, successor = world.loader(), world.loader()
    _land_some(world, zombie)
    gate = Gate()
    held = zombie.proxy.add(Rule(world.steps[step], Hold(gate), before=zombie.freeze))
    world.produce(EVENTS)
    held.wait_struck()
    successor.start()
    world.wait_landed()
    zombie.proxy.clear()
    gate.open()
    late = [one for one in zombie.proxy.seen(world.steps[step]) if one.fault == "Hold"]
    wait_until(lambda: all(one.applied for one in late), "the zombie's requests have arrived")
    assert {status for one in late for status in one.applied} == {200 if step == "upload" else 412}
    zombie.thaw()
    world.produce(EVENTS)
    world.wait_landed(zombie, successor)
    _stop(zombie, successor)
    world.finish()


@both
@pytest.mark.parametrize("groups", [("one", "other"), ("same", "same")], ids=["each alone", "together"])
def test_f04_two_loaders_are_started_by_mistake(world: World, groups: tuple[str, str]) -> None:
    """In groups of their own each believes that all partitions are its own: every commit is a race."""
    loaders = [world.loader(group=group).start() for group in groups]
    producer = world.producer(events_per_second=1_000).start()
    wait_until(lambda: world.rows_landed() > 2_000, "they land side by side")
    producer.stop()
    world.wait_landed(*loaders)
    _stop(*loaders)
    found = world.finish()
    assert found.commits > 10, "that was no race"


@both
def test_f05_a_loader_frozen_before_it_tells_kafka_how_far_it_came(world: World) -> None:
    """SIGSTOP between the table's commit and the group's, the partitions move on, SIGCONT: what it then tells
    Kafka is refused or does no harm. The group is never ahead of the table."""
    frozen, other = world.loader(), world.loader()
    _land_some(world, frozen)
    rule = frozen.proxy.add(Rule(world.steps["commit"], Pass(), count=1, after=frozen.freeze))
    world.produce(EVENTS)
    rule.wait_struck()
    other.start()
    world.wait_landed()
    world.produce(EVENTS)
    frozen.thaw()
    world.produce(EVENTS)
    world.wait_landed(frozen, other)
    _stop(frozen, other)
    landed = Chain.read(world.lake, "logs").next
    ahead = {p: offset for p, offset in _group_offsets(world).items() if offset > landed[p]}
    assert not ahead, f"Kafka's group is ahead of the table: {ahead}, the table is at {landed}"
    world.finish()


@both
def test_f38_old_and_new_version_together(world: World, old_binary: Path) -> None:
    """A rolling upgrade: an old loader and a new one share the topic while columns come up, then the old one
    is replaced by another new one. One chain."""
    old, new, replacement = world.loader(), world.loader(), world.loader()
    old.laker.binary = old_binary
    for loader in (old, new):
        loader.start()
    producer = world.producer(events_per_second=500).start()
    for loader in (old, new):
        loader.wait_says("committed")
    assert old.process.stop() == 0, old.process.log_end()
    replacement.start().wait_says("committed")
    producer.stop()
    world.wait_landed(new, replacement)
    _stop(new, replacement)
    world.finish()


@pytest.fixture
def old_binary() -> Path:
    """A `laker` of the version before. No such version was released yet, so it is not built by itself."""
    given = os.environ.get("LAKER_OLD_BIN")
    if not given:
        pytest.skip("LAKER_OLD_BIN does not name a laker of an older version")
    return Path(given)


def _land_some(world: World, loader: Loader) -> None:
    """The table exists, all partitions have begun, and `loader` has them all."""
    loader.start()
    world.produce(EVENTS)
    world.wait_landed(loader)


def _stop(*loaders: Loader) -> None:
    for loader in loaders:
        assert loader.process.stop() == 0, loader.process.log_end()


def _orphans(world: World) -> set[str]:
    """Data files that no version of a Delta table names."""
    if world.table_format == "parquet":
        return set()
    entries = delta_entries(world.lake, "logs")
    named = {unquote(action["add"]["path"]) for actions in entries for action in actions if "add" in action}
    return {file.split("/logs/", 1)[1] for file in world.lake.parquet_files("logs")} - named


def _group_offsets(world: World) -> dict[int, int]:
    admin = AdminClient({"bootstrap.servers": world.topic.bootstrap_servers})
    (asked,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("laker")]).values()
    places = [place for place in asked.result().topic_partitions if place.topic == world.topic.name]
    return {place.partition: place.offset for place in places}
