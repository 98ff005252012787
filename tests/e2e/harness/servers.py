"""Servers of one test alone, so that it may kill, freeze and restart them: a Kafka broker, an S3 server, credentials."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Optional

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from .laker import free_port
from .lakes import S3Server
from .waiting import wait_until

CLUSTER_ID = "bGFrZXItb3V0YWdlLXRlc3Q"
BUCKET = "lake"
REGION = "us-east-1"


class _Server:
    """A child process that can be killed, frozen, thawed and started again on the same address and data."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.child: Optional[subprocess.Popen[bytes]] = None
        self._runs = 0

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self.start_soon()
        wait_until(self.answers, f"{type(self).__name__} answers; its log is in {self.folder}")

    def start_soon(self) -> None:
        """Starts it without waiting."""
        self._runs += 1
        with (self.folder / f"server-{self._runs}.log").open("wb") as output:
            self.child = subprocess.Popen(
                self.command(), env=self.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def kill(self) -> None:
        """SIGKILL: gone without a word, connections reset."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing ever answers."""
        assert self.child is not None
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGCONT)

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def answers(self) -> bool:
        raise NotImplementedError


class Broker(_Server):
    """One Kafka node in both roles."""

    def __init__(self, libs: Path, folder: Path) -> None:
        super().__init__(folder)
        self._libs = libs
        self.port = free_port()
        (folder / "log4j2.properties").write_text("rootLogger.level=warn\nrootLogger.appenderRef.x.ref=X\n"
            "appender.x.type=Console\nappender.x.name=X\nappender.x.layout.type=PatternLayout\n")
        (folder / "kafka.properties").write_text(_kafka_properties(self.port, free_port(), folder / "data"))
        formatting = ["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c"]
        done = subprocess.run(
            self._java() + formatting + [str(folder / "kafka.properties")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return self._java() + ["kafka.Kafka", str(self.folder / "kafka.properties")]

    def answers(self) -> bool:
        assert self.child is not None and self.child.poll() is None, f"the broker ended; see {self.folder}"
        try:
            AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0}).list_topics(timeout=2)
            return True
        except confluent_kafka.KafkaException:
            return False

    def create_topic(self, name: str, partitions: int = 4) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(timeout=60)
        # The controller says so a moment before the broker leads the partitions.
        wait_until(lambda: all(self._leads(name, partition) for partition in range(partitions)), f"{name} is led")

    def _leads(self, topic: str, partition: int) -> bool:
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": "looking"})
        try:
            consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), timeout=5)
            return True
        except confluent_kafka.KafkaException:
            return False
        finally:
            consumer.close()

    def values(self, topic: str) -> list[bytes]:
        """All committed records there are now, partition by partition, as any `read_committed` consumer sees them."""
        settings = {
            "bootstrap.servers": self.bootstrap_servers,
            "group.id": "auditor",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
        consumer = confluent_kafka.Consumer(settings)
        found: list[bytes] = []
        for partition in consumer.list_topics(topic, timeout=60).topics[topic].partitions:
            consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0)])
            while True:
                message = consumer.poll(60)
                assert message is not None, f"partition {partition} does not come to its end"
                error = message.error()
                if error is None:
                    found.append(message.value() or b"")
                elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    break
                else:
                    raise AssertionError(error)
        consumer.close()
        return found

    def _java(self) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", log4j, "-cp", f"{self._libs}/*"]


def _kafka_properties(port: int, controller_port: int, data: Path) -> str:
    listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
    return "\n".join(
        [
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            f"listeners={listeners}",
            f"advertised.listeners={listeners}",
            f"log.dirs={data}",
            "auto.create.topics.enable=false",
            "message.max.bytes=17825792",
            "num.network.threads=2",
            "num.io.threads=2",
            "log.cleaner.enable=false",
            "group.initial.rebalance.delay.ms=0",
            "offsets.topic.num.partitions=2",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=2",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "",
        ]
    )


class S3(_Server):
    """versitygw on a folder. `accounts` are further users beside the root one, by access key."""

    ROOT = ("laker-test", "laker-test-secret")

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__(folder)
        self._program = program
        self.port = free_port()
        self.data = folder / "data"
        (self.data / BUCKET).mkdir(parents=True, exist_ok=True)
        self.accounts_folder = folder / "iam"
        self.accounts_folder.mkdir(exist_ok=True)
        self.set_accounts({})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def as_root(self) -> S3Server:
        return self.as_user(*self.ROOT)

    def as_user(self, access_key_id: str, secret_access_key: str) -> S3Server:
        return S3Server(self.endpoint, BUCKET, access_key_id, secret_access_key, REGION)

    def set_accounts(self, accounts: dict[str, str]) -> None:
        """The accounts there are from now on, with their secrets; a running server sees it at once."""
        users = {
            key: {"access": key, "secret": secret, "role": "admin", "userID": 0, "groupID": 0, "projectID": 0}
            for key, secret in accounts.items()
        }
        whole = json.dumps({"accessAccounts": users})
        draft = self.accounts_folder / "users.draft"
        draft.write_text(whole)
        draft.replace(self.accounts_folder / "users.json")

    def command(self) -> list[str]:
        return [
            str(self._program),
            *("--port", f"127.0.0.1:{self.port}", "--region", REGION, "--health", "/health"),
            *("--iam-dir", str(self.accounts_folder), "--iam-cache-disable"),
            *("posix", str(self.data)),
        ]

    def environment(self) -> dict[str, str]:
        access_key_id, secret_access_key = self.ROOT
        return {**os.environ, "ROOT_ACCESS_KEY": access_key_id, "ROOT_SECRET_KEY": secret_access_key}

    def answers(self) -> bool:
        assert self.child is not None and self.child.poll() is None, f"the S3 server ended; see {self.folder}"
        try:
            with urllib.request.urlopen(f"{self.endpoint}/health", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False


class CredentialsEndpoint:
    """What a container asks for its keys (`AWS_CONTAINER_CREDENTIALS_FULL_URI`): ones that expire soon."""

    def __init__(self, folder: Path, lifetime_seconds: float) -> None:
        self.keys: Optional[tuple[str, str]] = None
        self.asked = 0
        self._lifetime_seconds = lifetime_seconds
        self._token_file = folder / "token"
        self._token_file.write_text("token")
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.asked += 1
                body = endpoint.answer()
                self.send_response(200 if body else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self._server.server_port}/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(self._token_file),
        }

    def answer(self) -> bytes:
        if self.keys is None:
            return b""
        access_key_id, secret_access_key = self.keys
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self._lifetime_seconds))
        return json.dumps(
            {
                "AccessKeyId": access_key_id,
                "SecretAccessKey": secret_access_key,
                "Token": "",
                "Expiration": expires,
                "Code": "Success",
                "Type": "x",
                "LastUpdated": expires,
            }
        ).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
