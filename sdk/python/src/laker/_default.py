"""The client of the module's own functions, made from the environment at the first event."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Optional

from laker._buffer import Stats
from laker._client import FLUSH_TIMEOUT_SECONDS, Client
from laker._settings import Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

_client: Optional[Client] = None
# Reentrant, as making a client may run a finaliser that logs an event.
_lock = threading.RLock()


def configure(**options: Unpack[Options]) -> Client:
    """Makes the client that `laker.log_event` uses, and closes the one before.

    What no option says comes from `LAKER_URL`, `LAKER_STREAM` and `LAKER_ENABLED`, else from the
    defaults of `Settings`. Raises `ValueError` if an option cannot be.
    """
    global _client
    made = Client(**options)
    with _lock:
        before, _client = _client, made
    if before is not None:
        before.close()
    return made


def log_event(user_id: Optional[str], device: Optional[str], action: str, **fields: Any) -> None:
    """Queues an event and returns. Never blocks, never raises; see `Client.log_event`."""
    _current().log_event(user_id, device, action, **fields)


def flush(timeout: float = FLUSH_TIMEOUT_SECONDS) -> bool:
    """Waits until all events logged before are delivered or rejected; see `Client.flush`."""
    return _current().flush(timeout)


def close(timeout: Optional[float] = None) -> bool:
    """Sends what is queued; later events are dropped until `configure` is called. See `Client.close`."""
    return _current().close(timeout)


def stats() -> Stats:
    """What became of the events logged so far, in this process; see `Stats`."""
    return _current().stats()


def _current() -> Client:
    global _client
    if _client is None:
        with _lock:
            if _client is None:
                _client = _from_environment()
    return _client


def _from_environment() -> Client:
    try:
        return Client()
    except ValueError as error:
        # Found out inside a request, so that it must not raise.
        logging.getLogger("laker").error("events are dropped: %s", error)
        return Client(url="http://disabled.invalid", stream=None, enabled=False)


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
