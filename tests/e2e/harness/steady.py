"""Senders that go on through an outage: each event is sent once, and what was answered is written down."""

from __future__ import annotations

import http.client
import json
import threading
from collections import defaultdict
from typing import Iterable, Optional

from .laker import Laker
from .waiting import LIMIT_SECONDS

#: Pause after a refusal, shorter than `Retry-After` asks for so that a test is soon through.
_PAUSE_SECONDS = 0.02
#: Answers that a collector in trouble may give.
_REFUSAL = 503


class Steady:
    """Several clients, each sending one numbered event after another until told to stop.

    An event that was not acknowledged is not sent again: it may be in the log, once. So whatever is there twice
    was doubled by Laker.
    """

    def __init__(self, laker: Laker, clients: int, padding: int = 0) -> None:
        self.acknowledged: dict[int, list[int]] = defaultdict(list)
        self.refused = 0
        self.wrong: list[str] = []
        self.spooled = 0
        self._padding = "x" * padding
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(laker, client), daemon=True) for client in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def count(self) -> int:
        return sum(len(numbers) for numbers in self.acknowledged.values())

    def stop(self) -> None:
        """Until every client has its last answer."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(LIMIT_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "a client waits for an answer for ever"
        assert not self.wrong, self.wrong[:5]

    def check(self, payloads: Iterable[bytes], in_order: bool) -> None:
        """What was acknowledged is there, nothing is there twice, and, in one partition, nothing was overtaken."""
        self.check_places([(event["client"], event["number"]) for event in map(json.loads, payloads)], in_order)

    def check_places(self, found: list[tuple[int, int]], in_order: bool = False) -> None:
        place: dict[tuple[int, int], int] = {}
        for index, key in enumerate(found):
            assert key not in place, f"{key} is there twice"
            place[key] = index
        for client, numbers in self.acknowledged.items():
            lost = [number for number in numbers if (client, number) not in place]
            assert not lost, f"client {client}: {len(lost)} of {len(numbers)} are lost: {lost[:5]}"
            places = [place[client, number] for number in numbers]
            assert not in_order or places == sorted(places), f"client {client}: an event was overtaken"

    def _run(self, laker: Laker, client: int) -> None:
        connection = self._connect(laker)
        number = 0
        while not self._stopping.is_set():
            number += 1
            body = json.dumps({"client": client, "number": number, "padding": self._padding}).encode()
            status = self._post(connection, body)
            if status == 200:
                self.acknowledged[client].append(number)
                continue
            self._stopping.wait(_PAUSE_SECONDS)
            if status is None:
                connection = self._connect(laker)

    def _post(self, connection: http.client.HTTPConnection, body: bytes) -> Optional[int]:
        try:
            connection.request("POST", "/events", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        self._note(response, answer)
        return response.status

    def _note(self, response: http.client.HTTPResponse, answer: bytes) -> None:
        if response.status == 200:
            self.spooled += ".spool-" in json.loads(answer)["receipt"]
        elif response.status == _REFUSAL and response.getheader("Retry-After"):
            self.refused += 1
        else:
            self.wrong.append(f"{response.status} {response.headers} {answer!r}")

    @staticmethod
    def _connect(laker: Laker) -> http.client.HTTPConnection:
        host, port = str(laker.settings["listen"]).split(":")
        return http.client.HTTPConnection(host, int(port), timeout=LIMIT_SECONDS)
