"""One topic, one lake on S3, loaders that each go through a fault proxy, and the auditor's verdict at the end."""

from __future__ import annotations

import itertools
import random
import signal
from typing import Any, Callable, Optional

from .auditor import Audit, audit
from .books import Book, KafkaProducer
from .fault_proxy import FaultProxy
from .kafka import Topic
from .laker import Laker, Process
from .lakes import Lake
from .readers import count_rows
from .waiting import wait_until

#: The steps of a loader that can be seen from outside, each by its request.
#: The first version of a table's log is its creation, the second its beginning, each further one a commit.
STEPS = {
    "delta": {
        "create": r"^PUT .*/logs/_delta_log/0{20}\.json",
        "begin": r"^PUT .*/logs/_delta_log/0{19}1\.json",
        "upload": r"^PUT .*/logs/event_date=",
        "upload of dead letters": r"^PUT .*/logs__dead/event_date=",
        "commit of dead letters": r"^PUT .*/logs__dead/_delta_log/(?!0{19}[01])\d{20}\.json",
        "commit": r"^PUT .*/logs/_delta_log/(?!0{19}[01])\d{20}\.json",
        "checkpoint": r"^PUT .*/logs/_delta_log/\d{20}\.checkpoint",
        "listing": r"^GET .*prefix=[^&]*/logs/_delta_log",
        "reading back": r"^GET .*/logs/_delta_log/\d{20}\.json",
    },
    "parquet": {
        "create": r"^PUT .*/logs/_laker/schema/0{20}\.json",
        "begin": r"^PUT .*/logs/_laker/start/p=",
        "new columns": r"^PUT .*/logs/_laker/schema/0{19}1\.json",
        "commit of dead letters": r"^PUT .*/logs__dead/data/p=",
        "commit": r"^PUT .*/logs/data/p=",
        "listing": r"^GET .*prefix=[^&]*/logs/",
        "reading back": r"^GET .*/logs/data/p=",
    },
}
#: Those that change the table, soon after the start. A checkpoint comes with the hundredth version.
WRITES = {
    table_format: {
        name: pattern for name, pattern in steps.items() if pattern.startswith("^PUT") and name != "checkpoint"
    }
    for table_format, steps in STEPS.items()
}


class Loader:
    """A `laker load` and its proxy."""

    def __init__(self, laker: Laker, proxy: FaultProxy) -> None:
        self.laker = laker
        self.proxy = proxy

    @property
    def process(self) -> Process:
        """The run that was started last."""
        return self.laker.processes[-1]

    def start(self) -> Loader:
        self.laker.start("load")
        return self

    def kill(self) -> None:
        self.process.kill()

    def freeze(self) -> None:
        self.process.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.child.send_signal(signal.SIGCONT)

    @property
    def ended(self) -> bool:
        return self.process.child.poll() is not None

    def wait_says(self, text: str, times: int = 1) -> None:
        """Until the log of the last run has the text so often."""
        wait_until(lambda: self.process.log().count(text) >= times or self._must_run(), f"the loader says {text!r}")

    def _must_run(self) -> bool:
        assert not self.ended, f"the loader ended:\n{self.process.log_end()}"
        return False


class World:
    """What a scenario plays in."""

    def __init__(
        self,
        lake: Lake,
        topic: Topic,
        table_format: str,
        new_laker: Callable[..., Laker],
        new_proxy: Callable[..., FaultProxy],
    ) -> None:
        self.lake = lake
        self.topic = topic
        self.table_format = table_format
        self.seed = random.randrange(2**32)
        self.books: list[Book] = []
        self._new_laker = new_laker
        self._new_proxy = new_proxy
        self._numbers = itertools.count()
        self._producer: Optional[KafkaProducer] = None
        print(f"seed {self.seed}")

    @property
    def steps(self) -> dict[str, str]:
        return STEPS[self.table_format]

    @property
    def writes(self) -> dict[str, str]:
        return WRITES[self.table_format]

    def loader(
        self, group: str = "laker", keep_bodies: bool = False, forgotten_soon: bool = True, **stream: Any
    ) -> Loader:
        """A loader that is not running yet. Kafka forgets it soon after it has died, unless a test is about
        keeping its place however slow the machine is."""
        proxy = self._new_proxy(keep_bodies=keep_bodies)
        laker = self._laker(self.lake.seen_through(proxy.url), group, **stream)
        if forgotten_soon:
            laker.forget_the_dead_soon()
        return Loader(laker, proxy)

    def collector(self) -> Laker:
        """A collector that is not running yet."""
        return self._laker(self.lake, "laker")

    def producer(self, events_per_second: float) -> KafkaProducer:
        """A producer that is not running yet, whose book is audited."""
        producer = KafkaProducer(self.topic, f"k{next(self._numbers)}", self.seed, events_per_second)
        self.books.append(producer.book)
        return producer

    def produce(self, count: int) -> None:
        """Sends events, some of them broken, and returns once all are acknowledged."""
        if self._producer is None:
            self._producer = self.producer(1)
        self._producer.send(count)

    def rows_sent(self) -> int:
        """Events so far that must become rows."""
        entries = (entry for book in self.books for entry in list(book.entries))
        return sum(1 for entry in entries if entry.payload is not None and entry.payload.endswith(b"}"))

    def rows_landed(self) -> int:
        return count_rows(self.lake, "logs")

    def wait_landed(self, *loaders: Loader) -> None:
        """Until all that was sent has landed, by loaders that must not end meanwhile. Doubled rows are the
        auditor's business."""

        def has_landed() -> bool:
            for loader in loaders:
                assert not loader.ended, f"the loader ended:\n{loader.process.log_end()}"
            return self.rows_landed() >= self.rows_sent()

        wait_until(has_landed, "everything has landed", limit_seconds=300)

    def finish(self) -> Audit:
        """Lands what is left, with a loader nothing happens to, and recounts."""
        self.load_the_rest()
        return self.audit()

    def load_the_rest(self) -> None:
        # A group of its own: it need not wait until the broker forgets members that were killed.
        self._laker(self.lake, f"finish-{next(self._numbers)}").load_the_rest()

    def audit(self) -> Audit:
        found = audit(self.lake, self.topic, self.books)
        print(found)
        return found

    def _laker(self, lake: Lake, group: str, **stream: Any) -> Laker:
        settings = {"format": self.table_format, "flush_after": "200ms", **stream}
        laker = self._new_laker(lake, self.topic, **settings)
        laker.settings["group"] = group
        laker.write_settings()
        return laker
