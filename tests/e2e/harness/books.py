"""Producers that keep books: what was sent, how often, and what was acknowledged. Laker never sees them.

Each event says who sent it, with which number, and a checksum over all of that and a text of its own. Some
are broken on purpose, some are tombstones; new fields and contradicting types come up on the way.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from dataclasses import dataclass, field
from typing import Callable, Optional, Sequence

import confluent_kafka
import pyarrow

from .kafka import REQUEST_BYTES_MAX, Topic
from .laker import Laker
from .senders import Client
from .waiting import LIMIT_SECONDS

#: One event in so many is broken (a dead letter), a tombstone, has a field nobody had before.
BROKEN_EVERY = 41
TOMBSTONE_EVERY = 97
NEW_FIELD_EVERY = 400
#: Events between two looks at the clock of whoever paces a producer.
SLICE = 20


@dataclass
class Entry:
    """One event in the books."""

    payload: Optional[bytes]
    attempts: int = 0
    acknowledged: bool = False
    #: Where Kafka said it is; HTTP says it in a receipt, which is not asked here.
    partition: Optional[int] = None
    offset: Optional[int] = None


@dataclass
class Book:
    """Everything one producer did."""

    producer: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        return sum(entry.acknowledged for entry in self.entries)


def books_table(books: Sequence[Book]) -> pyarrow.Table:
    """All books in one table, one row for each event."""
    rows = [(book.producer, number, entry) for book in books for number, entry in enumerate(book.entries)]
    columns = {
        "producer": pyarrow.array([producer for producer, _, _ in rows], pyarrow.string()),
        "sequence": pyarrow.array([number for _, number, _ in rows], pyarrow.int64()),
        "payload": pyarrow.array([entry.payload for _, _, entry in rows], pyarrow.binary()),
        "attempts": pyarrow.array([entry.attempts for _, _, entry in rows], pyarrow.int64()),
        "acknowledged": pyarrow.array([entry.acknowledged for _, _, entry in rows], pyarrow.bool_()),
        "partition": pyarrow.array([entry.partition for _, _, entry in rows], pyarrow.int32()),
        "offset": pyarrow.array([entry.offset for _, _, entry in rows], pyarrow.int64()),
    }
    return pyarrow.table(columns)


def checksum(producer: str, sequence: int, text: str) -> str:
    """What the auditor recomputes from the other three."""
    return hashlib.md5(f"{producer}:{sequence}:{text}".encode()).hexdigest()


def event_payload(producer: str, sequence: int, chance: random.Random) -> bytes:
    """An event that is valid, the same for the same chance."""
    text = "".join(chance.choices("abc xyz\"\\\n가é😀", k=chance.randrange(8, 200)))
    event = {
        "_id": f"{producer}-{sequence}",
        "producer": producer,
        "sequence": sequence,
        "text": text,
        "checksum": checksum(producer, sequence, text),
        # A long at first, and now and then a text: that stays in the residual.
        "amount": sequence if sequence % 7 else f"{sequence} pieces",
        f"field_{sequence // NEW_FIELD_EVERY}": True,
    }
    return json.dumps(event, ensure_ascii=False).encode()


def kafka_payload(producer: str, sequence: int, chance: random.Random) -> Optional[bytes]:
    """An event, a broken one, or a tombstone."""
    if sequence % TOMBSTONE_EVERY == TOMBSTONE_EVERY - 1:
        return None
    payload = event_payload(producer, sequence, chance)
    return payload[:-5] if sequence % BROKEN_EVERY == BROKEN_EVERY - 1 else payload


class Producer:
    """A thread that sends until it is stopped, and keeps its book."""

    def __init__(self, name: str, seed: int, events_per_second: float) -> None:
        self.book = Book(name)
        self._chance = random.Random(f"{seed} {name}")
        self._pause_seconds = SLICE / events_per_second
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._guarded, daemon=True)

    def start(self) -> Producer:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends once what was begun is acknowledged."""
        self._stopping.set()
        self._thread.join(5 * LIMIT_SECONDS)
        assert not self._thread.is_alive() and not self._failures, self._failures

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as failure:
            self._failures.append(failure)

    def _run(self) -> None:
        raise NotImplementedError

    def _rest(self) -> None:
        self._stopping.wait(self._pause_seconds)


class KafkaProducer(Producer):
    """Straight to the topic, with confluent-kafka as an application uses it."""

    def __init__(self, topic: Topic, name: str, seed: int, events_per_second: float) -> None:
        super().__init__(name, seed, events_per_second)
        self._topic = topic

    def send(self, count: int) -> None:
        """Sends so many events now, and returns once they are acknowledged."""
        producer = self._connect()
        for _ in range(count):
            self._send_one(producer)
        assert producer.flush(LIMIT_SECONDS) == 0

    def _run(self) -> None:
        producer = self._connect()
        while not self._stopping.is_set():
            for _ in range(SLICE):
                self._send_one(producer)
            producer.poll(0)
            self._rest()
        assert producer.flush(LIMIT_SECONDS) == 0

    def _connect(self) -> confluent_kafka.Producer:
        settings = {"bootstrap.servers": self._topic.bootstrap_servers, "message.max.bytes": REQUEST_BYTES_MAX}
        return confluent_kafka.Producer({**settings, "enable.idempotence": True, "linger.ms": 5})

    def _send_one(self, producer: confluent_kafka.Producer) -> None:
        sequence = len(self.book.entries)
        entry = Entry(kafka_payload(self.book.producer, sequence, self._chance), attempts=1)
        self.book.entries.append(entry)
        producer.produce(
            self._topic.name,
            entry.payload,
            partition=self._chance.randrange(self._topic.partitions),
            on_delivery=_noted_in(entry),
        )


def _noted_in(entry: Entry) -> Callable[[object, confluent_kafka.Message], None]:
    def note(error: object, message: confluent_kafka.Message) -> None:
        if error is None:
            entry.acknowledged, entry.partition, entry.offset = True, message.partition(), message.offset()

    return note


class HttpProducer(Producer):
    """To collectors, the next one whenever one gives no answer; each event again until it is acknowledged."""

    def __init__(self, collectors: Sequence[Laker], name: str, seed: int, events_per_second: float) -> None:
        super().__init__(name, seed, events_per_second)
        self._clients = [Client(collector) for collector in collectors]

    def _run(self) -> None:
        turn = 0
        while not self._stopping.is_set():
            first = len(self.book.entries)
            batch = [
                Entry(event_payload(self.book.producer, first + number, self._chance))
                for number in range(self._chance.randint(1, SLICE))
            ]
            self.book.entries += batch
            body = b"\n".join(entry.payload or b"" for entry in batch)
            while not self._post(self._clients[turn % len(self._clients)], body, batch):
                turn += 1
                self._rest()
            self._rest()

    def _post(self, client: Client, body: bytes, batch: Sequence[Entry]) -> bool:
        for entry in batch:
            entry.attempts += 1
        if client.post(body) != 200:
            return False
        for entry in batch:
            entry.acknowledged = True
        return True
