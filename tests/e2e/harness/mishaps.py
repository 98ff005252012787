"""What befalls a topic and a group: deleted, trimmed, grown, moved. Each returns once it is so for everybody."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import confluent_kafka
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, OffsetSpec  # type: ignore[attr-defined]

from .kafka import Topic
from .waiting import LIMIT_SECONDS, wait_until

_TIMEOUT = 60


def delete(topic: Topic) -> None:
    """The topic is gone."""
    admin = _admin(topic)
    admin.delete_topics([topic.name])[topic.name].result(timeout=_TIMEOUT)
    wait_until(lambda: topic.name not in admin.list_topics(timeout=_TIMEOUT).topics, "the topic is gone")


def make_anew(topic: Topic, partitions: int) -> None:
    """A topic of the same name, with an identity of its own."""
    delete(topic)
    Topic(topic.bootstrap_servers, topic.name, partitions)


def trim(topic: Topic, partition: int, first: int) -> None:
    """Offsets below `first` are gone, as after retention."""
    wanted = TopicPartition(topic.name, partition, first)
    admin = _admin(topic)
    for future in admin.delete_records([wanted]).values():
        future.result(timeout=_TIMEOUT)


def add_partitions(topic: Topic, total: int) -> None:
    """The topic has `total` partitions."""
    admin = _admin(topic)
    admin.create_partitions([NewPartitions(topic.name, total)])[topic.name].result(timeout=_TIMEOUT)

    def is_there() -> bool:
        try:
            return len(ends(topic)) == total
        except confluent_kafka.KafkaException:
            return False  # A broker knows a new partition a moment after its controller does.

    wait_until(is_there, f"the topic has {total} partitions")


def move_group(topic: Topic, group: str, offset: Optional[int]) -> None:
    """Sets all offsets of a group without members, or forgets them."""
    admin = _admin(topic)
    if offset is None:
        admin.delete_consumer_groups([group])[group].result(timeout=_TIMEOUT)
        return
    partitions = admin.list_topics(topic.name, timeout=_TIMEOUT).topics[topic.name].partitions
    wanted = [TopicPartition(topic.name, partition, offset) for partition in partitions]
    moved = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])
    for partition in moved[group].result(timeout=_TIMEOUT).topic_partitions:
        assert partition.error is None, partition


def ends(topic: Topic) -> dict[int, int]:
    """Offset after the last record or marker of each partition, records of open transactions included."""
    admin = _admin(topic)
    partitions = admin.list_topics(topic.name, timeout=_TIMEOUT).topics[topic.name].partitions
    asked = {TopicPartition(topic.name, partition): OffsetSpec.latest() for partition in partitions}
    return {place.partition: future.result(_TIMEOUT).offset for place, future in admin.list_offsets(asked).items()}


#: A topic whose segments are small and cleaned as soon as can be.
COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.001",
    "segment.ms": "100",
    "delete.retention.ms": "100",
    "min.compaction.lag.ms": "0",
}


def keyed(topic: Topic, records: Sequence[tuple[bytes, Optional[bytes]]]) -> None:
    """Records with keys, to partition 0."""
    producer = confluent_kafka.Producer({"bootstrap.servers": topic.bootstrap_servers})
    for key, value in records:
        producer.produce(topic.name, value, key=key, partition=0)
    assert producer.flush(LIMIT_SECONDS) == 0


def offsets_held(topic: Topic) -> list[int]:
    """Offsets of the records that partition 0 still has."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": topic.bootstrap_servers,
            "group.id": f"{topic.name}-look",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic.name, 0, 0)])
    held: list[int] = []
    while (message := consumer.poll(LIMIT_SECONDS)) is not None and not message.error():
        held.append(int(message.offset() or 0))
    consumer.close()
    assert message is not None, "the partition does not come to its end"
    return held


class Transactions:
    """A producer that sends in transactions, to partition 0."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        settings = {"bootstrap.servers": topic.bootstrap_servers, "transactional.id": topic.name}
        self._producer = confluent_kafka.Producer(settings)
        self._producer.init_transactions(LIMIT_SECONDS)

    def begin(self, payloads: Sequence[bytes]) -> None:
        """Sends, and decides nothing."""
        self._producer.begin_transaction()
        for payload in payloads:
            self._producer.produce(self._topic.name, payload, partition=0)
        assert self._producer.flush(LIMIT_SECONDS) == 0

    def commit(self) -> None:
        self._end(lambda: self._producer.commit_transaction(LIMIT_SECONDS))

    def abort(self) -> None:
        self._end(lambda: self._producer.abort_transaction(LIMIT_SECONDS))

    def _end(self, end: Callable[[], object]) -> None:
        """The marker is written a moment after the producer is told."""
        before = ends(self._topic)[0]
        end()
        wait_until(lambda: ends(self._topic)[0] == before + 1, "the marker is written")


def _admin(topic: Topic) -> AdminClient:
    return AdminClient({"bootstrap.servers": topic.bootstrap_servers})
