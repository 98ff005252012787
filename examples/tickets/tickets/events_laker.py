"""Events over HTTP to Laker, through its SDK."""

from __future__ import annotations

import laker

log_event = laker.log_event


def start() -> None:
    """Reads `LAKER_URL` and `LAKER_STREAM`; a wrong one stops the service here instead of losing events later."""
    laker.configure()


def stop() -> None:
    """Sends what is queued. Uvicorn ends by a signal, so nothing else would."""
    laker.close()
