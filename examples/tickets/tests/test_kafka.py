"""The variant straight to Kafka writes the same events to the topic."""

from __future__ import annotations

import json
import uuid
from typing import Any, Callable

from parts import PATIENCE, Service, counts, needed, play

EVENTS = 500


def create_topic(servers: str, topic: str) -> None:
    """A topic of four partitions."""
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=servers.split(","))
    try:
        admin.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)])
    finally:
        admin.close()


def read_topic(servers: str, topic: str, count: int) -> list[dict[str, Any]]:
    """All events of the topic, which are so many."""
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=servers.split(","),
        auto_offset_reset="earliest",
        group_id=None,
        consumer_timeout_ms=int(PATIENCE * 1000),
        value_deserializer=json.loads,
    )
    try:
        events = [next(consumer).value for _ in range(count)]
        ends = consumer.end_offsets(consumer.assignment())
        assert sum(ends.values()) == count
        return events
    finally:
        consumer.close()


def test_after_sigterm_the_topic_has_every_event(start_service: Callable[..., Service]) -> None:
    servers, topic = needed("LAKER_TEST_KAFKA"), f"tickets-{uuid.uuid4().hex[:8]}"
    create_topic(servers, topic)
    service = start_service(EVENTS="kafka", KAFKA_BOOTSTRAP_SERVERS=servers, KAFKA_TOPIC=topic)
    printed = counts(play(service, "--events", str(EVENTS), "--users", "20", "--pause", "0"))
    service.stop()
    events = read_topic(servers, topic, EVENTS)
    actions = [event["action"] for event in events]
    assert {action: actions.count(action) for action in printed} == printed
    purchase = next(event for event in events if event["action"] == "purchase")
    assert purchase["total"] == purchase["show"]["price"] * purchase["quantity"]
    assert {event["device"] for event in events} <= {"mobile", "desktop", "tablet", "bot"}
