"""Topics, and producers as applications have them: unmodified, with their own defaults."""

from __future__ import annotations

from typing import Iterable, Optional

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
import kafka

from .waiting import LIMIT_SECONDS, wait_until

Payload = Optional[bytes]
#: As large as Laker's own limit for one event; producers' default is 1 MiB.
REQUEST_BYTES_MAX = 17 * 1024 * 1024


class Topic:
    """A topic of one test."""

    def __init__(
        self, bootstrap_servers: str, name: str, partitions: int, settings: Optional[dict[str, str]] = None
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.name = name
        self.partitions = partitions
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        created = admin.create_topics([NewTopic(name, partitions, 1, config=settings or {})])
        created[name].result(timeout=LIMIT_SECONDS)
        # Created is not yet there: each partition needs a leader that the broker tells of.
        wait_until(lambda: self._is_ready(admin), f"topic {name} has leaders")

    @classmethod
    def existing(cls, bootstrap_servers: str, name: str) -> Topic:
        """One that somebody else has made."""
        topic = cls.__new__(cls)
        topic.bootstrap_servers, topic.name = bootstrap_servers, name
        return topic

    def _is_ready(self, admin: AdminClient) -> bool:
        found = admin.list_topics(self.name, timeout=LIMIT_SECONDS).topics[self.name].partitions
        return len(found) == self.partitions and all(one.leader >= 0 for one in found.values())

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


    def read_all(self) -> list[tuple[int, int, Payload]]:
        """Partition, offset and value of every record that is in the topic now."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": f"{self.name}-auditor", "enable.auto.commit": False}
        )
        places = [confluent_kafka.TopicPartition(self.name, partition, 0) for partition in range(self.partitions)]
        missing = sum(consumer.get_watermark_offsets(place, timeout=LIMIT_SECONDS)[1] for place in places)
        consumer.assign(places)
        records: list[tuple[int, int, Payload]] = []
        while len(records) < missing:
            messages = consumer.consume(min(10_000, missing - len(records)), timeout=LIMIT_SECONDS)
            assert messages, f"{len(records)} of {missing} records came"
            for message in messages:
                partition, offset = message.partition(), message.offset()
                assert partition is not None and offset is not None and not message.error(), message.error()
                records.append((partition, offset, message.value()))
        consumer.close()
        return records


def _note(failed: list[object], error: object) -> None:
    if error is not None:
        failed.append(error)
