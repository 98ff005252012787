"""Topics, and producers as applications have them: unmodified, with their own defaults."""

from __future__ import annotations

from typing import Iterable, Optional

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
import kafka

from .waiting import LIMIT_SECONDS

Payload = Optional[bytes]
#: As large as Laker's own limit for one event; producers' default is 1 MiB.
REQUEST_BYTES_MAX = 17 * 1024 * 1024


class Topic:
    """A topic of one test."""

    def __init__(self, bootstrap_servers: str, name: str, partitions: int) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.name = name
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        created = admin.create_topics([NewTopic(name, partitions, 1)])
        created[name].result(timeout=60)

    @property
    def log_url(self) -> str:
        """As the setting `log` takes it."""
        return f"kafka://{self.bootstrap_servers}"

    def produce_with_confluent(self, payloads: Iterable[Payload]) -> None:
        """confluent-kafka (librdkafka), as an application uses it."""
        settings = {"bootstrap.servers": self.bootstrap_servers, "message.max.bytes": REQUEST_BYTES_MAX}
        producer = confluent_kafka.Producer(settings)
        failed: list[object] = []
        for payload in payloads:
            while True:
                try:
                    producer.produce(self.name, payload, on_delivery=lambda error, _: _note(failed, error))
                    break
                except BufferError:
                    producer.poll(1)
            producer.poll(0)
        assert producer.flush(LIMIT_SECONDS) == 0 and not failed, failed

    def produce_with_kafka_python(self, payloads: Iterable[Payload]) -> None:
        """kafka-python, as an application uses it."""
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap_servers, acks="all", linger_ms=20, max_request_size=REQUEST_BYTES_MAX
        )
        futures = [producer.send(self.name, value=payload) for payload in payloads]
        producer.flush(timeout=LIMIT_SECONDS)
        failed = [future.exception for future in futures if not future.succeeded()]
        producer.close()
        assert not failed, failed[:3]

    def read(self, count: int) -> list[Payload]:
        """The values of `count` records, as any consumer sees them."""
        settings = {"bootstrap.servers": self.bootstrap_servers, "group.id": f"{self.name}-reader"}
        consumer = confluent_kafka.Consumer({**settings, "auto.offset.reset": "earliest"})
        consumer.subscribe([self.name])
        messages = consumer.consume(count, timeout=LIMIT_SECONDS)
        consumer.close()
        return [message.value() for message in messages]


def _note(failed: list[object], error: object) -> None:
    if error is not None:
        failed.append(error)
