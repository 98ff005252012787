"""`log_event` never blocks, never raises, and never drops silently."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, Callable

import pytest

import laker
from collector import PATIENCE, Collector, hold

Connect = Callable[..., laker.Client]


class Hostile:
    """A value whose every use fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text of me")


def run_in_time(work: Callable[[], None]) -> None:
    """Fails, instead of hanging, if the work blocks."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "log_event blocks"


def test_all_calls_return_while_the_collector_still_holds_the_first_request(
    collector: Collector, connect: Connect
) -> None:
    collector.answers(hold)
    client = connect()
    client.log_event("u1", "mobile", "search", number=0)
    collector.wait_for_requests(1)

    def work() -> None:
        for number in range(1, 10_000):
            client.log_event("u1", "mobile", "search", number=number)

    run_in_time(work)
    assert not collector.released.is_set()
    assert client.stats() == laker.Stats(queued=10_000)
    collector.released.set()
    assert client.flush(PATIENCE)
    assert [event["number"] for event in collector.stored] == list(range(10_000))


def test_an_event_loop_goes_on_while_the_collector_holds(collector: Collector, connect: Connect) -> None:
    collector.answers(hold)
    client = connect()

    async def request(number: int) -> None:
        client.log_event("u1", "mobile", "search", number=number)

    async def serve() -> None:
        await asyncio.gather(*(request(number) for number in range(1_000)))
        assert not collector.released.is_set()
        assert client.stats().delivered == 0
        collector.released.set()
        assert await asyncio.get_running_loop().run_in_executor(None, client.flush, PATIENCE)

    run_in_time(lambda: asyncio.run(serve()))
    assert len(collector.stored) == 1_000


def test_threads_log_at_once_and_no_event_is_lost(collector: Collector, connect: Connect) -> None:
    client = connect(batch_events_max=37)

    def work() -> None:
        for _ in range(500):
            client.log_event("u1", "mobile", "view")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(PATIENCE)
    assert len(collector.ids) == len(set(collector.ids)) == 4_000


@pytest.mark.parametrize("limit", [{"queue_events_max": 10}, {"queue_bytes_max": 11_000, "event_bytes_max": 10_000}])
def test_what_a_full_queue_refuses_is_counted_and_warned_of_once(
    collector: Collector, connect: Connect, caplog: pytest.LogCaptureFixture, limit: Any
) -> None:
    collector.answers(hold)
    client = connect(**limit)
    client.log_event("u1", "mobile", "search")
    collector.wait_for_requests(1)
    for _ in range(100):
        client.log_event("u1", "mobile", "search", text="x" * 900)
    stats = client.stats()
    assert stats.queued == 11
    assert stats.dropped == 90
    assert stats.logged == 101
    warnings = [record for record in caplog.records if "the queue is full" in record.getMessage()]
    assert len(warnings) == 1
    collector.released.set()
    assert client.flush(PATIENCE)
    assert client.stats() == laker.Stats(delivered=11, dropped=90)


def test_an_event_larger_than_allowed_is_dropped_and_its_neighbours_are_not(
    collector: Collector, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(event_bytes_max=1_000)
    client.log_event("u1", "mobile", "search", text="x" * 1_000)
    client.log_event("u1", "mobile", "search")
    assert client.flush(PATIENCE)
    assert client.stats() == laker.Stats(delivered=1, dropped=1)
    assert "event_bytes_max" in caplog.text


def test_fields_that_cannot_be_json_never_raise_and_are_counted(
    collector: Collector, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    loop: dict[str, object] = {}
    loop["loop"] = loop
    client.log_event("u1", "mobile", "search", value=Hostile())
    client.log_event("u1", "mobile", "search", **loop)
    client.log_event("u1", "mobile", "search", value=object())
    client.log_event("u1", "mobile", "search", value=float("nan"))
    assert client.flush(PATIENCE)
    assert client.stats() == laker.Stats(delivered=2, dropped=2, altered=2)
    assert "no text of me" in caplog.text
    assert "NaN" in caplog.text


def test_a_failing_log_handler_does_not_reach_the_application(collector: Collector, connect: Connect) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the handler is broken")

    handler = Failing()
    logging.getLogger("laker").addHandler(handler)
    try:
        client = connect()
        client.log_event("u1", "mobile", "search", value=Hostile())
        assert client.stats().dropped == 1
    finally:
        logging.getLogger("laker").removeHandler(handler)


def test_a_log_handler_that_logs_events_does_not_run_in_circles(collector: Collector, connect: Connect) -> None:
    client = connect()

    class Mirror(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            client.log_event(None, None, "log", value=Hostile())

    handler = Mirror()
    logging.getLogger("laker").addHandler(handler)
    try:
        client.log_event("u1", "mobile", "search", value=Hostile())
    finally:
        logging.getLogger("laker").removeHandler(handler)
    assert client.stats().dropped == 2


def test_a_finaliser_may_log_while_the_same_thread_logs(collector: Collector, connect: Connect) -> None:
    client = connect()
    buffer = client._buffer

    class Logging:
        def __del__(self) -> None:
            client.log_event("u1", "mobile", "finalised")

    def work() -> None:
        with buffer._work:
            Logging()
        with client._thread_lock:
            Logging()

    run_in_time(work)
    assert client.flush(PATIENCE)
    assert [event["action"] for event in collector.stored] == ["finalised"] * 2


def test_without_a_thread_the_event_is_dropped_and_counted(
    collector: Collector, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    client = connect()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        client.log_event("u1", "mobile", "search")
    assert client.stats() == laker.Stats(dropped=1)
    client.log_event("u1", "mobile", "search")
    assert client.flush(PATIENCE)
    assert client.stats() == laker.Stats(delivered=1, dropped=1)
