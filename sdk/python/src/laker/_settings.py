"""Where events go, and every limit on the way."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping, Optional, TypedDict
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Unpack

_STREAM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_FALSE, _TRUE = {"0", "false", "no", "off"}, {"1", "true", "yes", "on"}


class Options(TypedDict, total=False):
    """The settings by name, as `configure` and `Client` take them."""

    url: str
    stream: Optional[str]
    enabled: bool
    headers: Mapping[str, str]
    queue_events_max: int
    queue_bytes_max: int
    event_bytes_max: int
    batch_events_max: int
    batch_bytes_max: int
    linger_seconds: float
    gzip_bytes_min: int
    connect_timeout_seconds: float
    request_timeout_seconds: float
    retry_pause_seconds_min: float
    retry_pause_seconds_max: float
    retry_after_seconds_max: float
    exit_timeout_seconds: float


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults; `ValueError` says which one cannot be and what it should be."""

    #: The collector. A path in it is kept, for a collector behind a reverse proxy.
    url: str = "http://127.0.0.1:7777"
    #: The stream; None is the collector's own default.
    stream: Optional[str] = None
    #: False discards all events and counts them as dropped: for an application's unit tests.
    enabled: bool = True
    #: Sent with each request, for instance for a gateway in front of the collector.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: An event that comes while the queue is full is dropped and counted.
    queue_events_max: int = 100_000
    queue_bytes_max: int = 64 * 1024 * 1024
    #: A larger event is dropped and counted; the collector takes 16 MiB.
    event_bytes_max: int = 8 * 1024 * 1024
    batch_events_max: int = 1_000
    batch_bytes_max: int = 1024 * 1024
    #: How long a batch waits for more events before it is sent.
    linger_seconds: float = 0.2
    #: Smaller bodies are sent as they are.
    gzip_bytes_min: int = 4 * 1024
    connect_timeout_seconds: float = 5.0
    #: More than the 30 s which the collector itself may take to store a batch, so that a slow
    #: acknowledgement is waited for instead of sent again.
    request_timeout_seconds: float = 35.0
    #: The pause after a failed attempt doubles from min to max; each is shortened by up to a half at random.
    retry_pause_seconds_min: float = 0.1
    retry_pause_seconds_max: float = 30.0
    #: The longest pause that a collector can ask for.
    retry_after_seconds_max: float = 300.0
    #: The longest that `close` and the end of the process wait for what is still queued.
    exit_timeout_seconds: float = 5.0

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.stream is not None and (not _STREAM_NAME.fullmatch(self.stream) or "__" in self.stream):
            raise ValueError(
                f"stream is {self.stream!r}; it must begin with a letter and have only letters, digits, '-' "
                "and single '_', at most 100"
            )
        for name, value in dataclasses.asdict(self).items():
            if name.endswith("_max") and value <= 0:
                raise ValueError(f"{name} is {value}; it must be more than 0")
            if name.endswith(("_seconds", "_min")) and value < 0:
                raise ValueError(f"{name} is {value}; it must not be negative")

    @classmethod
    def resolve(cls, **options: Unpack[Options]) -> Settings:
        """Options over the environment (`LAKER_URL`, `LAKER_STREAM`, `LAKER_ENABLED`) over defaults."""
        merged = _from_environment({name: text for name, text in _environment().items() if name not in options})
        merged.update(options)
        return cls(**merged)


def _environment() -> Mapping[str, str]:
    names = {"url": "LAKER_URL", "stream": "LAKER_STREAM", "enabled": "LAKER_ENABLED"}
    return {option: os.environ[name] for option, name in names.items() if os.environ.get(name)}


def _from_environment(texts: Mapping[str, str]) -> Options:
    options: Options = {}
    if "url" in texts:
        options["url"] = texts["url"]
    if "stream" in texts:
        options["stream"] = texts["stream"]
    if "enabled" in texts:
        options["enabled"] = _boolean(texts["enabled"])
    return options


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(f"LAKER_ENABLED is {text!r}; it must be true or false")
    return text.lower() in _TRUE


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url is {url!r}; it must be like http://collector.example:7777")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("url must have no user name, query or fragment; put credentials into headers")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"url is {url!r}; its port must be a number from 0 to 65535") from error
