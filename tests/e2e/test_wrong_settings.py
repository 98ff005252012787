"""Wrong settings: a message that says what to do and exit code 2 or 1 within a bounded wait; no panic, no hang."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker, free_port
from harness.lakes import Lake, S3Server

#: A wrong setting is told before this; nothing here waits for more than a connection's own deadline.
LIMIT_SECONDS = 60.0
#: Commands that need log and lake. Each must tell.
COMMANDS = [("up",), ("load",), ("load", "--until-caught-up"), ("check",)]


@pytest.fixture
def laker(new_laker: Callable[..., Laker], folder_lake: Lake) -> Laker:
    return new_laker(folder_lake)


def _assert_told(laker: Laker, code: int | tuple[int, ...], *texts: str, commands: list[tuple[str, ...]] = COMMANDS) -> None:
    """Each command ends with the code and says each of the texts."""
    laker.write_settings()
    for command in commands:
        done = laker.run(*command, limit_seconds=LIMIT_SECONDS)
        codes = (code,) if isinstance(code, int) else code
        assert done.returncode in codes, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        for text in texts:
            assert text in done.stderr + done.stdout, f"{command}: {text!r} is not in\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    ("settings", "wrong", "nearest"),
    [
        ({"lisen": "127.0.0.1:1"}, "lisen", "listen"),
        ({"streams": {"logs": {"flush_row": 5}}}, "flush_row", "flush_rows"),
        ({"streams": {"logs": {"fromat": "delta"}}}, "fromat", "format"),
    ],
)
def test_an_unknown_key_is_told_the_nearest_known_one(
    laker: Laker, settings: dict[str, object], wrong: str, nearest: str
) -> None:
    laker.settings = settings
    _assert_told(laker, 2, wrong, nearest, "laker.toml")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("log", "kafak://host:9092", "kafak"),
        ("log", "kafka://", "kafka://"),
        ("lake", "s4://bucket/prefix", "s4"),
        ("lake", "s3://", "s3://"),
        ("lake", "", "lake"),
        ("listen", "here", "listen"),
    ],
)
def test_a_bad_url_is_told(laker: Laker, key: str, value: str, said: str) -> None:
    laker.settings[key] = value
    _assert_told(laker, 2, key, said)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "iceberg"),
        ("flush_after", "soon"),
        ("flush_bytes", "-1"),
        ("flush_rows", 0),
        ("time_zone", "Mars/Olympus"),
        ("start", "yesterday"),
        ("partition_by", ["region"]),
        ("columns", {"price": "money"}),
    ],
)
def test_a_bad_value_is_told_with_its_key(laker: Laker, key: str, value: object) -> None:
    laker.settings["streams"]["logs"][key] = value
    _assert_told(laker, 2, key)


def test_broken_toml_is_told_with_its_place(laker: Laker) -> None:
    (laker.folder / "laker.toml").write_text("listen = \n")
    done = laker.run("check", limit_seconds=LIMIT_SECONDS)
    assert done.returncode == 2 and "laker.toml" in done.stderr and "line 1" in done.stderr, done.stderr


@pytest.mark.parametrize("key", ["log", "lake"])
def test_a_folder_that_cannot_be_is_told(laker: Laker, tmp_path: Path, key: str) -> None:
    # Tests may run as root, who may write anywhere; below a file nobody can.
    (tmp_path / "a-file").write_text("")
    laker.settings[key] = f"file:{tmp_path}/a-file/{key}"
    _assert_told(laker, (1, 2), "a-file")


def test_kafka_that_is_not_there_is_told(laker: Laker) -> None:
    address = f"127.0.0.1:{free_port()}"
    laker.settings["log"] = f"kafka://{address}"
    _assert_told(laker, (1, 2), address)


def test_a_topic_that_is_not_there_is_told(new_laker: Callable[..., Laker], folder_lake: Lake, topic: Topic) -> None:
    laker = new_laker(folder_lake, topic)
    laker.settings["streams"]["logs"]["topic"] = "no-such-topic"
    _assert_told(laker, (1, 2), "no-such-topic")


def test_a_bucket_that_is_not_there_is_told(laker: Laker, s3_server: S3Server) -> None:
    laker.environment |= s3_server.environment()
    laker.settings["lake"] = "s3://no-such-bucket/lake"
    _assert_told(laker, (1, 2), "no-such-bucket")


@pytest.mark.parametrize("wrong", ["access_key_id", "secret_access_key"])
def test_a_wrong_key_is_told_and_never_shown(laker: Laker, s3_server: S3Server, wrong: str) -> None:
    mistaken = dataclasses.replace(s3_server, **{wrong: "wrong-and-secret"})
    laker.environment |= mistaken.environment()
    laker.settings["lake"] = f"s3://{s3_server.bucket}/lake"
    _assert_told(laker, (1, 2), s3_server.bucket)
    done = laker.run("check", limit_seconds=LIMIT_SECONDS)
    assert "AWS_" in done.stderr + done.stdout, "it says which variables to look at"
    if wrong == "secret_access_key":
        assert "wrong-and-secret" not in done.stderr + done.stdout


def test_an_s3_server_that_is_not_there_is_told(laker: Laker, s3_server: S3Server) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    laker.environment |= dataclasses.replace(s3_server, endpoint=endpoint).environment()
    laker.settings["lake"] = f"s3://{s3_server.bucket}/lake"
    _assert_told(laker, (1, 2), endpoint)


def test_a_port_that_is_taken_is_told(new_laker: Callable[..., Laker], folder_lake: Lake) -> None:
    first, second = new_laker(folder_lake), new_laker(folder_lake)
    first.up()
    second.settings["listen"] = first.settings["listen"]
    second.settings["log"] = f"file:{second.folder}/log"
    _assert_told(second, (1, 2), str(first.settings["listen"]), commands=[("up",)])


def test_a_log_folder_in_use_is_told(new_laker: Callable[..., Laker], folder_lake: Lake) -> None:
    first, second = new_laker(folder_lake), new_laker(folder_lake)
    first.up()
    _assert_told(second, (1, 2), str(first.settings["log"]).removeprefix("file:"), commands=[("up",), ("load",)])


def test_wrong_usage_is_exit_2(laker: Laker) -> None:
    for arguments in [["--no-such-flag"], ["upp"], ["query"], ["query", "--format", "xml", "SELECT 1"], []]:
        assert laker.run(*arguments).returncode == 2, arguments
