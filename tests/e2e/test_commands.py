"""The commands as a user types them: what they print, and how they exit."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import count_rows, read_with_pyarrow
from harness.rows import Event, assert_each_place_once, assert_same_events
from harness.senders import encoded
from harness.waiting import wait_until

THREE = b'{"_id":"a","n":1,"who":"Kim"}\n{"_id":"b","n":2,"who":"Lee, \\"J\\""}\n{"_id":"c","n":3,"who":null}\n'


@pytest.fixture
def laker(new_laker: Callable[..., Laker], folder_lake: Lake) -> Laker:
    return new_laker(folder_lake, flush_after="1s")


@pytest.fixture
def event_file(events: list[Event], tmp_path: Path) -> Path:
    """Some thousand events, one a line."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(encoded(events[:_FILE_EVENTS])) + b"\n")
    return path


_FILE_EVENTS = 60_000


@dataclass
class HeldBack:
    """A file that has its last tenth only once it is let go: whoever reads it cannot end before."""

    path: Path
    let_go: threading.Event


@pytest.fixture
def held_back(event_file: Path, tmp_path: Path) -> Iterator[HeldBack]:
    """The events of `event_file`, held back."""
    held = HeldBack(tmp_path / "events.fifo", threading.Event())
    os.mkfifo(held.path)
    lines = event_file.read_bytes().splitlines(keepends=True)
    first = len(lines) * 9 // 10

    def write() -> None:
        with open(held.path, "wb") as pipe:
            pipe.writelines(lines[:first])
            pipe.flush()
            held.let_go.wait()
            pipe.writelines(lines[first:])

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    yield held
    held.let_go.set()


def test_up_without_any_setting_runs_and_prints_what_to_type_next(laker: Laker) -> None:
    laker.settings = {"listen": laker.settings["listen"]}
    laker.write_settings()
    process = laker.up()
    said = process.log()
    for text in [laker.url, "laker-data", "curl", "laker query"]:
        assert text in said, said
    assert laker.post(THREE).status == 200
    assert process.stop() == 0
    assert count_rows(Lake.in_folder(laker.folder / "laker-data" / "lake"), "logs") == 3


@pytest.mark.parametrize("running", [True, False], ids=["server", "lake"])
def test_query_prints_each_format(laker: Laker, running: bool) -> None:
    process = laker.up()
    assert laker.post(THREE).status == 200
    if not running:
        assert process.stop() == 0
    statement = "SELECT n, who FROM logs ORDER BY n"
    expected = [{"n": 1, "who": "Kim"}, {"n": 2, "who": 'Lee, "J"'}, {"n": 3, "who": None}]

    assert json.loads(_query(laker, "json", statement)) == expected
    assert [json.loads(line) for line in _query(laker, "ndjson", statement).splitlines()] == expected
    rows = list(csv.reader(io.StringIO(_query(laker, "csv", statement))))
    assert rows == [["n", "who"], ["1", "Kim"], ["2", 'Lee, "J"'], ["3", ""]]
    table = _query(laker, "table", statement)
    assert "who" in table and "Kim" in table and 'Lee, "J"' in table, table


def test_query_knows_the_tables_by_name_and_suggests_columns(laker: Laker) -> None:
    laker.up()
    assert laker.post(THREE).status == 200
    assert "logs" in _query(laker, "csv", "SHOW TABLES")
    described = _query(laker, "csv", "DESCRIBE logs")
    for column in ["_partition", "_offset", "_received_at", "_time", "_id", "_residual", "event_date", "who"]:
        assert column in described, described
    done = laker.run("query", "SELECT whom FROM logs")
    assert done.returncode == 1 and "who" in done.stderr.replace("whom", ""), done.stderr
    done = laker.run("query", "SELECT * FROM log")
    assert done.returncode == 1 and "logs" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "statement", ["DROP TABLE logs", "DELETE FROM logs", "CREATE TABLE t AS SELECT 1", "SELECT 1; SELECT 2", "SELEC 1"]
)
def test_sql_only_reads_and_one_statement_at_a_time(laker: Laker, statement: str) -> None:
    laker.up()
    assert laker.post(THREE).status == 200
    answer = laker.ask("POST", "/sql", statement.encode())
    assert answer.status == 400, answer
    assert answer.json()["code"] and answer.json()["message"]
    assert laker.run("query", statement).returncode == 1
    assert laker.sql("SELECT count(*) AS n FROM logs") == [{"n": 3}]


def test_send_shows_progress_and_exits_0_when_all_is_acknowledged(laker: Laker, event_file: Path) -> None:
    laker.up()
    done = laker.run("send", str(event_file))
    assert done.returncode == 0, done.stderr
    sent = len(event_file.read_bytes().splitlines())
    assert f"{sent}" in (done.stdout + done.stderr).replace(",", "").replace("_", ""), done.stderr
    assert laker.sql("SELECT count(*) AS n, count(DISTINCT _id) AS ids FROM logs") == [{"n": sent, "ids": sent}]


def test_send_reads_stdin(laker: Laker) -> None:
    laker.up()
    assert laker.run("send", input=THREE).returncode == 0
    assert laker.sql("SELECT count(*) AS n FROM logs") == [{"n": 3}]


def test_send_exits_1_when_an_event_was_rejected_and_says_which(laker: Laker) -> None:
    laker.up()
    done = laker.run("send", input=b'{"_id":"a"}\nno json\n{"_id":"b"}\n')
    assert done.returncode == 1, done.stderr
    assert "2" in done.stderr, "the line is named"
    assert laker.sql("SELECT count(*) AS n FROM logs") == [{"n": 2}]


def test_send_exits_1_when_nobody_answers(laker: Laker) -> None:
    done = laker.run("send", "--patience", "1", input=THREE)
    assert done.returncode == 1 and str(laker.settings["listen"]) in done.stderr, done.stderr


def test_send_goes_on_after_the_server_was_gone_without_doubling(
    laker: Laker, folder_lake: Lake, held_back: HeldBack, events: list[Event]
) -> None:
    """A server that stops in order has answered what it took, so nothing is doubled."""
    process = laker.up()
    sending = laker.start("send", "--batch", "100", str(held_back.path))
    wait_until(lambda: _count(laker) > _FILE_EVENTS // 10, "some events are acknowledged")
    assert process.stop() == 0, process.log_end()
    held_back.let_go.set()
    process = laker.up()
    assert sending.wait() == 0, sending.log_end()
    assert process.stop() == 0, process.log_end()
    table = read_with_pyarrow(folder_lake, "logs")
    assert_same_events({event["_id"]: event for event in events[:_FILE_EVENTS]}, table)


def test_send_goes_on_after_the_server_was_killed_and_repeats_only_what_was_not_acknowledged(
    laker: Laker, folder_lake: Lake, held_back: HeldBack, events: list[Event]
) -> None:
    """Of a killed server the answers under way are lost: only those events may be there twice."""
    process = laker.up()
    sending = laker.start("send", "--batch", "100", str(held_back.path))
    wait_until(lambda: _count(laker) > _FILE_EVENTS // 10, "some events are acknowledged")
    process.kill()
    held_back.let_go.set()
    process = laker.up()
    assert sending.wait() == 0, sending.log_end()
    assert process.stop() == 0, process.log_end()
    table = read_with_pyarrow(folder_lake, "logs")
    assert_each_place_once(table)
    landed = table["_id"].to_pylist()
    assert set(landed) == {event["_id"] for event in events[:_FILE_EVENTS]}
    assert len(landed) - len(set(landed)) <= 10 * 100, "more than what was under way was sent again"


def test_tail_shows_events_as_they_arrive(laker: Laker) -> None:
    laker.up()
    tail = subprocess.Popen(
        [str(laker.binary), "tail", "-n", "3"], cwd=laker.folder, env=laker.environment, stdout=subprocess.PIPE
    )
    try:
        # Events sent before it listens are not its: the sender goes on until it has seen three.
        wait_until(lambda: _sent_and_ended(laker, tail), "tail has shown three events and ended")
        assert tail.stdout is not None
        shown = [json.loads(line) for line in tail.stdout.read().splitlines()]
        assert len(shown) == 3 and all("n" in json.dumps(event) for event in shown), shown
        assert tail.returncode == 0
    finally:
        tail.kill()
        tail.wait()


def test_check_says_what_it_would_do(laker: Laker, folder_lake: Lake) -> None:
    done = laker.run("check")
    assert done.returncode == 0, done.stderr
    for text in [folder_lake.path, "logs"]:
        assert text in done.stdout, done.stdout


def test_check_makes_no_log_and_stands_beside_a_running_laker(laker: Laker) -> None:
    log = Path(laker.folder / "log")
    laker.settings["log"] = f"file:{log}"
    done = laker.run("check")
    assert done.returncode == 0 and "would be made" in done.stdout, done.stdout + done.stderr
    assert not log.exists()
    laker.up()
    done = laker.run("check")
    assert done.returncode == 0 and "a laker is running on it" in done.stdout, done.stdout + done.stderr


def test_check_shows_every_value_with_its_origin_and_hides_secrets(laker: Laker) -> None:
    laker.environment |= {"LAKER_LAKE": "file:./from-env", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
    laker.settings["kafka"] = {"sasl.password": "hush-hush", "client.id": "me"}
    laker.write_settings()
    (laker.folder / ".env").write_text("LAKER_STREAMS_LOGS_FLUSH_ROWS=777\n")
    done = laker.run("check", "--print-config", "--listen", "127.0.0.1:4321")
    assert done.returncode == 0, done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    for key, value, origin in [
        ("listen", "127.0.0.1:4321", "command line"),
        ("lake", "from-env", "LAKER_LAKE"),
        ("flush_rows", "777", "LAKER_STREAMS_LOGS_FLUSH_ROWS"),
        ("flush_after", "1s", "laker.toml"),
        ("format", "delta", "default"),
        ("sasl.password", "", "laker.toml"),
        ("client.id", "me", "laker.toml"),
    ]:
        found = [line for line in done.stdout.splitlines() if key in line]
        assert any(value in line and origin in line for line in found), f"{key}, {value}, {origin}:\n{done.stdout}"


def test_load_until_caught_up_lands_what_is_there_and_exits_0(
    new_laker: Callable[..., Laker], topic: Topic, folder_lake: Lake
) -> None:
    laker = new_laker(folder_lake, topic)
    for round_number in range(1, 4):
        topic.produce_with_confluent(THREE.splitlines())
        assert laker.run("load", "--until-caught-up").returncode == 0
        assert count_rows(folder_lake, "logs") == 3 * round_number
    assert laker.run("load", "--until-caught-up").returncode == 0
    assert count_rows(folder_lake, "logs") == 9


def test_roles_run_alone(new_laker: Callable[..., Laker], topic: Topic, folder_lake: Lake) -> None:
    """`collect`, `load` and `serve` in processes of their own do what `up` does."""
    collector, loader, server = [new_laker(folder_lake, topic, flush_after="1s") for _ in range(3)]
    collecting, serving = collector.start("collect"), server.start("serve")
    loading = loader.start("load")
    for process in (collecting, serving):
        process.wait_ready()
    assert collector.post(THREE).status == 200
    assert server.sql("SELECT count(*) AS n FROM logs") == [{"n": 3}]
    assert server.post(THREE).status in (404, 405), "a server that only serves takes no events"
    wait_until(lambda: count_rows(folder_lake, "logs") == 3, "the loader has landed them")
    for process in (collecting, serving, loading):
        assert process.stop() == 0, process.log_end()


def test_health_and_metrics(laker: Laker) -> None:
    laker.up()
    assert laker.post(THREE).status == 200
    assert laker.ask("GET", "/livez").status == 200
    assert laker.ask("GET", "/readyz").status == 200
    metrics = laker.ask("GET", "/metrics")
    assert metrics.status == 200
    names = [line.split("{")[0].split(" ")[0] for line in metrics.body.decode().splitlines() if line[:1] not in ("#", "")]
    assert names and all(name.startswith("laker_") for name in names), names


def test_help_has_examples_for_every_command(laker: Laker) -> None:
    for command in ["up", "collect", "load", "serve", "send", "query", "tail", "verify", "dead", "check", "bench"]:
        done = laker.run(command, "--help")
        assert done.returncode == 0 and "Example" in done.stdout, done.stdout


def _query(laker: Laker, output: str, statement: str) -> str:
    done = laker.run("query", "--format", output, statement)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _count(laker: Laker) -> int:
    (row,) = laker.sql("SELECT count(*) AS n FROM logs") if _has_table(laker) else ({"n": 0},)
    return int(row["n"])


def _has_table(laker: Laker) -> bool:
    return any("logs" in row.values() for row in laker.sql("SHOW TABLES"))


def _sent_and_ended(laker: Laker, tail: subprocess.Popen[bytes]) -> bool:
    assert laker.post(b'{"n":1}').status == 200
    return tail.poll() is not None
