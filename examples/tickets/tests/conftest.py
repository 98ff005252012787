"""What the tests share: a scripted collector, a real one, and the service as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import pytest

from collector import Collector
from parts import Service, needed
from real_collector import RealCollector


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that answers 200 unless its script says otherwise."""
    server = Collector()
    yield server
    server.stop()


@pytest.fixture
def real_collector(tmp_path: Path) -> Iterator[RealCollector]:
    """A real `laker up`."""
    running = RealCollector(needed("LAKER_BIN"), tmp_path)
    yield running
    running.stop()


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts the service with an environment; it is stopped in the end."""
    started: list[Service] = []

    def start(**environment: str) -> Service:
        started.append(Service(tmp_path, **environment))
        return started[-1]

    yield start
    for service in started:
        service.stop()
