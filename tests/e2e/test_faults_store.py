"""A store that loses answers, refuses, repeats, mixes up and corrupts. Faults F6 to F12, F34 and F36 of
docs/faults.md."""

from __future__ import annotations

import random

import pytest

from harness.auditor import Chain
from harness.fault_proxy import Rule
from harness.faults import (
    ApplyAndDrop,
    ApplyAndRefuse,
    ApplyLate,
    ClaimSuccess,
    CorruptUpload,
    CutDownload,
    DropBefore,
    Duplicate,
    Fault,
    Gate,
    OneOf,
    Pass,
    Refuse,
    RetryBehindTheBack,
    Slow,
    Stale,
)
from harness.http_messages import s3_error
from harness.readers import count_rows, read_with_duckdb
from harness.waiting import wait_until
from harness.world import World

both = pytest.mark.parametrize("table_format", ["delta", "parquet"])
EVENTS = 300
#: Requests of each kind of write that meet the fault.
STRIKES = 3


def _lands_in_spite_of(world: World, fault: Fault, strikes: int = STRIKES) -> None:
    """One loader, never restarted, whose first writes of every kind meet the fault."""
    loader = world.loader(flush_rows=50, forgotten_soon=False)
    rules = [loader.proxy.on(step, fault, strikes) for step in world.writes.values()]
    loader.start()
    producer = world.producer(events_per_second=400).start()
    wait_until(lambda: loader.ended or all(rule.struck for rule in rules), "every kind of write has met the fault")
    producer.stop()
    world.wait_landed(loader)
    assert loader.process.stop() == 0, loader.process.log_end()
    assert "partitions revoked" not in loader.process.log(), "it must not lose its place in the group"
    world.finish()


@both
def test_f06_the_answer_is_lost(world: World) -> None:
    _lands_in_spite_of(world, ApplyAndDrop())


@both
def test_f06_the_request_is_lost(world: World) -> None:
    _lands_in_spite_of(world, DropBefore())


@both
@pytest.mark.parametrize(
    "fault",
    [
        Refuse(503, "SlowDown"),
        Refuse(500, "InternalError"),
        Refuse(429, "TooManyRequests"),
        ApplyAndRefuse(503, "ServiceUnavailable"),
        ApplyAndRefuse(500, "InternalError"),
    ],
    ids=lambda fault: f"{type(fault).__name__} {fault.status}",
)
def test_f07_an_error_with_and_without_effect(world: World, fault: Fault) -> None:
    _lands_in_spite_of(world, fault)


@pytest.mark.parametrize("table_format", ["delta"])
def test_f07_a_checkpoint_that_cannot_be_written_is_left_out(world: World) -> None:
    """The commit stands, whatever becomes of its checkpoint; the next one is written."""
    loader = world.loader(flush_rows=20)
    refused = loader.proxy.on(world.steps["checkpoint"], Refuse(503, "SlowDown"), 3)
    loader.start()
    producer = world.producer(events_per_second=400).start()

    def written() -> bool:
        assert not loader.ended, loader.process.log_end()
        return any(one.applied == [200] for one in loader.proxy.seen(world.steps["checkpoint"]))

    wait_until(written, "a later checkpoint is written", limit_seconds=300)
    producer.stop()
    world.wait_landed(loader)
    assert refused.struck == 3
    assert loader.process.stop() == 0, loader.process.log_end()
    world.finish()


@both
def test_f07_the_store_asks_for_fewer_requests_for_a_while(world: World) -> None:
    """Every request is refused, reads too, while more events come; nobody dies, nobody loses partitions."""
    loader = world.loader(flush_rows=50, forgotten_soon=False)
    loader.start()
    world.produce(EVENTS)
    world.wait_landed(loader)
    storm = loader.proxy.on(".", Refuse(503, "SlowDown"), count=None)
    world.produce(EVENTS)
    storm.wait_struck(30)
    world.produce(EVENTS)
    loader.proxy.clear()
    world.wait_landed(loader)
    assert loader.process.stop() == 0, loader.process.log_end()
    assert "partitions revoked" not in loader.process.log()
    world.finish()


@both
def test_f08_every_write_arrives_twice(world: World) -> None:
    _lands_in_spite_of(world, Duplicate(), strikes=1_000_000)


@both
def test_f08_a_client_in_between_tries_again_by_itself(world: World) -> None:
    """Every create that has won is told that somebody else was faster."""
    _lands_in_spite_of(world, RetryBehindTheBack(), strikes=30)


@both
@pytest.mark.parametrize("told", [None, s3_error(503, "SlowDown")], ids=["reset", "503"])
def test_f08_a_write_is_applied_long_after_it_failed(world: World, told: None) -> None:
    """The client is told of a failure, does it again, goes on; then the first request arrives."""
    gate = Gate()
    loader = world.loader(keep_bodies=True, flush_rows=50)
    rules = [loader.proxy.on(step, ApplyLate(gate, told), 2) for step in world.writes.values()]
    loader.start()
    producer = world.producer(events_per_second=400).start()
    wait_until(lambda: all(rule.struck for rule in rules) or loader.ended, "every kind of write is late")
    producer.stop()
    world.wait_landed(loader)
    gate.open()
    late = [one for one in loader.proxy.seen("^PUT") if one.fault == "ApplyLate"]
    wait_until(lambda: all(one.applied for one in late), "all of them have arrived")
    # A data file of Delta goes to its own name again; a batch that was cut anew goes to another.
    counted = [one for one in late if "/event_date=" not in one.request.place and ".checkpoint" not in one.request.place]
    assert counted and all(one.applied == [412] for one in counted), list(map(str, counted))
    assert loader.process.stop() == 0, loader.process.log_end()
    world.finish()


@both
def test_f08_everything_is_sent_again_at_the_end(world: World) -> None:
    loader = world.loader(keep_bodies=True, flush_rows=50).start()
    for _ in range(3):
        world.produce(EVENTS)
        world.wait_landed(loader)
    assert loader.process.stop() == 0, loader.process.log_end()
    writes = [one for one in loader.proxy.seen("^PUT") if one.applied == [200] and "_laker_probe" not in one.request.place]
    assert len(writes) > 10
    answers = {one.request.place: loader.proxy.send_again(one.request) for one in writes}
    overwritten = [place for place, status in answers.items() if status != 412 and "_last_checkpoint" not in place]
    assert not overwritten
    world.finish()


@both
@pytest.mark.parametrize(
    "fault",
    [
        Refuse(409, "ConditionalRequestConflict"),
        ApplyAndRefuse(409, "ConditionalRequestConflict"),
        ApplyAndRefuse(412, "PreconditionFailed"),
    ],
    ids=["409", "409 to the true owner", "412 to the true owner"],
)
def test_f09_a_conflict_that_is_none(world: World, fault: Fault) -> None:
    _lands_in_spite_of(world, fault)


@both
@pytest.mark.parametrize("command", [("load",), ("check",)], ids=" ".join)
@pytest.mark.allowed_errors("conditional writes")
def test_f10_a_store_that_does_not_keep_conditions_is_refused(world: World, command: tuple[str]) -> None:
    loader = world.loader()
    loader.proxy.on("^PUT", ClaimSuccess(), count=None)
    world.produce(EVENTS)
    done = loader.laker.run(*command)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "If-None-Match" in said and "use a store with atomic conditional writes" in said, said
    assert world.rows_landed() == 0
    assert not loader.proxy.seen("^PUT .*/logs"), "nothing may be written before the store is known"


@pytest.mark.parametrize("table_format", ["parquet"])
@pytest.mark.allowed_errors(".*")
def test_f10_what_a_store_does_that_lies_later_on_is_found_by_the_auditor(world: World) -> None:
    """Nothing can be exactly once on such a store: it is here to show that these scenarios can fail. Of two
    loaders that race for a commit both are told that they have won. With Delta that mostly heals when the true
    winner commits next, and takes minutes to do harm."""
    loaders = [world.loader(group=group, flush_rows=50) for group in ("one", "other")]
    lies = [loader.proxy.on(world.steps["commit"], ClaimSuccess(), count=None) for loader in loaders]
    for loader in loaders:
        loader.start()
    producer = world.producer(events_per_second=500).start()

    def has_lied() -> bool:
        commits = [one for loader in loaders for one in loader.proxy.seen(world.steps["commit"])]
        return sum(one.applied == [412] and one.told == 200 for one in commits) > 20

    wait_until(lambda: has_lied() or any(loader.ended for loader in loaders), "they were lied to")
    producer.stop()
    for loader in loaders:
        loader.kill()
    assert all(rule.struck for rule in lies)
    world.load_the_rest()
    with pytest.raises(AssertionError, match="lost|doubled|follows"):
        world.audit()


@both
def test_f11_a_bit_flips_on_the_way_up(world: World) -> None:
    """The signature covers the body, so the server refuses it."""
    _lands_in_spite_of(world, CorruptUpload())


@both
def test_f11_answers_are_cut_short_and_slow(world: World) -> None:
    """One answer in twenty each: a commit to plain Parquet lists a dozen folders, and all must come whole."""
    chance = random.Random(world.seed)
    loader = world.loader(flush_rows=50)
    loader.proxy.on("^GET", OneOf({Pass(): 18.0, CutDownload(): 1.0, Slow(): 1.0}, chance), count=None)
    loader.start()
    for _ in range(5):
        world.produce(EVENTS)
        world.wait_landed(loader)
    assert loader.process.stop() == 0, loader.process.log_end()
    world.finish()


@both
def test_f12_nothing_is_uploaded_in_parts(world: World) -> None:
    """A request is applied whole or not at all: there are no parts that could be lost, aborted or left behind.
    That holds for large files and for checkpoints too."""
    loader = world.loader(flush_rows=2, flush_bytes="64MB").start()
    large = b'{"text": "%s"}' % random.Random(world.seed).randbytes(6_000_000).hex().encode()
    world.topic.produce_with_confluent([large])
    wait_until(lambda: world.rows_landed() == 1, "the large event has landed")
    largest = max(one.body_bytes for one in loader.proxy.seen("^PUT"))
    assert largest > 5 * 1024 * 1024, "S3's smallest part; this file could have been sent in two"
    if world.table_format == "delta":
        producer = world.producer(events_per_second=400).start()
        wait_until(lambda: loader.proxy.seen(world.steps["checkpoint"]), "a checkpoint is written")
        producer.stop()
    assert loader.process.stop() == 0, loader.process.log_end()
    assert not loader.proxy.seen("[?&](uploads|uploadId|partNumber)\\b")


@both
@pytest.mark.allowed_errors(".*")
def test_f34_reads_that_are_behind(world: World) -> None:
    """Listings and objects are now and then what they were before, which S3 promises not to do. Two loaders in
    groups of their own race for every commit. One that meets a contradiction may end, and is started again."""
    loaders = [world.loader(group=group, flush_rows=50) for group in ("one", "other")]
    stale = []
    for number, loader in enumerate(loaders):
        chance = random.Random(world.seed + number)
        rule = Rule("^(GET|HEAD) .*/logs", Stale(), probability=0.2, chance=chance)
        stale.append(loader.proxy.add(rule))
        loader.start()
    producer = world.producer(events_per_second=500).start()

    def enough() -> bool:
        for loader in loaders:
            if loader.ended:
                loader.start()
        return world.rows_landed() > 3_000 and all(rule.struck > 20 for rule in stale)

    wait_until(enough, "they have landed much on stale reads", limit_seconds=300)
    producer.stop()
    for loader in loaders:
        loader.kill()
    world.finish()
    assert count_rows(world.lake, "logs") == world.rows_sent()


@both
@pytest.mark.parametrize("refused", ["logs", "logs__dead"])
def test_f36_one_of_the_two_tables_cannot_be_written(world: World, refused: str) -> None:
    """Neither goes on alone: whatever is behind the rows' position is in one of the two."""
    loader = world.loader(flush_rows=50, forgotten_soon=False).start()
    world.produce(EVENTS)
    world.wait_landed(loader)
    storm = loader.proxy.on(f"^PUT .*/{refused}/", Refuse(503, "SlowDown"), count=None)
    world.produce(EVENTS)
    storm.wait_struck(10)
    _assert_nothing_is_missing_behind_the_position(world)
    loader.proxy.clear()
    world.wait_landed(loader)
    assert loader.process.stop() == 0, loader.process.log_end()
    world.finish()


def _assert_nothing_is_missing_behind_the_position(world: World) -> None:
    behind = Chain.read(world.lake, "logs").next
    landed: set[tuple[int, int]] = set()
    for table in ("logs", "logs__dead"):
        found = read_with_duckdb(world.lake, table)
        landed |= set(zip(found["_partition"].to_pylist(), found["_offset"].to_pylist()))
    due = {(p, offset) for p, offset, value in world.topic.read_all() if value is not None and offset < behind[p]}
    assert due <= landed, f"passed over: {sorted(due - landed)[:5]}"
    assert len(due) < sum(value is not None for _, _, value in world.topic.read_all()), "nothing was held up"
