"""Sends an application's events to Laker in the background.

    import laker
    laker.log_event(user_id, device, "search", region="Seoul", keyword="giselle")

`log_event` puts the event into a bounded queue and returns. A background thread sends the queue to
the collector and repeats, with the same event ids, until the collector has acknowledged.

The route of an event: `_event` makes it JSON, `_buffer` keeps it and counts, `_sender` takes batches
and decides what follows from an answer, `_answer` reads answers, `_transport` speaks HTTP.
"""

from laker._buffer import Stats
from laker._client import Client
from laker._default import close, configure, flush, log_event, stats
from laker._settings import Settings
from laker._version import __version__

__all__ = ["Client", "Settings", "Stats", "__version__", "close", "configure", "flush", "log_event", "stats"]
