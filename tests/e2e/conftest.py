"""Fixtures: the servers, the binary, and for each test a lake, a topic and a Laker of its own."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from tickets.events import ticket_events

from harness.browser import browser, open_page  # noqa: F401  (fixtures of every file)
from harness.fault_proxy import FaultProxy
from harness.given import given
from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake, S3Server
from harness.rows import Event
from harness.world import World

#: Partitions of a topic, as in the promise.
PARTITIONS = 4
#: Events in each cell of the large matrix, unless `LAKER_E2E_EVENTS` says otherwise.
EVENTS = 200_000


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "allowed_errors(*patterns): ERROR lines that this test brings about")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Lets a fixture know whether its test has failed, so that it can show the logs."""
    outcome: Any = yield
    report = outcome.get_result()
    setattr(item, f"report_of_{report.when}", report)


@pytest.fixture(scope="session")
def kafka_servers() -> str:
    """Bootstrap servers of a real Kafka."""
    return given("LAKER_TEST_KAFKA")


@pytest.fixture(scope="session")
def s3_server() -> S3Server:
    """A real S3 server."""
    return S3Server.parse(given("LAKER_TEST_S3"))


@pytest.fixture(scope="session")
def binary() -> Path:
    """The `laker` that was built."""
    return Path(given("LAKER_BIN"))


@pytest.fixture(scope="session")
def events() -> list[Event]:
    """Events of the ticket service, whose second half has new fields and contradicting types."""
    return list(ticket_events(int(os.environ.get("LAKER_E2E_EVENTS", EVENTS)), evolve=True))


@pytest.fixture
def name() -> str:
    """A name no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def topic(kafka_servers: str, name: str) -> Topic:
    """A topic of this test."""
    return Topic(kafka_servers, name, PARTITIONS)


@pytest.fixture
def folder_lake(tmp_path: Path) -> Lake:
    """A lake in a folder."""
    return Lake.in_folder(tmp_path / "lake")


@pytest.fixture
def s3_lake(s3_server: S3Server, name: str) -> Lake:
    """A lake in a bucket, under a prefix of this test."""
    return Lake.in_bucket(s3_server, name)


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest) -> Lake:
    """Each kind of lake in turn."""
    chosen: Lake = request.getfixturevalue(f"{request.param}_lake")
    return chosen


@pytest.fixture
def new_laker(request: pytest.FixtureRequest, binary: Path, tmp_path: Path) -> Iterator[Callable[..., Laker]]:
    """Makes a Laker on a lake, its log a folder or a topic: `new_laker(lake, topic=None, **stream_settings)`.

    After the test everything it started is ended, and an ERROR line in a log that the test did not list
    (`@pytest.mark.allowed_errors("pattern")`) fails it.
    """
    made: list[Laker] = []

    def new(lake: Lake, topic: Topic | None = None, **stream: Any) -> Laker:
        folder = tmp_path / f"laker-{len(made)}"
        log = topic.log_url if topic else f"file:{tmp_path / 'log'}"
        named = {"topic": topic.name} if topic else {}
        settings = {"log": log, "lake": lake.url, "streams": {"logs": {**named, **stream}}}
        made.append(Laker(binary, folder, settings, lake.environment))
        return made[-1]

    yield new
    for laker in made:
        laker.end()
    _show_logs_after_failure(request.node, made)
    mark = request.node.get_closest_marker("allowed_errors")
    found = [line for laker in made for line in laker.complaints(mark.args if mark else ())]
    assert not found, "ERROR lines this test does not list:\n" + "\n".join(found)


@pytest.fixture
def new_proxy(request: pytest.FixtureRequest, s3_server: S3Server, tmp_path: Path) -> Iterator[Callable[..., FaultProxy]]:
    """Makes a fault proxy in front of the S3 server. After a failure its trace is shown, and kept whole."""
    made: list[FaultProxy] = []

    def new(**options: Any) -> FaultProxy:
        made.append(FaultProxy(s3_server.endpoint, **options))
        return made[-1]

    yield new
    for number, proxy in enumerate(made):
        proxy.stop()
        if _has_failed(request.node):
            trace = tmp_path / f"proxy-{number}.trace"
            trace.write_text(proxy.trace_end(len(proxy.trace)))
            print(f"--- the end of {trace}\n{proxy.trace_end(40)}")


@pytest.fixture
def world(
    s3_lake: Lake, topic: Topic, new_proxy: Callable[..., FaultProxy], new_laker: Callable[..., Laker], table_format: str
) -> World:
    """A topic, a lake on S3, and loaders each behind a fault proxy of its own."""
    return World(s3_lake, topic, table_format, new_laker, new_proxy)


def _has_failed(item: pytest.Item) -> bool:
    report = getattr(item, "report_of_call", None)
    return report is not None and bool(report.failed)


def _show_logs_after_failure(item: pytest.Item, made: list[Laker]) -> None:
    if not _has_failed(item):
        return
    for laker in made:
        for process in laker.processes:
            print(f"--- the end of {process.log_file}\n{process.log_end()}")
