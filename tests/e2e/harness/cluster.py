"""A Kafka cluster of one test: a controller and two brokers, so that a leader can be lost with what it alone has."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Optional

import confluent_kafka
from confluent_kafka.admin import AdminClient

from .laker import free_port
from .waiting import wait_until

CLUSTER_ID = "bGFrZXItdHdvLWJyb2tlcg"
CONTROLLER, ONE, TWO = 0, 1, 2
#: Kafka tells of its trouble, and of nothing else.
_LOG4J = """rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c %m%n
"""


class Cluster:
    """Nodes that are killed and started again, each with its own data."""

    def __init__(self, libs: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._libs, self._folder = libs, folder
        self._ports = {node: free_port() for node in (CONTROLLER, ONE, TWO)}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        (folder / "log4j2.properties").write_text(_LOG4J)
        for node in self._ports:
            self._settings(node).write_text(self._properties(node))
            kind = ["--standalone"] if node == CONTROLLER else ["--no-initial-controllers"]
            format_it = ["kafka.tools.StorageTool", "format", *kind, "-t", CLUSTER_ID, "-c", str(self._settings(node))]
            subprocess.run(self._java(format_it), check=True, capture_output=True)
        for node in self._ports:
            self.start(node)
        wait_until(lambda: self._alive() == {ONE, TWO}, "both brokers are there")

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{self._ports[node]}" for node in (ONE, TWO))

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 2})

    def start(self, node: int) -> None:
        with (self._folder / f"node-{node}.log").open("ab") as output:
            command = self._java(["kafka.Kafka", str(self._settings(node))])
            self._children[node] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def kill(self, node: int) -> None:
        """SIGKILL."""
        child = self._children.pop(node, None)
        if child is not None:
            child.kill()
            child.wait()

    def end(self) -> None:
        for node in list(self._children):
            self.kill(node)

    def leader(self, topic: str) -> Optional[int]:
        """Node that leads partition 0, if one does."""
        partition = self._partition(topic)
        return partition.leader if partition and partition.leader >= 0 else None

    def in_sync(self, topic: str) -> set[int]:
        """Nodes that have all of partition 0."""
        partition = self._partition(topic)
        return set(partition.isrs) if partition else set()

    def _partition(self, topic: str) -> Any:
        """A broker knows a new topic a moment after its controller does."""
        known = self._metadata().topics.get(topic)
        return known.partitions.get(0) if known else None

    def _alive(self) -> set[int]:
        try:
            return set(self._metadata().brokers)
        except confluent_kafka.KafkaException:
            return set()

    def _metadata(self) -> Any:
        return self.admin().list_topics(timeout=10)

    def _settings(self, node: int) -> Path:
        return self._folder / f"node-{node}.properties"

    def _java(self, arguments: list[str]) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"
        small = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *small, log4j, "-cp", f"{self._libs}/*", *arguments]

    def _properties(self, node: int) -> str:
        address = f"127.0.0.1:{self._ports[node]}"
        name = "CONTROLLER" if node == CONTROLLER else "PLAINTEXT"
        return "\n".join(
            [
                f"process.roles={'controller' if node == CONTROLLER else 'broker'}",
                f"node.id={node}",
                f"controller.quorum.bootstrap.servers=127.0.0.1:{self._ports[CONTROLLER]}",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                f"listeners={name}://{address}",
                f"advertised.listeners={name}://{address}",
                f"log.dirs={self._folder / f'data-{node}'}",
                "num.network.threads=2",
                "num.io.threads=2",
                # A broker that died is noticed, and its replicas given up, within seconds.
                "broker.session.timeout.ms=3000",
                "broker.heartbeat.interval.ms=500",
                "replica.lag.time.max.ms=2000",
                "unclean.leader.election.interval.ms=1000",
                "auto.create.topics.enable=false",
                "log.cleaner.enable=false",
                "group.initial.rebalance.delay.ms=0",
                # A group's and a transaction's state must survive what the topic does not.
                "unclean.leader.election.enable=true",
                "offsets.topic.num.partitions=1",
                "offsets.topic.replication.factor=2",
                "transaction.state.log.num.partitions=1",
                "transaction.state.log.replication.factor=2",
                "transaction.state.log.min.isr=1",
                "",
            ]
        )
