"""What faults cost: how fast a topic drains with and without faults on the way to S3. Run by hand, not a test:

    LAKER_BIN=target/release/laker python tests/e2e/measure_faults.py

`cargo xtask serve` starts the servers and prints what to export. Both runs go through the proxy, whose own cost
therefore cancels out; they alternate, so that a machine that is busy for a while slows both.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "tickets"))

from tickets.events import ticket_events

from harness.fault_proxy import FaultProxy, Rule
from harness.faults import ApplyAndDrop, ApplyAndRefuse, DropBefore, Fault, OneOf, Pass, Refuse
from harness.kafka import Topic
from harness.laker import Laker
from harness.lakes import Lake, S3Server
from harness.senders import encoded

EVENTS = 200_000
ROUNDS = 5
#: One of a hundred requests fails, half of them although the server has applied it.
WEATHER: dict[Fault, float] = {
    Pass(): 99,
    DropBefore(): 0.25,
    ApplyAndDrop(): 0.25,
    Refuse(503, "SlowDown"): 0.25,
    ApplyAndRefuse(500, "InternalError"): 0.25,
}


def main() -> None:
    server = S3Server.parse(os.environ["LAKER_TEST_S3"])
    topic = Topic(os.environ["LAKER_TEST_KAFKA"], f"t{uuid.uuid4().hex[:12]}", 4)
    topic.produce_with_confluent(encoded(list(ticket_events(EVENTS))))
    for table_format in ("delta", "parquet"):
        took: dict[bool, list[float]] = {False: [], True: []}
        for number in range(ROUNDS):
            for faulty in took:
                took[faulty].append(_drain(server, topic, table_format, faulty, seed=number))
        clean, faulty_seconds = (statistics.median(took[faulty]) for faulty in (False, True))
        print(
            f"{table_format}: {EVENTS / clean:,.0f} events/s without faults {_shown(took[False])}, "
            f"{EVENTS / faulty_seconds:,.0f} with 1 % {_shown(took[True])}, ratio {clean / faulty_seconds:.2f}"
        )


def _drain(server: S3Server, topic: Topic, table_format: str, faulty: bool, seed: int) -> float:
    """Seconds until a topic has landed in a fresh table, in batches of 5,000 events."""
    name = uuid.uuid4().hex[:12]
    lake = Lake.in_bucket(server, name)
    proxy = FaultProxy(server.endpoint)
    if faulty:
        proxy.add(Rule("/logs", OneOf(WEATHER, random.Random(seed))))
    stream = {"topic": topic.name, "format": table_format, "flush_rows": 5_000}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"log": topic.log_url, "lake": lake.url, "group": name, "streams": {"logs": stream}}
        environment = lake.seen_through(proxy.url).environment
        laker = Laker(Path(os.environ["LAKER_BIN"]).resolve(), Path(folder), settings, environment)
        started = time.monotonic()
        laker.load_the_rest()
        took = time.monotonic() - started
    proxy.stop()
    return took


def _shown(seconds: list[float]) -> str:
    return "(" + ", ".join(f"{one:.1f}" for one in seconds) + " s)"


if __name__ == "__main__":
    main()
