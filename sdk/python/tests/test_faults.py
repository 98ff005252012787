"""Through random faults every event arrives: at least once, with one id."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Iterator

import pytest

import laker
from collector import Collector
from faulty_proxy import FAULTS, FaultyProxy
from real_collector import RealCollector

EVENTS = 3_000
THREADS = 4
PATIENCE = 120.0


def log_through_faults(target: str, seed: int) -> laker.Stats:
    """Logs events of several threads through a faulty proxy until all are delivered."""
    proxy = FaultyProxy(target, seed)
    client = laker.Client(
        url=proxy.url,
        batch_events_max=17,
        linger_seconds=0.0,
        gzip_bytes_min=1_000,
        retry_pause_seconds_min=0.001,
        retry_pause_seconds_max=0.01,
    )

    def work(thread: int) -> None:
        for number in range(EVENTS // THREADS):
            client.log_event(f"u{thread}", "mobile", "search", thread=thread, number=number, seed=seed)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.close(PATIENCE), client.stats()
    proxy.stop()
    assert set(proxy.happened) == set(FAULTS), "each fault has happened"
    return client.stats()


@pytest.mark.parametrize("seed", range(3))
def test_no_event_is_lost_and_each_keeps_its_id(collector: Collector, seed: int) -> None:
    stats = log_through_faults(collector.url, seed)
    assert stats.delivered == EVENTS
    assert stats.retried > 0
    assert len(collector.ids) > EVENTS, "a lost answer makes a repeat"
    by_id = {event["_id"]: (event["thread"], event["number"]) for event in collector.stored}
    assert len(by_id) == EVENTS
    assert len(set(by_id.values())) == EVENTS


@pytest.fixture
def real_collector(tmp_path: Path) -> Iterator[RealCollector]:
    binary = os.environ.get("LAKER_BIN")
    if not binary:
        if os.environ.get("CI"):
            pytest.fail("LAKER_BIN is not set")
        print("skipped: LAKER_BIN is not set", file=sys.stderr)
        pytest.skip("LAKER_BIN is not set")
    running = RealCollector(binary, tmp_path)
    yield running
    running.stop()


def test_every_event_is_in_the_table_of_a_real_laker(real_collector: RealCollector) -> None:
    stats = log_through_faults(real_collector.url, seed=9)
    assert stats.delivered == EVENTS
    (row,) = real_collector.query(
        "SELECT count(DISTINCT _id) AS ids, count(DISTINCT thread * 1000000 + number) AS events FROM logs"
    )
    assert row == {"ids": EVENTS, "events": EVENTS}


def test_events_asked_for_at_once_are_found(real_collector: RealCollector) -> None:
    with laker.Client(url=real_collector.url) as client:
        client.log_event("u1", "mobile", "search", region="Seoul", keyword="giselle", price=float("nan"))
        assert client.flush(PATIENCE)
        rows = real_collector.query("SELECT user_id, device, action, region, keyword FROM logs")
        assert client.stats() == laker.Stats(delivered=1, altered=1)
    assert rows == [
        {"user_id": "u1", "device": "mobile", "action": "search", "region": "Seoul", "keyword": "giselle"}
    ]
