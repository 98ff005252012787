"""The story of the README: the service, its load, and what Laker knows of it afterwards."""

from __future__ import annotations

from typing import Callable

from collector import Collector, drop, hold
from parts import Service, counts, play
from real_collector import RealCollector

EVENTS = 1_000

TOP_KEYWORDS = """
    SELECT region, keyword, count(*) AS searches
    FROM logs
    WHERE action = 'search' AND _time > now() - INTERVAL '1 hour'
    GROUP BY region, keyword
    ORDER BY searches DESC, region, keyword
"""


def test_after_sigterm_the_collector_has_every_event(
    collector: Collector, start_service: Callable[..., Service]
) -> None:
    # The events wait behind the first request until the service is about to end.
    collector.answers(drop, hold)
    service = start_service(LAKER_URL=collector.url)
    printed = play(service, "--events", str(EVENTS), "--users", "20", "--pause", "0")
    service.begin_to_stop()
    assert collector.stored == []
    collector.released.set()
    service.stop()
    assert sum(counts(printed).values()) == EVENTS
    assert len(set(collector.ids)) == EVENTS
    actions = [event["action"] for event in collector.stored]
    assert {action: actions.count(action) for action in counts(printed)} == counts(printed)


def test_the_same_seed_plays_the_same_people(collector: Collector, start_service: Callable[..., Service]) -> None:
    service = start_service(LAKER_URL=collector.url)
    first, second = (
        play(service, "--events", "300", "--users", "1", "--pause", "0", "--seed", "3") for _ in range(2)
    )
    assert counts(first) == counts(second)


def test_load_says_so_when_requests_fail(collector: Collector, start_service: Callable[..., Service]) -> None:
    service = start_service(LAKER_URL=collector.url)
    service.stop()
    try:
        play(service, "--events", "3", "--users", "1")
    except AssertionError as failure:
        assert "failed 3 times" in str(failure)
    else:
        raise AssertionError("load.py ends with 0 though all requests failed")


def test_a_wrong_setting_stops_the_service_at_its_start(start_service: Callable[..., Service]) -> None:
    for environment, says in (({"EVENTS": "kafak"}, "must be laker or kafka"), ({"LAKER_URL": "nowhere"}, "url is")):
        try:
            start_service(**environment)
        except AssertionError as failure:
            assert says in str(failure)
        else:
            raise AssertionError(f"the service starts with {environment}")


def test_the_table_knows_the_top_keywords_by_region(
    real_collector: RealCollector, start_service: Callable[..., Service]
) -> None:
    service = start_service(LAKER_URL=real_collector.url)
    printed = counts(play(service, "--events", str(EVENTS), "--users", "20", "--pause", "0"))
    service.stop()
    rows = real_collector.query("SELECT action, count(*) AS n, count(DISTINCT _id) AS ids FROM logs GROUP BY action")
    assert {row["action"]: row["n"] for row in rows} == printed
    assert sum(row["ids"] for row in rows) == EVENTS
    top = real_collector.query(TOP_KEYWORDS)
    assert sum(row["searches"] for row in top) == printed["search"]
    assert top[0]["searches"] > 1
