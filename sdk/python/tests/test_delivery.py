"""Every event reaches the collector, whatever it answers; with the same id each time it is sent."""

from __future__ import annotations

import gzip
import logging
from typing import Any, Callable, List, Tuple

import pytest

import laker
from collector import (
    PATIENCE,
    Collector,
    Step,
    answer,
    drop,
    half_answer,
    hold,
    refuse_unread,
    reject,
    store_and_drop,
)
from laker._buffer import Buffer

Connect = Callable[..., laker.Client]


def log(client: laker.Client, count: int, **fields: Any) -> None:
    for number in range(count):
        client.log_event("u1", "mobile", "search", number=number, **fields)


def numbers(collector: Collector) -> List[int]:
    return [event["number"] for event in collector.stored]


def test_events_arrive_in_the_order_they_were_logged(collector: Collector, connect: Connect) -> None:
    client = connect(batch_events_max=7)
    log(client, 100)
    assert client.flush(PATIENCE)
    assert numbers(collector) == list(range(100))
    assert client.stats() == laker.Stats(delivered=100)
    assert all(len(request.events) <= 7 for request in collector.requests)


def test_one_connection_is_kept_for_all_requests(collector: Collector, connect: Connect) -> None:
    client = connect(batch_events_max=1)
    log(client, 20)
    assert client.flush(PATIENCE)
    assert (len(collector.requests), collector.connections) == (20, 1)


def test_the_stream_and_the_path_before_it_are_in_the_url(collector: Collector, connect: Connect) -> None:
    for options in ({}, {"stream": "clicks"}, {"url": f"{collector.url}/lake/", "stream": "clicks"}):
        client = connect(headers={"Authorization": "Bearer key"}, **options)
        log(client, 1)
        assert client.flush(PATIENCE)
    assert [request.path for request in collector.requests] == ["/events", "/events/clicks", "/lake/events/clicks"]
    assert {request.headers["authorization"] for request in collector.requests} == {"Bearer key"}
    assert {request.headers["content-type"] for request in collector.requests} == {"application/x-ndjson"}


def test_events_share_a_request(collector: Collector, connect: Connect) -> None:
    # The first request holds the thread until all others are queued.
    collector.answers(hold)
    client = connect()
    log(client, 1)
    collector.wait_for_requests(1)
    log(client, 500)
    collector.released.set()
    assert client.flush(PATIENCE)
    assert [len(request.events) for request in collector.requests] == [1, 500]


def test_a_batch_has_no_more_bytes_than_it_may(collector: Collector, connect: Connect) -> None:
    collector.answers(hold)
    client = connect(batch_bytes_max=5_000)
    log(client, 50, text="x" * 1_000)
    log(client, 1, text="y" * 8_000)
    collector.released.set()
    assert client.flush(PATIENCE)
    assert len(collector.stored) == 51
    large = [request for request in collector.requests if len(request.plain_body) > 5_000]
    assert [len(request.events) for request in large] == [1]


def test_large_bodies_are_compressed_and_small_ones_are_not(collector: Collector, connect: Connect) -> None:
    client = connect(gzip_bytes_min=1_000)
    log(client, 1)
    assert client.flush(PATIENCE)
    log(client, 1, text="x" * 1_000)
    assert client.flush(PATIENCE)
    small, large = collector.requests
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert len(gzip.decompress(large.body)) > 1_000 > len(large.body)


FAULTS = [
    answer(429),
    answer(503, Retry_After="0"),
    answer(500),
    answer(502, b"<html>not JSON</html>".decode()),
    answer(408),
    drop,
    half_answer,
    store_and_drop,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_events_without_an_acknowledgement_are_sent_again_with_the_same_ids(
    collector: Collector, connect: Connect, fault: Step
) -> None:
    collector.answers(fault, fault, fault)
    client = connect()
    log(client, 1)
    assert client.flush(PATIENCE)
    first, *repeats = [request.events for request in collector.requests]
    assert len(repeats) == 3
    assert all(repeat == first for repeat in repeats)
    assert set(collector.ids) == {first[0]["_id"]}
    assert client.stats() == laker.Stats(delivered=1, retried=3)


def test_a_collector_that_never_answers_is_asked_again(collector: Collector, connect: Connect) -> None:
    collector.answers(hold)
    client = connect(request_timeout_seconds=0.05)
    log(client, 1)
    assert client.flush(PATIENCE)
    assert len(collector.requests) >= 2
    assert len(set(collector.ids)) == 1


def test_a_collector_that_starts_late_gets_everything(connect: Connect) -> None:
    # A port where nothing listens: bound and closed again.
    late = Collector()
    late.stop()
    client = connect(url=late.url)
    log(client, 10)
    assert not client.flush(0.05)
    assert client.stats().queued == 10
    started = Collector(late.server_address[1])
    try:
        assert client.flush(PATIENCE)
        assert len(set(started.ids)) == 10
    finally:
        started.stop()


@pytest.mark.parametrize("status", [401, 403, 404, 301])
def test_wrong_settings_keep_the_events_and_say_what_to_mend(
    collector: Collector, connect: Connect, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    refusal = answer(status, {"code": "unknown_stream", "message": "there is no stream lgos"})
    collector.answers(refusal, refusal)
    client = connect()
    log(client, 3)
    assert client.flush(PATIENCE)
    assert numbers(collector) == [0, 1, 2]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "no stream lgos" in errors[0] and "LAKER_STREAM" in errors[0]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> List[Tuple[float, bool]]:
    """The pauses that were asked for; none is made."""
    asked: List[Tuple[float, bool]] = []

    def pause(self: Buffer, seconds: float, *, until_hurry: bool) -> None:
        asked.append((seconds, until_hurry))

    monkeypatch.setattr(Buffer, "pause", pause)
    return asked


def test_pauses_double_up_to_their_limit_and_differ(
    collector: Collector, connect: Connect, pauses: List[Tuple[float, bool]]
) -> None:
    collector.answers(*[answer(503)] * 12)
    client = connect(retry_pause_seconds_min=0.1, retry_pause_seconds_max=30.0)
    log(client, 1)
    assert client.flush(PATIENCE)
    grown = [min(0.1 * 2**attempt, 30.0) for attempt in range(12)]
    assert all(half <= asked <= whole for (asked, _), whole, half in zip(pauses, grown, (g / 2 for g in grown)))
    assert len(pauses) == 12
    assert len({asked / whole for (asked, _), whole in zip(pauses, grown)}) > 6
    assert all(until_hurry for _, until_hurry in pauses)


def test_a_pause_that_the_collector_asks_for_is_kept_up_to_a_limit(
    collector: Collector, connect: Connect, pauses: List[Tuple[float, bool]]
) -> None:
    collector.answers(answer(503, Retry_After="7"), answer(429, Retry_After="86400"))
    client = connect(retry_after_seconds_max=300.0)
    log(client, 1)
    assert client.flush(PATIENCE)
    (first, first_cut), (second, second_cut) = pauses
    assert 7.0 <= first < 7.1 and 300.0 <= second < 300.1
    assert not first_cut and not second_cut


def test_a_flush_does_not_wait_for_the_end_of_a_pause(collector: Collector, connect: Connect) -> None:
    collector.answers(answer(503))
    client = connect(retry_pause_seconds_min=1_000.0, retry_pause_seconds_max=1_000.0)
    log(client, 1)
    collector.wait_for_requests(1)
    # The answer may still be on its way, so that the pause begins after the first of these flushes.
    while not client.flush(0.05):
        pass
    assert len(collector.stored) == 1


@pytest.mark.parametrize("status", [200, 400])
def test_rejected_events_are_counted_and_the_rest_is_delivered(
    collector: Collector, connect: Connect, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    collector.answers(hold, reject(0, 3, status=status))
    client = connect()
    log(client, 1)
    collector.wait_for_requests(1)
    log(client, 5)
    collector.released.set()
    assert client.flush(PATIENCE)
    assert numbers(collector) == [0, 1, 2, 4]
    assert client.stats() == laker.Stats(delivered=4, rejected=2)
    assert "rejected 2 events" in caplog.text and "nested too deep" in caplog.text


def test_events_beside_rejected_ones_that_were_not_stored_go_again(collector: Collector, connect: Connect) -> None:
    collector.answers(hold, reject(1, status=400, others_stored=False))
    client = connect()
    log(client, 1)
    collector.wait_for_requests(1)
    log(client, 3)
    collector.released.set()
    assert client.flush(PATIENCE)
    assert numbers(collector) == [0, 0, 2]
    assert client.stats() == laker.Stats(delivered=3, rejected=1, retried=2)


def test_a_refused_request_is_not_sent_again(collector: Collector, connect: Connect) -> None:
    collector.answers(answer(400, {"code": "bad_body", "message": "no events"}))
    client = connect()
    log(client, 1)
    assert client.flush(PATIENCE)
    log(client, 1)
    assert client.flush(PATIENCE)
    assert client.stats() == laker.Stats(delivered=1, rejected=1)
    assert len(collector.requests) == 2


@pytest.mark.parametrize("too_large", [answer(413), refuse_unread])
def test_a_batch_that_is_too_large_is_split_until_it_fits(
    collector: Collector, connect: Connect, too_large: Step
) -> None:
    collector.answers(hold, too_large, too_large)
    client = connect()
    log(client, 1)
    collector.wait_for_requests(1)
    log(client, 8)
    collector.released.set()
    assert client.flush(PATIENCE)
    assert numbers(collector) == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert client.stats() == laker.Stats(delivered=9, retried=12)


def test_an_event_that_is_too_large_alone_is_rejected_and_its_neighbours_arrive(
    collector: Collector, connect: Connect
) -> None:
    collector.answers(hold, answer(413), answer(413), answer(413))
    client = connect()
    log(client, 1)
    collector.wait_for_requests(1)
    log(client, 4)
    collector.released.set()
    assert client.flush(PATIENCE)
    assert numbers(collector) == [0, 1, 2, 3]
    assert client.stats().rejected == 1
    assert client.stats().delivered == 4


def test_a_refusal_that_comes_before_the_body_was_read_is_heard(collector: Collector, connect: Connect) -> None:
    # More than the buffers of two sockets hold, so that sending fails before the answer is read.
    client = connect(gzip_bytes_min=2**30, queue_bytes_max=2**30, event_bytes_max=2**30)
    collector.answers(refuse_unread)
    log(client, 1, text="x" * 30_000_000)
    assert client.flush(PATIENCE)
    assert client.stats() == laker.Stats(rejected=1)
    assert len(collector.requests) == 1


def test_a_flush_waits_for_all_of_a_batch_as_any_of_it_may_be_what_it_waits_for() -> None:
    buffer = Buffer(laker.Settings(linger_seconds=0.0))
    for _ in range(3):
        assert buffer.put(b"{}") is None
    assert buffer.take(1_000) == [b"{}"] * 3
    buffer.settle(rejected=1)
    assert (buffer.settled_total, buffer.stats().queued) == (0, 2)
    buffer.settle(delivered=2)
    assert (buffer.settled_total, buffer.stats().queued) == (3, 0)
