"""Sending over HTTP, as several clients at once."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator, Optional, Sequence

from .laker import Laker
from .rows import Event
from .waiting import LIMIT_SECONDS

#: Events in one request, where a test does not say otherwise.
BATCH = 500
_CLIENTS = 4


def encoded(events: Sequence[Event]) -> list[bytes]:
    """Each event as an application writes it."""
    return [json.dumps(event, ensure_ascii=False).encode() for event in events]


def send_all(laker: Laker, payloads: Sequence[bytes]) -> None:
    """Sends everything, several clients at once, in each form a body may have. All must be accepted."""
    batches = [payloads[start : start + BATCH] for start in range(0, len(payloads), BATCH)]
    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(lambda job: _send_batch(laker, *job), enumerate(batches)))


def _send_batch(laker: Laker, index: int, batch: Sequence[bytes]) -> None:
    form = index % 3
    body = b"[" + b",".join(batch) + b"]" if form == 0 else b"\n".join(batch)
    headers = {}
    if form == 2:
        body, headers = gzip.compress(body, 1), {"Content_Encoding": "gzip"}
    answer = laker.post(body, **headers)
    assert answer.status == 200, answer
    assert answer.json()["accepted"] == len(batch), answer


class Client:
    """One client with one connection, as `http.client` gives it: no retries behind our back."""

    def __init__(self, laker: Laker) -> None:
        host, port = str(laker.settings["listen"]).split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT_SECONDS)

    def post(self, body: bytes) -> Optional[int]:
        """The status, or None when the connection was refused or lost: whether it was taken is unknown then."""
        try:
            self._connection.request("POST", "/events", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            response.read()
            return response.status
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None


class Crowd:
    """Many clients that each send one event after another until they are refused."""

    def __init__(self, laker: Laker, clients: int) -> None:
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()
        self.statuses: set[Optional[int]] = set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._send, args=(laker, index), daemon=True) for index in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until every client has been refused."""
        for thread in self._threads:
            thread.join(LIMIT_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "a client waits for an answer for ever"

    def _send(self, laker: Laker, index: int) -> None:
        client = Client(laker)
        status: Optional[int] = 200
        for identity in _names(index):
            with self._lock:
                self.sent.add(identity)
            status = client.post(json.dumps({"_id": identity, "client": index}).encode())
            if status != 200:
                break
            with self._lock:
                self.acknowledged.add(identity)
        with self._lock:
            self.statuses.add(status)


def _names(client: int) -> Iterator[str]:
    number = 0
    while True:
        yield f"{client}-{number}"
        number += 1


class Flow:
    """A thread that hands slices of payloads to `produce`, one after another, until all are sent."""

    def __init__(self, payloads: Sequence[bytes], produce: Callable[[Sequence[bytes]], None], slices: int) -> None:
        self.sent = 0
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(payloads, produce, slices), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until everything is sent."""
        self._thread.join(5 * LIMIT_SECONDS)
        assert not self._thread.is_alive() and not self._failure, self._failure

    def _run(self, payloads: Sequence[bytes], produce: Callable[[Sequence[bytes]], None], slices: int) -> None:
        size = -(-len(payloads) // slices)
        try:
            for start in range(0, len(payloads), size):
                produce(payloads[start : start + size])
                self.sent = min(start + size, len(payloads))
        except BaseException as failure:
            self._failure.append(failure)
