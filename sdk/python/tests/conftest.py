"""What the tests share: a scripted collector, and clients that are quick to try again."""

from __future__ import annotations

from typing import Any, Callable, Iterator, List

import pytest

import laker
from collector import Collector


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it, nor the default client of another test."""
    for name in ("LAKER_URL", "LAKER_STREAM", "LAKER_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("laker._default._client", None)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that answers 200 unless its script says otherwise."""
    server = Collector()
    yield server
    server.stop()


@pytest.fixture
def connect(collector: Collector) -> Iterator[Callable[..., laker.Client]]:
    """Makes clients of the collector; they are closed in the end."""
    clients: List[laker.Client] = []

    def make(**options: Any) -> laker.Client:
        quick = {"linger_seconds": 0.0, "retry_pause_seconds_min": 0.001, "retry_pause_seconds_max": 0.01}
        client = laker.Client(**{"url": collector.url, **quick, **options})
        clients.append(client)
        return client

    yield make
    collector.released.set()
    for client in clients:
        client.close(0)
