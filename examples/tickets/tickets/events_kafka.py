"""Events straight to Kafka, as many services do it. Laker reads the topic."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import Any, Optional

from kafka import KafkaProducer

TOPIC = os.environ.get("KAFKA_TOPIC", "logs")
BOOTSTRAP_SERVERS = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")

_producer: Any = None


def start() -> None:
    """Connects; without a broker the service does not start."""
    global _producer
    _producer = KafkaProducer(
        bootstrap_servers=BOOTSTRAP_SERVERS.split(","),
        acks="all",
        linger_ms=50,
        value_serializer=lambda event: json.dumps(event).encode(),
    )


def log_event(user_id: Optional[str], device: Optional[str], action: str, **fields: Any) -> None:
    """Hands the event to the producer's own thread; a request does not wait for the acknowledgement."""
    event = {
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "user_id": user_id,
        "device": device,
        "action": action,
        **fields,
    }
    _producer.send(TOPIC, event)


def stop() -> None:
    """Sends what is buffered."""
    _producer.flush(timeout=10)
    _producer.close()
