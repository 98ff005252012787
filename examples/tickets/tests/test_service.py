"""Each action of a user is one event, and answering does not depend on the events."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from fastapi.testclient import TestClient

import laker
from collector import PATIENCE, Collector, hold
from tickets.app import app
from tickets.catalogue import SHOWS
from tickets.people import USER_AGENTS

SHOW = SHOWS[17]
ORDER = {"seats": ["A-1", "A-2"], "payment": {"method": "card", "card": "visa", "installments": 3}}


@pytest.fixture
def service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("LAKER_URL", collector.url)
    monkeypatch.delenv("LAKER_STREAM", raising=False)
    with TestClient(app, headers={"user_id": "u1", "User-Agent": USER_AGENTS["mobile"][0]}) as client:
        yield client


def logged(collector: Collector) -> list[dict[str, Any]]:
    """The events so far, without what differs from run to run."""
    assert laker.flush(PATIENCE)
    for event in collector.stored:
        assert event.pop("_id") and event.pop("timestamp")
    return collector.stored


def test_a_search_finds_shows_and_is_an_event(service: TestClient, collector: Collector) -> None:
    answer = service.get("/search", params={"region": "Seoul", "category": "concert", "keyword": "neon ENCORE"})
    assert answer.status_code == 200
    found = [show.id for show in SHOWS.values() if show.region == "Seoul" and show.category == "concert"]
    found = [show for show in found if SHOWS[show].performer == "NEON SEOUL" and SHOWS[show].title == "Encore Night"]
    assert [show["id"] for show in answer.json()] == found
    assert logged(collector) == [
        {
            "user_id": "u1",
            "device": "mobile",
            "action": "search",
            "category": "concert",
            "region": "Seoul",
            "keyword": "neon ENCORE",
            "results": len(found),
        }
    ]


def test_a_search_without_anything_finds_all(service: TestClient, collector: Collector) -> None:
    assert len(service.get("/search").json()) == len(SHOWS) >= 200
    assert logged(collector)[0]["results"] == len(SHOWS)


def test_a_look_at_a_show_is_an_event(service: TestClient, collector: Collector) -> None:
    assert service.get("/shows/17").json()["title"] == SHOW.title
    (event,) = logged(collector)
    assert event["action"] == "view"
    assert event["show"] == {"id": 17, "title": SHOW.title, "price": SHOW.price}


def test_a_purchase_is_an_event(service: TestClient, collector: Collector) -> None:
    answer = service.post("/shows/17/purchase", json=ORDER)
    assert answer.json()["total"] == 2 * SHOW.price
    (event,) = logged(collector)
    assert event["action"] == "purchase"
    assert (event["quantity"], event["total"], event["seats"]) == (2, 2 * SHOW.price, ["A-1", "A-2"])
    assert event["payment"] == {"method": "card", "card": {"brand": "visa", "installments": 3}}


def test_what_was_refused_is_no_event(service: TestClient, collector: Collector) -> None:
    assert service.get("/shows/9999").status_code == 404
    assert service.post("/shows/9999/purchase", json=ORDER).status_code == 404
    assert service.post("/shows/17/purchase", json={**ORDER, "seats": []}).status_code == 422
    assert logged(collector) == []


@pytest.mark.parametrize("headers", [{"user_id": ""}, None])
def test_who_has_not_signed_in_is_anonymous(
    service: TestClient, collector: Collector, headers: dict[str, str] | None
) -> None:
    if headers is None:
        del service.headers["user_id"]
    service.get("/shows/17", headers=headers)
    assert logged(collector)[0]["user_id"] == "anonymous"


@pytest.mark.parametrize(
    ("device", "user_agent"), [(device, agent) for device, agents in USER_AGENTS.items() for agent in agents]
)
def test_the_device_is_known_by_its_user_agent(
    service: TestClient, collector: Collector, device: str, user_agent: str
) -> None:
    service.get("/shows/17", headers={"User-Agent": user_agent})
    assert logged(collector)[0]["device"] == device


def test_requests_are_answered_while_the_collector_is_silent(service: TestClient, collector: Collector) -> None:
    collector.answers(hold)
    for _ in range(100):
        assert service.get("/search", params={"region": "Jeju"}).status_code == 200
    assert not collector.released.is_set()
    collector.released.set()
    assert len(logged(collector)) == 100
