"""Waiting for a thing, never for a time."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

Seen = TypeVar("Seen")

#: How long anything may take before a test gives up on it. Generous on purpose: the suites prove that
#: things happen, not how fast; a machine under load must not make them fail.
LIMIT_SECONDS = 120.0
#: Pause between two looks at something that cannot tell us when it changes (a process, a table).
LOOK_SECONDS = 0.05


def wait_until(look: Callable[[], Seen], what: str, limit_seconds: float = LIMIT_SECONDS) -> Seen:
    """Looks until `look` returns something true, and returns that."""
    deadline = time.monotonic() + limit_seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_seconds:.0f} s in vain until {what}")
        time.sleep(LOOK_SECONDS)
