"""Positions that survive what happens to a log and to a group: each test names its fault of the exactly-once design
(F3, F4, F19 to F26, F37)."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any, Callable, Iterator

import pyarrow.parquet
import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from harness import mishaps
from harness.cluster import ONE, TWO, Cluster
from harness.given import given
from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import count_rows, read_with_duckdb, read_with_pyarrow
from harness.rows import assert_each_place_once, assert_same_rows, in_log_order
from harness.waiting import wait_until

NewLaker = Callable[..., Laker]
both_formats = pytest.mark.parametrize("table_format", ["delta", "parquet"])


@pytest.fixture
def single(kafka_servers: str, name: str) -> Topic:
    """A topic of one partition, so that offsets are known beforehand."""
    return Topic(kafka_servers, name, 1)


@both_formats
def test_f03_a_loader_that_slept_through_its_session_doubles_nothing(
    new_laker: NewLaker, folder_lake: Lake, topic: Topic, table_format: str
) -> None:
    sleeper, other = [new_laker(folder_lake, topic, format=table_format, flush_after="300ms") for _ in range(2)]
    for laker in (sleeper, other):
        laker.forget_the_dead_soon()
    sleeping = sleeper.start("load")
    topic.produce_with_confluent(events(0, 100))
    wait_until(lambda: count_rows(folder_lake, "logs") == 100, "the first loader works")
    # What it has read by now it would land when it wakes up.
    topic.produce_with_confluent(events(100, 200))
    sleeping.child.send_signal(signal.SIGSTOP)
    working = other.start("load")
    topic.produce_with_confluent(events(200, 300))
    wait_until(lambda: count_rows(folder_lake, "logs") == 300, "the other one has taken over")
    sleeping.child.send_signal(signal.SIGCONT)
    topic.produce_with_confluent(events(300, 400))
    wait_until(lambda: count_rows(folder_lake, "logs") >= 400, "everything has landed")
    for process in (sleeping, working):
        assert process.stop() == 0, process.log_end()
    sleeper.load_the_rest()
    assert numbers(folder_lake) == list(range(400))


@both_formats
def test_f04_loaders_of_two_groups_on_one_table_double_nothing(
    new_laker: NewLaker, folder_lake: Lake, topic: Topic, table_format: str
) -> None:
    lakers = [new_laker(folder_lake, topic, format=table_format, flush_after="200ms", flush_rows=50) for _ in range(2)]
    for index, laker in enumerate(lakers):
        laker.settings["group"] = f"{topic.name}-{index}"
        laker.write_settings()
    processes = [laker.start("load") for laker in lakers]
    for start in range(0, 1000, 100):
        topic.produce_with_confluent(events(start, start + 100))
        wait_until(lambda: count_rows(folder_lake, "logs") >= start + 100, "what was sent has landed")
    for process in processes:
        assert process.stop() == 0, process.log_end()
    assert any("another loader moved the table on" in process.log() for process in processes), "they met"
    assert numbers(folder_lake) == list(range(1000))


@both_formats
def test_f19_records_without_value_move_the_position(
    new_laker: NewLaker, folder_lake: Lake, single: Topic, table_format: str
) -> None:
    laker = new_laker(folder_lake, single, format=table_format)
    mishaps.keyed(single, [(b"k", None), (b"k", b'{"n":1}'), (b"", None), (b"k", b'{"n":2}'), (b"k", None)])
    laker.load_the_rest()
    assert numbers(folder_lake) == [1, 2]
    assert "a loader would go on at 0:5" in checked(laker)


@both_formats
def test_f20_a_batch_of_nothing_but_dead_letters_moves_the_position(
    new_laker: NewLaker, folder_lake: Lake, single: Topic, table_format: str
) -> None:
    laker = new_laker(folder_lake, single, format=table_format)
    single.produce_with_confluent([b"nonsense", b"[1", b"\xff"])
    for _ in range(2):
        laker.load_the_rest()
        assert count_rows(folder_lake, "logs__dead") == 3
        assert "a loader would go on at 0:3" in checked(laker)
    single.produce_with_confluent([b'{"n":1}', b"more nonsense"])
    laker.load_the_rest()
    assert numbers(folder_lake) == [1]
    dead = read_with_pyarrow(folder_lake, "logs__dead")
    assert sorted(dead["_offset"].to_pylist()) == [0, 1, 2, 4]


@both_formats
@pytest.mark.parametrize("records", [2, 9], ids=["fewer", "more"])
def test_f21_a_topic_made_anew_is_not_taken_for_the_old_one(
    new_laker: NewLaker, folder_lake: Lake, single: Topic, table_format: str, records: int
) -> None:
    laker = new_laker(folder_lake, single, format=table_format)
    single.produce_with_confluent(events(0, 5))
    laker.load_the_rest()
    mishaps.make_anew(single, 1)
    single.produce_with_confluent(events(100, 100 + records))
    refused = laker.run("load", "--until-caught-up")
    assert refused.returncode == 1 and "the topic made anew" in refused.stderr, refused
    assert "another table" in (said := laker.run("check")).stdout and said.returncode == 1, said
    assert numbers(folder_lake) == list(range(5)), "the old table is as it was"
    # The way out that the message names.
    laker.settings["streams"]["logs"]["table"] = "logs2"
    laker.write_settings()
    laker.load_the_rest()
    assert numbers(folder_lake, "logs2") == list(range(100, 100 + records))


@both_formats
def test_f21_a_topic_made_anew_under_a_running_loader_lands_nothing(
    new_laker: NewLaker, folder_lake: Lake, single: Topic, table_format: str
) -> None:
    laker = new_laker(folder_lake, single, format=table_format, flush_after="500ms")
    process = laker.start("load")
    single.produce_with_confluent(events(0, 5))
    wait_until(lambda: count_rows(folder_lake, "logs") == 5, "the first events have landed")
    mishaps.make_anew(single, 1)
    # More than the old topic had: reading on by name would find something there.
    single.produce_with_confluent(events(100, 120))
    assert process.wait() == 1, process.log_end()
    assert "made anew" in process.log() or "does not exist" in process.log(), process.log_end()
    refused = laker.run("load", "--until-caught-up")
    assert refused.returncode == 1 and "the topic made anew" in refused.stderr, refused
    assert numbers(folder_lake) == list(range(5))


@both_formats
def test_f22_retention_overtakes_a_stopped_loader(
    new_laker: NewLaker, folder_lake: Lake, single: Topic, table_format: str
) -> None:
    laker = new_laker(folder_lake, single, format=table_format)
    single.produce_with_confluent(events(0, 5))
    laker.load_the_rest()
    single.produce_with_confluent(events(5, 20))
    mishaps.trim(single, 0, 12)

    refused = laker.run("load", "--until-caught-up")
    assert refused.returncode == 1, refused
    for text in ["partition 0 [5, 12) (7 offsets)", "Nothing was skipped", "laker gap accept logs 0:5-12"]:
        assert text in refused.stderr, refused.stderr
    said = laker.run("check")
    assert said.returncode == 1 and "laker gap accept logs 0:5-12" in said.stdout, said
    assert numbers(folder_lake) == list(range(5)), "never a silent jump"

    for wrong in ["0:5-11", "0:5-13", "0:4-12", "0:12-20", "3:5-12"]:
        done = laker.run("gap", "accept", "logs", wrong)
        assert done.returncode == 1 and "nothing was changed" in done.stderr, (wrong, done)
    done = laker.run("gap", "accept", "logs", "0:5-12")
    assert done.returncode == 0 and "7 offsets recorded as gone" in done.stdout, done
    assert laker.run("gap", "accept", "logs", "0:5-12").returncode == 1, "nothing is missing any more"
    assert recorded_gaps(folder_lake, table_format) == [(0, 5, 12)]

    laker.load_the_rest()
    assert numbers(folder_lake) == [*range(5), *range(12, 20)]
    assert "a loader would go on at 0:20" in checked(laker)
    assert recorded_gaps(folder_lake, table_format) == [(0, 5, 12)]
    proof = json.loads(laker.run("verify", "logs", "--format", "json").stdout)
    [stream] = proof["streams"]
    assert proof["proven"] and stream["partitions"][0]["gaps"] == [[5, 12]], proof


@pytest.mark.allowed_errors("a loader waits for a person")
def test_f22_the_rest_of_the_process_works_on_and_the_loader_goes_on_by_itself(
    new_laker: NewLaker, folder_lake: Lake, single: Topic
) -> None:
    laker = new_laker(folder_lake, single, flush_after="500ms")
    single.produce_with_confluent(events(0, 5))
    laker.load_the_rest()
    single.produce_with_confluent(events(5, 9))
    mishaps.trim(single, 0, 7)

    process = laker.up()
    wait_until(lambda: "laker gap accept logs 0:5-7" in degraded(laker), "readiness tells of the gap")
    assert "ERROR" in process.log() and "laker gap accept logs 0:5-7" in process.log()
    assert metric(laker, 'laker_loader_halted{stream="logs"}') == 1
    assert laker.post(b'{"n":9}').status == 200, "events are still taken"
    assert numbers(folder_lake) == list(range(5))

    assert laker.run("gap", "accept", "logs", "0:5-7").returncode == 0
    wait_until(lambda: count_rows(folder_lake, "logs") == 8, "the loader goes on")
    wait_until(lambda: metric(laker, 'laker_loader_halted{stream="logs"}') == 0, "and says so")
    assert numbers(folder_lake) == [*range(5), 7, 8, 9]
    assert process.stop() == 0, process.log_end()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two brokers and a controller of this test."""
    cluster = Cluster(Path(given("LAKER_TEST_KAFKA_LIBS")), tmp_path / "cluster")
    yield cluster
    cluster.end()


@both_formats
@pytest.mark.parametrize("written_after", [0, 80], ids=["shorter", "longer"])
def test_f23_an_unclean_leader_election_below_the_position_stops_the_loader(
    cluster: Cluster, new_laker: NewLaker, folder_lake: Lake, name: str, table_format: str, written_after: int
) -> None:
    topic = fragile_topic(cluster, name)
    laker = new_laker(folder_lake, topic, format=table_format)
    topic.produce_with_confluent(events(0, 50))
    laker.load_the_rest()
    # What follows is on one broker only, landed, and then lost.
    lose_the_other_replica(cluster, topic)
    topic.produce_with_confluent(events(50, 100))
    laker.load_the_rest()
    assert numbers(folder_lake) == list(range(100))
    elect_uncleanly(cluster, topic)
    # Others take the offsets; with 80 of them the table's position looks like any within the log.
    topic.produce_with_confluent(events(1000, 1000 + written_after))

    refused = laker.run("load", "--until-caught-up")
    assert refused.returncode == 1, refused
    ending = "broker end offset is 50" if written_after else "the log ends at 50"
    for text in ["up to offset 100", ending, "into another table"]:
        assert text in refused.stderr, refused.stderr
    assert "gap accept" not in refused.stderr
    assert numbers(folder_lake) == list(range(100)), "neither skipped nor doubled"


def test_f23_a_clean_leader_change_is_no_truncation(
    cluster: Cluster, new_laker: NewLaker, folder_lake: Lake, name: str
) -> None:
    topic = fragile_topic(cluster, name)
    laker = new_laker(folder_lake, topic)
    laker.load_the_rest()
    transactions = mishaps.Transactions(topic)
    transactions.begin(events(0, 50))
    # The last record is of the old leader, the marker behind it of the new one.
    cluster.kill(TWO)
    wait_until(lambda: cluster.leader(topic.name) == ONE, "the other replica leads")
    transactions.commit()
    laker.load_the_rest()
    assert "a loader would go on at 0:51" in checked(laker)
    topic.produce_with_confluent(events(50, 60))
    laker.load_the_rest()
    assert numbers(folder_lake) == list(range(60))


@both_formats
def test_f24_partitions_added_under_load_are_read_from_their_first_record(
    new_laker: NewLaker, folder_lake: Lake, single: Topic, table_format: str
) -> None:
    laker = new_laker(folder_lake, single, format=table_format, flush_after="500ms", start="latest")
    laker.settings["kafka"] = {"topic.metadata.refresh.interval.ms": 1_000}
    laker.write_settings()
    process = laker.start("load")
    wait_until(lambda: "partitions assigned" in process.log(), "the loader reads")
    wait_until(lambda: _produced_and_landed(single, folder_lake), "something has landed")
    mishaps.add_partitions(single, 4)
    # Before the loader knows of the new partitions: "latest" would skip these.
    single.produce_with_confluent(events(1000, 1200))
    late = lambda: [n for n in read_with_pyarrow(folder_lake, "logs")["n"].to_pylist() if n >= 1000]
    wait_until(lambda: len(late()) >= 200, "everything has landed")
    assert process.stop() == 0, process.log_end()
    assert sorted(late()) == list(range(1000, 1200))
    table = read_with_pyarrow(folder_lake, "logs")
    assert_each_place_once(table)
    assert set(table["_partition"].to_pylist()) == {0, 1, 2, 3}


def _produced_and_landed(topic: Topic, lake: Lake) -> bool:
    """A topic that begins at its end has no first record: one is sent until one lands."""
    topic.produce_with_confluent(events(0, 1))
    return count_rows(lake, "logs") > 0


@both_formats
def test_f25_transactions_land_when_they_are_committed_and_their_markers_count(
    new_laker: NewLaker, folder_lake: Lake, single: Topic, table_format: str
) -> None:
    laker = new_laker(folder_lake, single, format=table_format)
    transactions = mishaps.Transactions(single)
    transactions.begin(events(0, 3))
    transactions.commit()
    transactions.begin(events(100, 103))
    transactions.abort()
    laker.load_the_rest()
    assert numbers(folder_lake) == [0, 1, 2]
    assert "0 offsets behind the topic; a loader would go on at 0:8" in checked(laker), "the last is a marker"
    # A restart at such a position goes on exactly there.
    transactions.begin(events(3, 5))
    transactions.commit()
    laker.load_the_rest()
    assert numbers(folder_lake) == list(range(5))
    assert "0 offsets behind the topic; a loader would go on at 0:11" in checked(laker)


def test_f25_an_open_transaction_is_seen_and_what_it_held_back_lands(
    new_laker: NewLaker, folder_lake: Lake, single: Topic
) -> None:
    laker = new_laker(folder_lake, single, flush_after="500ms")
    transactions = mishaps.Transactions(single)
    single.produce_with_confluent(events(0, 3))
    process = laker.up()
    wait_until(lambda: count_rows(folder_lake, "logs") == 3, "what comes before has landed")
    transactions.begin(events(100, 102))
    single.produce_with_confluent(events(3, 6))
    held = f'laker_log_held_back_offsets{{topic="{single.name}",partition="0"}}'
    wait_until(lambda: metric(laker, held) == 5, "what is held back is counted")
    assert numbers(folder_lake) == [0, 1, 2]
    # A run that loads what is there ends at the transaction: that is the end of what can be had.
    transactions.abort()
    wait_until(lambda: count_rows(folder_lake, "logs") == 6, "what was held back has landed")
    wait_until(lambda: metric(laker, held) == 0, "nothing is held back")
    assert numbers(folder_lake) == list(range(6))
    assert process.stop() == 0, process.log_end()


def test_f25_a_run_until_caught_up_ends_at_an_open_transaction(
    new_laker: NewLaker, folder_lake: Lake, single: Topic
) -> None:
    laker = new_laker(folder_lake, single)
    single.produce_with_confluent(events(0, 3))
    transactions = mishaps.Transactions(single)
    transactions.begin(events(100, 102))
    laker.load_the_rest()
    assert numbers(folder_lake) == [0, 1, 2]
    transactions.commit()
    laker.load_the_rest()
    assert numbers(folder_lake) == [0, 1, 2, 100, 101]


@both_formats
def test_f26_compacted_offsets_are_covered(
    new_laker: NewLaker, folder_lake: Lake, kafka_servers: str, name: str, table_format: str
) -> None:
    topic = Topic(kafka_servers, name, 1, mishaps.COMPACTED)
    written = 0

    def has_holes() -> bool:
        nonlocal written
        # The segment that is written is never cleaned: more records make a new one.
        mishaps.keyed(topic, [(b"key", payload) for payload in events(written, written + 50)])
        written += 50
        return len(mishaps.offsets_held(topic)) < written

    wait_until(has_holes, "the topic has been compacted")
    laker = new_laker(folder_lake, topic, format=table_format)
    laker.load_the_rest()
    end = mishaps.ends(topic)[0]
    assert f"0 offsets behind the topic; a loader would go on at 0:{end}" in checked(laker)
    # Compaction went on while it was read: what landed is what was there at some moment, in order, once.
    table = in_log_order(read_with_pyarrow(folder_lake, "logs"))
    assert_each_place_once(table)
    landed = table["_offset"].to_pylist()
    assert set(mishaps.offsets_held(topic)) <= set(landed)
    assert landed == table["n"].to_pylist(), "each event stands at its own offset"


@both_formats
def test_f37_the_offsets_kafka_keeps_for_the_group_change_nothing(
    new_laker: NewLaker, folder_lake: Lake, topic: Topic, table_format: str
) -> None:
    laker = new_laker(folder_lake, topic, format=table_format, flush_rows=10)
    laker.settings["group"] = f"group-of-{topic.name}"
    laker.write_settings()
    sent = 0
    for offset in [None, 0, 10_000_000, 3, None]:
        topic.produce_with_confluent(events(sent, sent + 40))
        sent += 40
        laker.load_the_rest()
        mishaps.move_group(topic, laker.settings["group"], offset)
    laker.load_the_rest()
    assert numbers(folder_lake) == list(range(sent))
    assert_each_place_once(read_with_pyarrow(folder_lake, "logs"))


def events(first: int, end: int) -> list[bytes]:
    """Events that bear their numbers."""
    return [json.dumps({"n": number}).encode() for number in range(first, end)]


def numbers(lake: Lake, table: str = "logs") -> list[int]:
    """The numbers that landed, as two readers agree on them, each as often as it did."""
    found = read_with_duckdb(lake, table)
    assert_same_rows(found, read_with_pyarrow(lake, table), "duckdb and pyarrow")
    assert_each_place_once(found)
    return sorted(found["n"].to_pylist())


def checked(laker: Laker) -> str:
    """What `laker check` says when all is well."""
    done = laker.run("check")
    assert done.returncode == 0, done
    return str(done.stdout)


def degraded(laker: Laker) -> str:
    """What does not work as it should, as `/readyz` says it."""
    return "\n".join(laker.ask("GET", "/readyz").json()["degraded"])


def metric(laker: Laker, name: str) -> float | None:
    """A number of `/metrics`, if it is there."""
    for line in laker.ask("GET", "/metrics").body.decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.rsplit(" ", 1)[1])
    return None


def recorded_gaps(lake: Lake, table_format: str) -> list[tuple[int, int, int]]:
    """Partition, start and end of every gap that the table's own files record."""
    gaps: list[tuple[int, int, int]] = []
    if table_format == "delta":
        for entry in sorted(Path(lake.table_path("logs"), "_delta_log").glob("*.json")):
            info: dict[str, Any] = json.loads(entry.read_text().splitlines()[0])["commitInfo"]
            if info.get("laker.gap"):
                gaps += [(int(partition), *ends) for partition, ends in info["laker.ranges"].items()]
        return gaps
    for path in lake.parquet_files("logs"):
        metadata = pyarrow.parquet.read_metadata(path)
        said = {key.decode(): value.decode() for key, value in (metadata.metadata or {}).items()}
        if said.get("laker.gap") == "true":
            assert metadata.num_rows == 0
            gaps.append((int(said["laker.partition"]), int(said["laker.start"]), int(said["laker.end"])))
    return gaps


def fragile_topic(cluster: Cluster, name: str) -> Topic:
    """A topic of one partition, led by node two, that prefers being there to being right."""
    settings = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
    new = NewTopic(name, 1, -1, replica_assignment=[[TWO, ONE]], config=settings)
    admin = cluster.admin()
    admin.create_topics([new])[name].result(timeout=60)
    wait_until(lambda: cluster.in_sync(name) == {ONE, TWO}, "both replicas are in sync")
    return Topic.existing(cluster.bootstrap_servers, name)


def lose_the_other_replica(cluster: Cluster, topic: Topic) -> None:
    """From here on only node two has what is written."""
    cluster.kill(ONE)
    wait_until(lambda: cluster.in_sync(topic.name) == {TWO}, "one replica is given up")


def elect_uncleanly(cluster: Cluster, topic: Topic) -> None:
    """The replica that has less leads."""
    cluster.kill(TWO)
    cluster.start(ONE)
    wait_until(lambda: cluster.leader(topic.name) == ONE, "the replica that has less leads")
