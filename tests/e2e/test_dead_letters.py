"""Dead letters can be worked: listed, looked at, and landed once when they are events after all."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import read_with_duckdb

ROW = b'{"n":"row","price":1}'
MARKED = b'\xef\xbb\xbf{"n":"marked","price":2.5,"new":[{"deep":true}]}'
TWICE = json.dumps(json.dumps({"n": "twice", "fresh": 7})).encode()
PYTHON = b"{'n': None}"


@pytest.fixture(params=["delta", "parquet"])
def laker(request: pytest.FixtureRequest, new_laker: Callable[..., Laker], topic: Topic, lake: Lake) -> Laker:
    laker = new_laker(lake, topic, format=request.param)
    topic.produce_with_confluent([ROW, MARKED, TWICE, PYTHON, b"\xff"])
    laker.load_the_rest()
    return laker


def test_dead_letters_are_listed_and_shown_with_the_place_where_they_break(laker: Laker) -> None:
    listed = laker.run("dead", "list")
    assert listed.returncode == 0, listed.stderr
    for text in ["invalid_json", "not_an_object", "invalid_utf8", "pending"]:
        assert text in listed.stdout, listed.stdout
    letters = _letters(laker)
    assert Counter(letter["reason"] for letter in letters) == Counter(invalid_json=2, not_an_object=1, invalid_utf8=1)
    assert len(_letters(laker, "--where", "reason = 'invalid_json' AND state = 'pending'")) == 2
    (python,) = [letter for letter in letters if "'" in letter["raw"]]
    place = f"{python['_partition']}:{python['_offset']}"
    shown = laker.run("dead", "show", place)
    assert shown.returncode == 0 and "^ byte 1" in shown.stdout and "{'n': None}" in shown.stdout, shown.stdout
    assert laker.run("dead", "show", place, "--raw").stdout.encode() == PYTHON
    nothing = laker.run("dead", "show", "0:99999")
    assert nothing.returncode == 1 and "laker dead list" in nothing.stderr, nothing.stderr
    assert laker.run("dead", "show", "nonsense").returncode == 2


def test_a_replay_lands_each_dead_letter_once_and_says_why_the_others_stay(laker: Laker, lake: Lake) -> None:
    plain = laker.run("dead", "replay")
    assert plain.returncode == 0 and "0 landed, 4 are still no events" in plain.stdout, plain.stdout + plain.stderr
    repairs = ["--repair", "byte-order-mark", "--repair", "encoded-twice"]
    dry = laker.run("dead", "replay", "--dry-run", *repairs)
    assert "2 would land, 2 are still no events" in dry.stdout, dry.stdout
    assert read_with_duckdb(lake, "logs").num_rows == 1
    first = laker.run("dead", "replay", "--set", "fresh=double", *repairs)
    assert first.returncode == 0, first.stderr
    assert "2 landed, 2 are still no events (invalid_json 1, invalid_utf8 1)" in first.stdout, first.stdout
    again = laker.run("dead", "replay", *repairs)
    assert "0 landed, 2 are still no events" in again.stdout, again.stdout
    table = read_with_duckdb(lake, "logs")
    rows = {row["n"]: row for row in table.to_pylist()}
    assert table.num_rows == 3 and set(rows) == {"row", "marked", "twice"}
    assert rows["row"]["_replayed_at"] is None and rows["marked"]["_replayed_at"] is not None
    assert rows["marked"]["new"] == [{"deep": True}] and rows["twice"]["fresh"] == 7.0
    assert isinstance(rows["twice"]["fresh"], float), "the type that was given"
    states = Counter(letter["state"] for letter in _letters(laker))
    assert states == Counter(replayed=2, pending=2), "they stay, and say what became of them"
    verified = laker.run("verify")
    assert verified.returncode == 0 and "2 dead letters are rows as well" in verified.stdout, verified.stdout


def test_replays_beside_each_other_and_beside_a_loader_land_each_dead_letter_once(
    laker: Laker, topic: Topic, lake: Lake
) -> None:
    topic.produce_with_confluent([b"\xef\xbb\xbf" + json.dumps({"n": f"m{n}"}).encode() for n in range(50)])
    laker.load_the_rest()
    topic.produce_with_confluent([json.dumps({"n": f"r{n}"}).encode() for n in range(50)])
    replays = [laker.start("dead", "replay", "--repair", "byte-order-mark") for _ in range(3)]
    laker.load_the_rest()
    for replay in replays:
        assert replay.wait() == 0, replay.log()
    names = Counter(read_with_duckdb(lake, "logs")["n"].to_pylist())
    expected = {"row", "marked"} | {f"m{n}" for n in range(50)} | {f"r{n}" for n in range(50)}
    assert names == Counter({name: 1 for name in expected})
    verified = laker.run("verify")
    assert verified.returncode == 0, verified.stdout


def _letters(laker: Laker, *arguments: str) -> list[dict[str, Any]]:
    done = laker.run("dead", "list", "--format", "ndjson", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
