"""The background thread: takes batches and sends each until the collector has answered for every event."""

from __future__ import annotations

import logging
import random
from datetime import datetime, timezone
from typing import List

from laker._answer import Later, Rejected, Taken, TooLarge, Verdict, verdict
from laker._buffer import Buffer
from laker._log import RareLog
from laker._settings import Settings
from laker._transport import Transport

Batch = List[bytes]

# So that one 413 for a single huge event does not make all later batches tiny.
_BATCH_BYTES_FLOOR = 64 * 1024
# The first attempt after an idle time often meets a connection that the collector has closed.
_ATTEMPTS_BEFORE_WARNING = 2


class Sender:
    """Sends what is in the buffer, in its order, one request at a time."""

    def __init__(self, settings: Settings, buffer: Buffer, log: RareLog) -> None:
        self._settings = settings
        self._buffer = buffer
        self._log = log
        self._transport = Transport(settings)
        self._batch_bytes_max = settings.batch_bytes_max
        # Not the application's generator, whose sequence may be seeded for a reason.
        self._random = random.Random()

    def run(self) -> None:
        """Sends until the buffer is closed and empty, or abandoned."""
        while True:
            batch = self._buffer.take(self._batch_bytes_max)
            if batch is None:
                self._transport.close()
                return
            self._deliver(batch)

    def _deliver(self, batch: Batch) -> None:
        parts = [batch]
        while parts and not self._buffer.abandoned:
            part = parts.pop()
            parts.extend(self._conclude(part, self._send(part)))

    def _send(self, part: Batch) -> Verdict:
        """Sends the same events until an answer says more than "later"."""
        attempts = 0
        while True:
            result = self._attempt(part)
            attempts += 1
            if not isinstance(result, Later):
                return result
            self._warn_of_retry(result, attempts)
            self._pause(result, attempts)
            if self._buffer.abandoned:
                return result
            self._buffer.count_retried(len(part))

    def _attempt(self, part: Batch) -> Verdict:
        try:
            answer = self._transport.post(part)
            return verdict(answer, len(part), datetime.now(timezone.utc))
        except Exception as error:
            # Whatever it was, the events have not been acknowledged.
            return Later(f"no answer ({type(error).__name__}: {error})")

    def _pause(self, later: Later, attempts: int) -> None:
        limits = self._settings
        # From 2**30 on the minimum would no longer matter, and 2.0**1024 overflows.
        grown = limits.retry_pause_seconds_min * 2.0 ** min(attempts - 1, 30)
        seconds = min(grown, limits.retry_pause_seconds_max) * self._random.uniform(0.5, 1.0)
        if later.after_seconds is None:
            self._buffer.pause(seconds, until_hurry=True)
            return
        # Asked by the collector, so that nobody's hurry shortens it; the jitter spreads the clients.
        asked = min(later.after_seconds, limits.retry_after_seconds_max)
        self._buffer.pause(asked + limits.retry_pause_seconds_min * self._random.random(), until_hurry=False)

    def _conclude(self, part: Batch, result: Verdict) -> List[Batch]:
        """Counts what is decided; returns what is to be sent again, the last first."""
        if isinstance(result, Taken):
            self._settle_taken(part, result)
            return []
        if isinstance(result, Rejected):
            return self._drop_rejected(part, result)
        if isinstance(result, TooLarge):
            return self._split(part, result)
        return []

    def _settle_taken(self, part: Batch, result: Taken) -> None:
        rejected = len(result.rejected)
        if rejected:
            # Before they are settled, so that the process does not end in between.
            self._warn_of_rejection(rejected, result.reason)
        self._buffer.settle(delivered=len(part) - rejected, rejected=rejected)

    def _drop_rejected(self, part: Batch, result: Rejected) -> List[Batch]:
        rest = [event for index, event in enumerate(part) if index not in result.rejected]
        self._warn_of_rejection(len(result.rejected), result.reason)
        self._buffer.settle(rejected=len(result.rejected))
        self._buffer.count_retried(len(rest))
        return [rest] if rest else []

    def _split(self, part: Batch, result: TooLarge) -> List[Batch]:
        if len(part) == 1:
            return self._drop_rejected(part, Rejected(frozenset([0]), result.reason))
        size = sum(map(len, part))
        self._batch_bytes_max = max(_BATCH_BYTES_FLOOR, min(self._batch_bytes_max, size // 2))
        self._buffer.count_retried(len(part))
        middle = len(part) // 2
        return [part[middle:], part[:middle]]

    def _warn_of_rejection(self, events: int, reason: str) -> None:
        self._log.write("rejected", logging.WARNING, "the collector rejected %d events: %s", events, reason)

    def _warn_of_retry(self, later: Later, attempts: int) -> None:
        url = self._settings.url
        if later.settings:
            self._log.write(
                "settings",
                logging.ERROR,
                "events wait: %s at %s; check url, stream and keys of laker.configure or LAKER_URL and LAKER_STREAM",
                later.reason,
                url,
            )
        elif attempts >= _ATTEMPTS_BEFORE_WARNING:
            self._log.write("retry", logging.WARNING, "events wait and are sent again: %s at %s", later.reason, url)
