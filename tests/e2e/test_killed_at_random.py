"""`kill -9` and `kill -STOP` again and again, while events flow: nothing is lost, nothing is doubled.

`LAKER_E2E_KILLS` says how often for each table format; `LAKER_E2E_SEED` repeats a run's choices.
"""

from __future__ import annotations

import json
import os
import random
import threading
from typing import Callable

import pytest

from harness.books import HttpProducer
from harness.herd import Herd
from harness.laker import Laker
from harness.lakes import Lake
from harness.readers import read_with_duckdb, read_with_pyarrow
from harness.rows import assert_each_place_once, assert_same_rows
from harness.senders import Client
from harness.waiting import wait_until
from harness.world import World

#: Kills and stops for each table format: enough to see that the machine works.
BLOWS = 20
#: Kills of the one process that has everything in folders.
KILLS = 8
SEED = random.randrange(2**32)

both = pytest.mark.parametrize("table_format", ["delta", "parquet"])


@both
def test_a_herd_of_loaders_and_collectors_survives_kills_and_stops(world: World) -> None:
    """Two loaders that share a group, one that believes it is alone, two collectors; producers straight to Kafka
    and over HTTP; every loader behind a proxy in whose weather requests and answers get lost."""
    world.seed = int(os.environ.get("LAKER_E2E_SEED", world.seed))
    print(f"LAKER_E2E_SEED={world.seed}")
    herd = Herd(world)
    herd.start()
    over_http = [HttpProducer(herd.collectors, f"h{n}", world.seed, 150) for n in range(2)]
    world.books += [producer.book for producer in over_http]
    producers = [*(world.producer(events_per_second=150) for _ in range(2)), *over_http]
    for producer in producers:
        producer.start()
    herd.strike(int(os.environ.get("LAKER_E2E_KILLS", BLOWS)))
    for producer in producers:
        producer.stop()
    herd.end()
    print(f"{sum(herd.blows.values())} blows: {dict(sorted(herd.blows.items()))}")
    print(f"ended by themselves: {herd.ended_by_themselves}")
    found = world.finish()
    assert found.acknowledged > 0 and found.dead_letters > 0 and found.tombstones > 0


@both
def test_acknowledged_events_survive_kill_9_of_the_one_process(
    new_laker: Callable[..., Laker], folder_lake: Lake, table_format: str
) -> None:
    """The client sends again, with the same `_id`, whatever was not acknowledged. Such an event may be in the log
    twice (the first answer was lost), so ids are compared as sets; places in the log are compared exactly."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    lake = folder_lake
    laker = new_laker(lake, format=table_format, flush_after="200ms", flush_rows=200)
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
