"""The queue between the application and the sender, and the counts of what became of each event."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Deque, List, Optional

from laker._settings import Settings


@dataclass(frozen=True)
class Stats:
    """What became of the events logged so far.

    Each event is in exactly one of `delivered`, `queued`, `rejected`, `dropped` and `undelivered`.
    """

    #: Acknowledged by the collector: durable there.
    delivered: int = 0
    #: Waiting or on their way.
    queued: int = 0
    #: Refused by the collector for what they are.
    rejected: int = 0
    #: Never queued: the queue was full, the client closed or disabled, or the event had no JSON form.
    dropped: int = 0
    #: Still queued when `close` gave up.
    undelivered: int = 0
    #: How often events were sent again, with the same id, after an attempt that got no acknowledgement.
    retried: int = 0
    #: Events with a value that JSON has no form for: NaN and infinities became null, unknown objects text.
    altered: int = 0

    @property
    def logged(self) -> int:
        """All calls of `log_event`."""
        return self.delivered + self.queued + self.rejected + self.dropped + self.undelivered


class Buffer:
    """Bounded in events and bytes; first in, first out.

    Each method takes one lock for a few instructions; only `take`, `pause` and `wait_settled` wait.
    The lock is reentrant: a signal handler or a finaliser may log an event in the middle of `put`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        lock = threading.RLock()
        self._work = threading.Condition(lock)
        self._settled_some = threading.Condition(lock)
        self._resume = threading.Condition(lock)
        self._events: Deque[bytes] = deque()
        self._bytes = 0
        self._in_flight = 0
        self._batch = 0
        self._put_total = 0
        self._hurry_until = 0
        self._hurries_total = 0
        self._closed = False
        self._abandoned = False
        self._delivered = self._rejected = self._dropped = self._undelivered = 0
        self._retried = self._altered = 0

    @property
    def abandoned(self) -> bool:
        """Whether the sender should end at once."""
        return self._abandoned

    @property
    def settled_total(self) -> int:
        """How many of the events put first are all settled; of a batch in flight none is until all are."""
        return self._put_total - len(self._events) - self._batch

    def put(self, event: bytes, *, altered: bool = False) -> Optional[str]:
        """Queues the event, or counts it as dropped and returns why."""
        with self._work:
            refusal = self._refusal(event)
            if refusal is not None:
                self._dropped += 1
                return refusal
            self._events.append(event)
            self._bytes += len(event)
            self._put_total += 1
            self._altered += altered
            if len(self._events) == 1 or self._is_batch():
                self._work.notify()
            return None

    def _refusal(self, event: bytes) -> Optional[str]:
        limits = self._settings
        if self._closed:
            return "the client is closed"
        if len(event) > limits.event_bytes_max:
            return "it has more bytes than event_bytes_max"
        if len(self._events) >= limits.queue_events_max or self._bytes + len(event) > limits.queue_bytes_max:
            return "the queue is full"
        return None

    def count_dropped(self) -> None:
        """Counts an event that never came as far as `put`."""
        with self._work:
            self._dropped += 1

    def take(self, batch_bytes_max: int) -> Optional[List[bytes]]:
        """Waits for a batch; None when the buffer is closed and empty. The sender alone calls it."""
        with self._work:
            while not self._events:
                if self._closed:
                    return None
                self._work.wait()
            self._linger()
            return self._cut(batch_bytes_max)

    def _linger(self) -> None:
        deadline = time.monotonic() + self._settings.linger_seconds
        while not (self._is_batch() or self._hurries()):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._work.wait(left)

    def _is_batch(self) -> bool:
        limits = self._settings
        return len(self._events) >= limits.batch_events_max or self._bytes >= limits.batch_bytes_max

    def _hurries(self) -> bool:
        return self._closed or self.settled_total < self._hurry_until

    def _unsettled(self) -> int:
        return len(self._events) + self._in_flight

    def _cut(self, batch_bytes_max: int) -> List[bytes]:
        batch: List[bytes] = []
        size = 0
        while self._events and len(batch) < self._settings.batch_events_max:
            size += len(self._events[0]) + 1
            if batch and size > batch_bytes_max:
                break
            event = self._events.popleft()
            self._bytes -= len(event)
            batch.append(event)
        self._in_flight = self._batch = len(batch)
        return batch

    def settle(self, *, delivered: int = 0, rejected: int = 0) -> None:
        """Counts events of the batch in flight as done with."""
        with self._work:
            self._delivered += delivered
            self._rejected += rejected
            if self._abandoned:
                self._undelivered -= delivered + rejected
            else:
                self._in_flight -= delivered + rejected
            if self._in_flight == 0:
                self._batch = 0
            self._settled_some.notify_all()

    def count_retried(self, events: int) -> None:
        """Counts events that are about to be sent again."""
        with self._work:
            self._retried += events

    def pause(self, seconds: float, *, until_hurry: bool) -> None:
        """Waits; not longer than until `abandon` and, if asked, until somebody begins to wait for the events."""
        deadline = time.monotonic() + seconds
        with self._work:
            hurries = self._hurries_total
            while not self._abandoned and not (until_hurry and self._hurries_total > hurries):
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._resume.wait(left)

    def wait_settled(self, timeout: float) -> bool:
        """Waits until all that was put before is delivered or rejected; False if that took too long."""
        deadline = time.monotonic() + timeout
        with self._work:
            target = self._put_total
            self._hurry_until = max(self._hurry_until, target)
            self._wake_sender()
            while self.settled_total < target and not self._abandoned:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._settled_some.wait(left)
            return not self._undelivered

    def close(self) -> None:
        """Takes no more events; the sender ends when it has sent what is there."""
        with self._work:
            self._closed = True
            self._wake_sender()

    def abandon(self) -> int:
        """Gives up: what is still queued or in flight counts as undelivered. Returns how many those are."""
        with self._work:
            left = self._unsettled()
            self._closed = self._abandoned = True
            self._undelivered += left
            self._events.clear()
            self._bytes = self._in_flight = self._batch = 0
            self._wake_sender()
            self._settled_some.notify_all()
            return left

    def _wake_sender(self) -> None:
        self._hurries_total += 1
        self._work.notify_all()
        self._resume.notify_all()

    def stats(self) -> Stats:
        """The counts of now, consistent with each other."""
        with self._work:
            return Stats(
                delivered=self._delivered,
                queued=self._unsettled(),
                rejected=self._rejected,
                dropped=self._dropped,
                undelivered=self._undelivered,
                retried=self._retried,
                altered=self._altered,
            )
