"""`kill -9` at random moments: what was acknowledged is in the table, and each place of the log is there once.

The client sends again, with the same `_id`, whatever was not acknowledged. Such an event may be in the log twice
(the first answer was lost), so ids are compared as sets; places in the log are compared exactly.
"""

from __future__ import annotations

import json
import random
import threading
from typing import Callable

import pytest

from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import read_with_duckdb, read_with_pyarrow
from harness.rows import assert_each_place_once, assert_same_rows
from harness.senders import Client
from harness.waiting import wait_until

KILLS = 8
SEED = random.randrange(2**32)


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
@pytest.mark.parametrize(("log", "lake_kind"), [("embedded", "folder"), ("kafka", "s3")])
def test_acknowledged_events_survive_kill_9(
    request: pytest.FixtureRequest, new_laker: Callable[..., Laker], log: str, lake_kind: str, table_format: str
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    topic: Topic | None = None if log == "embedded" else request.getfixturevalue("topic")
    lake: Lake = request.getfixturevalue(f"{lake_kind}_lake")
    laker = new_laker(lake, topic, format=table_format, flush_after="200ms", flush_rows=200)
    laker.forget_the_dead_soon()
    sender = _Persistent(laker)
    for _ in range(KILLS):
        process = laker.up()
        goal = sender.acknowledged + rng.randint(1, 1_500)
        wait_until(lambda: sender.acknowledged >= goal, f"{goal} events are acknowledged")
        process.kill()
    process = laker.up()
    sender.stop()
    assert process.stop() == 0, process.log_end()
    laker.load_the_rest()

    table = read_with_pyarrow(lake, "logs")
    assert_each_place_once(table)
    landed = set(table["seq"].to_pylist())
    assert landed == set(range(sender.acknowledged)), f"seed {SEED}"
    assert_same_rows(table, read_with_duckdb(lake, "logs"), "pyarrow and duckdb")


class _Persistent:
    """Sends numbered events one after another, each again and again until it is acknowledged."""

    def __init__(self, laker: Laker) -> None:
        self.acknowledged = 0
        self._client = Client(laker)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            seq = self.acknowledged
            body = json.dumps({"_id": f"e{seq}", "seq": seq}).encode()
            # Nobody there, or no answer: the next try is what a client does.
            while self._client.post(body) != 200:
                self._stopping.wait(0.02)
            self.acknowledged = seq + 1
