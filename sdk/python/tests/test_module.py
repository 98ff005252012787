"""The module's own functions: settings from options, environment and defaults."""

from __future__ import annotations

import dataclasses
import typing

import pytest

import laker
from collector import PATIENCE, Collector
from laker._settings import Options


def test_three_lines_are_enough(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKER_URL", collector.url)
    monkeypatch.setenv("LAKER_STREAM", "logs")
    laker.log_event("u1", "mobile", "search", keyword="giselle")
    assert laker.flush(PATIENCE)
    assert [event["keyword"] for event in collector.stored] == ["giselle"]
    assert collector.requests[0].path == "/events/logs"
    assert laker.stats() == laker.Stats(delivered=1)
    assert laker.close()


def test_options_go_over_the_environment_over_defaults(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKER_URL", "http://elsewhere.example")
    monkeypatch.setenv("LAKER_STREAM", "logs")
    client = laker.configure(url=collector.url, batch_events_max=5)
    assert (client.settings.url, client.settings.stream) == (collector.url, "logs")
    assert (client.settings.batch_events_max, client.settings.linger_seconds) == (5, 0.2)
    laker.close()


def test_configure_again_sends_what_the_client_before_had(collector: Collector) -> None:
    laker.configure(url=collector.url, linger_seconds=PATIENCE)
    laker.log_event("u1", "mobile", "search")
    laker.configure(url=collector.url, stream="clicks")
    assert len(collector.stored) == 1
    laker.log_event("u1", "mobile", "click")
    assert laker.close()
    assert [request.path for request in collector.requests] == ["/events", "/events/clicks"]


def test_events_after_close_are_dropped_and_counted_until_configured_again(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    laker.configure(url=collector.url)
    laker.close()
    laker.log_event("u1", "mobile", "search")
    assert laker.stats() == laker.Stats(dropped=1)
    assert "the client is closed" in caplog.text
    laker.configure(url=collector.url)
    laker.log_event("u1", "mobile", "search")
    assert laker.close()
    assert laker.stats() == laker.Stats(delivered=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LAKER_URL", "127.0.0.1:7777"), ("LAKER_STREAM", "no spaces"), ("LAKER_ENABLED", "maybe")],
)
def test_a_wrong_environment_never_raises_into_the_application(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    laker.log_event("u1", "mobile", "search")
    laker.log_event("u1", "mobile", "search")
    assert laker.stats() == laker.Stats(dropped=2)
    assert [value in record.getMessage() for record in caplog.records] == [True]


def test_disabled_means_dropped_and_counted(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKER_URL", collector.url)
    monkeypatch.setenv("LAKER_ENABLED", "false")
    laker.log_event("u1", "mobile", "search")
    assert laker.flush()
    assert laker.stats() == laker.Stats(dropped=1)
    assert collector.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://host"},
        {"url": "http://"},
        {"url": "http://host:99999"},
        {"url": "http://user:secret@host"},
        {"url": "http://host/?a=b"},
        {"stream": ""},
        {"stream": "logs__dead"},
        {"stream": "1logs"},
        {"stream": "l" * 101},
        {"queue_events_max": 0},
        {"batch_bytes_max": -1},
        {"linger_seconds": -0.1},
    ],
)
def test_wrong_options_are_an_error_at_once_that_names_them(options: Options) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        laker.configure(**options)


def test_an_error_about_the_url_does_not_show_its_password() -> None:
    with pytest.raises(ValueError) as error:
        laker.configure(url="http://user:secret@host")
    assert "secret" not in str(error.value)


def test_options_and_settings_have_the_same_names() -> None:
    assert list(typing.get_type_hints(Options)) == [field.name for field in dataclasses.fields(laker.Settings)]
