"""What Laker stands on goes away, fills up or refuses, and comes back: nothing acknowledged is lost, nothing is doubled,
no process dies, and nobody has to do anything.

The faults are named as in the list of faults this project is tested against (F13, F15, F27, …).
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.given import given
from harness.laker import Laker, Process
from harness.lakes import Lake
from harness.readers import count_rows, read_with_duckdb
from harness.rows import assert_each_place_once
from harness.servers import S3, Broker, CredentialsEndpoint
from harness.shifted_clock import ShiftedClock
from harness.steady import Steady
from harness.waiting import wait_until

CLIENTS = 8
SEED = random.randrange(2**32)
MEGABYTE = 1_000_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A Kafka of this test alone."""
    broker = Broker(Path(given("LAKER_TEST_KAFKA_LIBS")), tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    """An S3 server of this test alone."""
    server = S3(Path(given("LAKER_TEST_S3_PROGRAM")), tmp_path / "s3")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def laker_on(new_laker: Callable[..., Laker], name: str) -> Callable[..., Laker]:
    """A Laker on a broker of the test's own: `laker_on(broker, lake, settings)`, its topic made."""

    def new(broker: Broker, lake: Lake, partitions: int, **settings: object) -> Laker:
        broker.create_topic(name, partitions)
        laker = new_laker(lake)
        laker.settings |= {"log": f"kafka://{broker.bootstrap_servers}", "streams": {"logs": {"topic": name}}}
        laker.settings |= settings
        laker.write_settings()
        return laker

    return new


def test_f27_a_broker_that_is_killed_frozen_and_restarted_gets_503_and_no_false_200(
    broker: Broker, laker_on: Callable[..., Laker], folder_lake: Lake, name: str
) -> None:
    laker = laker_on(broker, folder_lake, 4, kafka={"message.timeout.ms": 3_000})
    process = laker.start("collect")
    process.wait_ready()
    crowd = Steady(laker, CLIENTS)
    for outage, recovery in [(broker.kill, broker.start), (broker.freeze, broker.thaw), (broker.kill, broker.start)]:
        acknowledged, refused = crowd.count, crowd.refused
        wait_until(lambda: crowd.count > acknowledged + 200, "events are acknowledged")
        outage()
        wait_until(lambda: crowd.refused > refused + CLIENTS, "clients are told to come back")
        recovery()
    acknowledged = crowd.count
    wait_until(lambda: crowd.count > acknowledged + 200, "it takes events again by itself")
    crowd.stop()
    assert process.stop() == 0, process.log_end()
    crowd.check(broker.values(name), in_order=False)


def test_f27_spooled_events_come_into_kafka_once_and_in_order_whatever_is_killed(
    broker: Broker, laker_on: Callable[..., Laker], folder_lake: Lake, name: str
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    laker = laker_on(broker, folder_lake, 1, spool=True, spool_after="500ms")
    process = laker.start("collect")
    process.wait_ready()
    crowd = Steady(laker, CLIENTS, padding=2_000)

    def grow(most: int) -> None:
        goal = crowd.count + rng.randint(1, most)
        wait_until(lambda: crowd.count >= goal, f"{goal} events are acknowledged")

    for _ in range(4):
        grow(400)
        broker.kill()
        spooled = crowd.spooled
        wait_until(lambda: crowd.spooled > spooled + 300, "events go to the spool while Kafka is gone")
        for _ in range(2):
            process = _kill_and_restart(process)
            grow(1_500)
        broker.start_soon()
        for _ in range(4):
            grow(600)
            process = _kill_and_restart(process)
    wait_until(lambda: _is_direct(laker), "the spool is empty")
    acknowledged, spooled = crowd.count, crowd.spooled
    wait_until(lambda: crowd.count > acknowledged + 100, "events are acknowledged")
    crowd.stop()
    assert process.stop() == 0, process.log_end()
    crowd.check(broker.values(name), in_order=True)

    laker.load_the_rest()
    table = read_with_duckdb(folder_lake, "logs")
    assert_each_place_once(table)
    crowd.check_places(list(zip(table["client"].to_pylist(), table["number"].to_pylist())))


def _kill_and_restart(process: Process) -> Process:
    process.kill()
    restarted = process.laker.start("collect")
    restarted.wait_ready()
    return restarted


def _is_direct(laker: Laker) -> bool:
    return "spool" not in json.dumps(laker.ask("GET", "/readyz").json()["degraded"])


def test_f27_a_process_that_is_stopped_while_it_spools_loses_nothing_and_says_what_waits(
    broker: Broker, laker_on: Callable[..., Laker], folder_lake: Lake, name: str
) -> None:
    laker = laker_on(broker, folder_lake, 4, spool=True, spool_after="500ms")
    broker.kill()
    process = laker.start("up")
    process.wait_ready()
    answer = laker.post(b'{"n": 1}\n{"n": 2}')
    assert answer.status == 200 and ".spool-" in answer.json()["receipt"], answer
    told = laker.ask("GET", f"/receipts/{answer.json()['receipt']}")
    assert (told.status, told.json()["code"]) == (404, "spooled"), told
    degraded = laker.ask("GET", "/readyz").json()["degraded"]
    assert any("spool" in reason and "2 wait" in reason for reason in degraded), degraded
    assert "laker_spool_waiting_events" in laker.ask("GET", "/metrics").body.decode()
    in_use = laker.run("check").stdout
    assert "in use by a running collector" in in_use, in_use
    assert process.stop() == 0, process.log_end()
    waiting = laker.run("check").stdout
    assert f"up to 2 events of topic {name}" in waiting, waiting

    broker.start()
    process = laker.start("up")
    process.wait_ready()
    wait_until(lambda: count_rows(folder_lake, "logs") == 2, "what waited has landed")
    assert process.stop() == 0, process.log_end()
    assert "nothing waits there" in laker.run("check").stdout


def test_f13_f33_a_bucket_that_is_gone_for_long_is_waited_for_within_memory(
    s3: S3, new_laker: Callable[..., Laker]
) -> None:
    lake = Lake.in_bucket(s3.as_root(), "outage")
    laker = new_laker(lake, flush_after="200ms", flush_bytes="4MB")
    process = laker.up()
    crowd = Steady(laker, CLIENTS, padding=20_000)
    wait_until(lambda: crowd.count > 500 and count_rows(lake, "logs") > 0, "events land")
    peak = 0
    for outage, recovery in [(s3.freeze, s3.thaw), (s3.kill, s3.start)]:
        outage()
        goal = crowd.count + 5_000
        wait_until(lambda: crowd.count > goal, "the collector goes on without the bucket")
        peak = max(peak, _resident_bytes(process))
        recovery()
        wait_until(lambda: count_rows(lake, "logs") > goal, "it catches up by itself")
    crowd.stop()
    assert process.stop() == 0, process.log_end()
    print(f"resident at most {peak / MEGABYTE:.0f} MB while {2 * 5_000 * 20_000 / MEGABYTE:.0f} MB waited")
    # A hundred megabytes wait in each outage; the bound is for everything, embedded log and query engine included.
    assert peak < 700 * MEGABYTE
    table = read_with_duckdb(lake, "logs")
    assert_each_place_once(table)
    crowd.check_places(list(zip(table["client"].to_pylist(), table["number"].to_pylist())))
    assert crowd.refused == 0


def _resident_bytes(process: Process) -> int:
    """The most memory it has had so far; none when it has just ended."""
    status = Path(f"/proc/{process.child.pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0]) if "VmHWM:" in status else 0


@pytest.mark.allowed_errors("refused; trying again until it is allowed")
def test_f15_keys_that_are_revoked_and_restored_stop_nothing_for_good(
    s3: S3, new_laker: Callable[..., Laker], tmp_path: Path
) -> None:
    lake, keys = _lake_with_keys_in_a_file(s3, tmp_path, "one", "secret-one")
    laker = new_laker(lake, flush_after="200ms")
    process = laker.up()
    _send_until_landed(laker, s3, 1)

    s3.set_accounts({})
    assert laker.post(b'{"n": 2}').status == 200
    wait_until(lambda: "refused; trying again until it is allowed" in process.log(), "the refusal is said")
    retries = "laker_loader_retries_total"
    wait_until(lambda: _metric(laker, retries) >= 4, "it tries again and again")
    assert process.log().count("refused; trying again until it is allowed") == 1, "it is said once"
    s3.set_accounts({"one": "secret-one"})
    wait_until(lambda: count_rows(_as_root(s3), "logs") == 2, "it goes on by itself")

    # Rotated: the file has new keys, the old ones are gone.
    keys("two", "secret-two")
    s3.set_accounts({"two": "secret-two"})
    _send_until_landed(laker, s3, 3)
    assert process.stop() == 0, process.log_end()


def test_f15_keys_that_expire_are_asked_for_again(
    s3: S3, new_laker: Callable[..., Laker], tmp_path: Path
) -> None:
    endpoint = CredentialsEndpoint(tmp_path, lifetime_seconds=2)
    endpoint.keys = ("one", "secret-one")
    s3.set_accounts({"one": "secret-one"})
    lake = Lake(path=_as_root(s3).path, s3=s3.as_root(), environment={**_place(s3), **endpoint.environment})
    process = (laker := new_laker(lake, flush_after="200ms")).up()
    _send_until_landed(laker, s3, 1)
    asked = endpoint.asked
    s3.set_accounts({"one": "secret-one", "two": "secret-two"})
    endpoint.keys = ("two", "secret-two")
    wait_until(lambda: laker.post(b'{"n": 0}').status == 200 and endpoint.asked > asked + 3, "keys are asked for again")
    s3.set_accounts({"two": "secret-two"})
    landed = count_rows(_as_root(s3), "logs")
    assert laker.post(b'{"n": 1}').status == 200
    wait_until(lambda: count_rows(_as_root(s3), "logs") > landed, "it lands with the new keys")
    assert process.stop() == 0, process.log_end()
    endpoint.close()


def _lake_with_keys_in_a_file(s3: S3, folder: Path, key: str, secret: str) -> tuple[Lake, Callable[[str, str], None]]:
    file = folder / "credentials"

    def set_keys(key: str, secret: str) -> None:
        draft = folder / "credentials.draft"
        draft.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        draft.replace(file)

    set_keys(key, secret)
    s3.set_accounts({key: secret})
    environment = {**_place(s3), "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    return Lake(path=_as_root(s3).path, s3=s3.as_root(), environment=environment), set_keys


def _place(s3: S3) -> dict[str, str]:
    names = ("AWS_ENDPOINT_URL", "AWS_REGION")
    return {name: value for name, value in s3.as_root().environment().items() if name in names}


def _as_root(s3: S3) -> Lake:
    return Lake.in_bucket(s3.as_root(), "outage")


def _send_until_landed(laker: Laker, s3: S3, rows: int) -> None:
    answer = laker.post(json.dumps({"n": rows}).encode())
    assert answer.status == 200, answer
    wait_until(lambda: count_rows(_as_root(s3), "logs") == rows, f"{rows} rows have landed")


def _metric(laker: Laker, name: str) -> float:
    lines = laker.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_f28_a_full_lake_folder_is_waited_for(binary: Path, new_laker: Callable[..., Laker], tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"]).returncode != 0:
        pytest.skip("no mount namespaces here, so no small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    wrapper = tmp_path / "laker-on-a-small-disk"
    # The lake is a disk of 24 MB, of which all but a little is taken at first. Readers that resolve paths do not find
    # it under /proc, so what landed is copied out in the end.
    wrapper.write_text(
        f"#!/bin/sh\nexec unshare -Urm sh -c 'mount -t tmpfs -o size=24m small {disk}"
        f" && head -c 22000000 /dev/zero > {disk}/ballast && exec {binary} \"$@\"' sh \"$@\"\n"
    )
    wrapper.chmod(0o755)
    laker = new_laker(Lake.in_folder(disk / "lake"), flush_after="200ms")
    laker.binary = wrapper
    process = laker.up()
    inside = Path(f"/proc/{process.child.pid}/root{disk}")
    # Letters that no compression makes small.
    rng = random.Random(SEED)
    events = [json.dumps({"n": n, "noise": rng.randbytes(30_000).hex()}).encode() for n in range(250)]
    for event in events:
        assert laker.post(event).status == 200, "the collector does not care about the lake"
    wait_until(lambda: "No space left" in process.log(), "the lake is full")
    wait_until(lambda: _metric(laker, "laker_loader_retries_total") >= 2, "it tries again")
    assert _metric(laker, "laker_loader_rows_total") < len(events)
    (inside / "ballast").unlink()
    landed = "it goes on by itself when there is room"
    wait_until(lambda: _metric(laker, "laker_loader_rows_total") == len(events), landed)
    shutil.copytree(inside / "lake", tmp_path / "copy")
    assert process.stop() == 0, process.log_end()
    table = read_with_duckdb(Lake.in_folder(tmp_path / "copy"), "logs")
    assert_each_place_once(table)
    assert sorted(table["n"].to_pylist()) == list(range(len(events)))


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_f30_a_loader_that_memory_runs_out_for_lands_everything_once_in_the_end(
    new_laker: Callable[..., Laker], folder_lake: Lake, table_format: str
) -> None:
    laker = new_laker(folder_lake, format=table_format, flush_after="30s", flush_rows=20_000)
    rng = random.Random(SEED)
    events = [json.dumps({"n": n, "noise": rng.randbytes(500).hex()}) for n in range(60_000)]
    process = laker.up()
    for start in range(0, len(events), 2_000):
        assert laker.post("\n".join(events[start : start + 2_000]).encode()).status == 200
    process.kill()
    # As the kernel does it when a group is over its limit, which here grows until the work fits.
    deaths = 0
    for limit in range(40 * MEGABYTE, 400 * MEGABYTE, 20 * MEGABYTE):
        process = laker.start("load", "--until-caught-up")
        wait_until(lambda: process.child.poll() is not None or _resident_bytes(process) > limit, "it grows or ends")
        deaths += process.child.poll() is None
        process.kill()
    laker.load_the_rest()
    table = read_with_duckdb(folder_lake, "logs")
    assert_each_place_once(table)
    assert sorted(table["n"].to_pylist()) == list(range(len(events)))
    assert deaths > 0, "memory never ran out"



@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_f16_a_clock_that_jumps_neither_loses_nor_holds_up_anything(
    new_laker: Callable[..., Laker], folder_lake: Lake, tmp_path: Path, table_format: str
) -> None:
    clock = ShiftedClock(tmp_path)
    laker = new_laker(folder_lake, format=table_format, flush_after="300ms")
    laker.environment |= clock.environment
    process = laker.up()
    crowd = Steady(laker, CLIENTS)
    for minutes in [20, -20, 0, 24 * 60, -24 * 60, 0]:
        clock.shift(60 * minutes)
        goal = crowd.count + 300
        wait_until(lambda: count_rows(folder_lake, "logs") > goal, f"events land {minutes} minutes off")
    # Before 1970, where a clock starts that has lost its battery.
    clock.shift(-60 * 60 * 24 * 365 * 80)
    goal = crowd.count + 300
    wait_until(lambda: count_rows(folder_lake, "logs") > goal, "events land before 1970")
    crowd.stop()
    assert process.stop() == 0, process.log_end()
    assert crowd.refused == 0
    table = read_with_duckdb(folder_lake, "logs")
    assert_each_place_once(table)
    crowd.check_places(list(zip(table["client"].to_pylist(), table["number"].to_pylist())))
    assert len({moment.date() for moment in table["_received_at"].to_pylist()}) >= 4, "the clock has jumped"
