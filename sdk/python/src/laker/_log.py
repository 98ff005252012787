"""Warnings that a person should see, at most one of a kind per minute."""

from __future__ import annotations

import logging
import time
from typing import Dict

SECONDS_BETWEEN = 60.0
_logger = logging.getLogger("laker")


class RareLog:
    """Writes to the logger `laker`; each kind of message is let through once per minute."""

    def __init__(self) -> None:
        self._next: Dict[str, float] = {}

    def write(self, kind: str, level: int, message: str, *values: object) -> None:
        """Logs the message, unless one of its kind was logged within the last minute. Never raises."""
        now = time.monotonic()
        if now < self._next.get(kind, 0.0):
            return
        self._next[kind] = now + SECONDS_BETWEEN
        try:
            _logger.log(level, message, *values)
        except Exception:  # a handler of the application's; it must not reach its request
            pass
