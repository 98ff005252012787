"""A client: a buffer, the thread that empties it, and the promise never to disturb the application."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Type

from laker._buffer import Buffer, Stats
from laker._event import event_line
from laker._log import RareLog
from laker._sender import Sender
from laker._settings import Options, Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

FLUSH_TIMEOUT_SECONDS = 5.0


class Client:
    """Sends events of an application to one stream.

    Safe to use from any thread, from coroutines, and after a fork: the child begins with an empty
    queue and a thread of its own, and what the parent had queued the parent sends.

    Raises `ValueError` if an option cannot be. No other method raises.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._open(Settings.resolve(**options))
        _open_clients.add(self)
        _clients.add(self)

    def _open(self, settings: Settings) -> None:
        self._settings = settings
        self._log = RareLog()
        self._buffer = Buffer(settings)
        self._thread: Optional[threading.Thread] = None
        # Reentrant, as starting a thread may run a finaliser that logs an event.
        self._thread_lock = threading.RLock()

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self._settings

    def log_event(self, user_id: Optional[str], device: Optional[str], action: str, **fields: Any) -> None:
        """Queues an event and returns; the event is what the values are now.

        The event has `timestamp` (UTC, microseconds) and `_id` (a UUIDv7) unless `fields` bring them.
        What cannot be queued is counted in `stats` and logged.
        """
        try:
            self._log_event(user_id, device, action, fields)
        except Exception as error:
            self._buffer.count_dropped()
            self._log.write(
                "no JSON", logging.WARNING, "dropped an event %r: %s: %s", action, type(error).__name__, error
            )

    def _log_event(self, user_id: object, device: object, action: object, fields: Any) -> None:
        if not self._settings.enabled:
            self._buffer.count_dropped()
            return
        line = event_line(user_id, device, action, fields)
        if line.altered:
            message = "an event %r has values without a JSON form: NaN and infinity became null, objects text"
            self._log.write("altered", logging.WARNING, message, action)
        self._ensure_thread()
        refusal = self._buffer.put(line.json, altered=line.altered)
        if refusal is not None:
            dropped = self._buffer.stats().dropped
            self._log.write(refusal, logging.WARNING, "dropped an event: %s (%d dropped so far)", refusal, dropped)

    def flush(self, timeout: float = FLUSH_TIMEOUT_SECONDS) -> bool:
        """Waits until all events logged before are delivered or rejected; False after `timeout` seconds.

        In a coroutine: `await asyncio.to_thread(client.flush)`.
        """
        return self._buffer.wait_settled(timeout)

    def close(self, timeout: Optional[float] = None) -> bool:
        """Sends what is queued and ends the thread; False if events remained after `timeout` seconds.

        The default is the setting `exit_timeout_seconds`. Events logged later are dropped and counted.
        """
        seconds = self._settings.exit_timeout_seconds if timeout is None else timeout
        self._buffer.close()
        done = self._buffer.wait_settled(seconds)
        left = self._buffer.abandon()
        if left:
            message = "gave up on %d events that %s had not acknowledged within %g s"
            self._log.write("undelivered", logging.ERROR, message, left, self._settings.url, seconds)
        _open_clients.discard(self)
        if done and self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)
        return done

    def stats(self) -> Stats:
        """What became of the events logged so far, in this process."""
        return self._buffer.stats()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        error_type: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def _ensure_thread(self) -> None:
        if self._thread is not None:
            return
        with self._thread_lock:
            if self._thread is None:
                sender = Sender(self._settings, self._buffer, self._log)
                self._thread = threading.Thread(target=sender.run, name="laker", daemon=True)
                self._start_thread(self._thread)
                self._close_with_worker()

    def _start_thread(self, thread: threading.Thread) -> None:
        try:
            thread.start()
        except BaseException:
            # No more threads in this process: the next event tries again.
            self._thread = None
            raise

    def _close_with_worker(self) -> None:
        """A process of `multiprocessing` ends without `atexit`; it has finalizers of its own."""
        module: Any = sys.modules.get("multiprocessing.util")
        if module is not None:
            module.Finalize(None, self.close, exitpriority=0)

    def _after_fork_in_child(self) -> None:
        closed = self not in _open_clients
        self._open(self._settings)
        if closed:
            self._buffer.close()


# Kept alive until closed, so that no queue is forgotten with the last reference to its client.
_open_clients: set[Client] = set()
# All others too: a lock of theirs may be held by a thread that a forked child does not have.
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _close_all() -> None:
    for client in list(_open_clients):
        client.close()


def _renew_all() -> None:
    for client in list(_clients):
        client._after_fork_in_child()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
