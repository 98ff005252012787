"""A proxy that loses, cuts, refuses and repeats requests at random, the same for the same seed."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
from collections import Counter
from typing import Optional
from urllib.parse import urlsplit

from http_parts import Message, Server, json_answer, read_head, read_message

#: What can happen to a request, and how often of a hundred.
FAULTS = {
    "pass": 40,
    "lose the request": 10,
    "cut the request": 10,
    "lose the answer": 12,
    "cut the answer": 8,
    "429": 5,
    "500": 5,
    "503": 10,
}


class FaultyProxy(Server):
    """Stands between a client and a collector; `happened` counts what it did."""

    def __init__(self, target: str, seed: int) -> None:
        self.target = urlsplit(target)
        self.happened: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        super().__init__(_Handler)

    def draw(self) -> str:
        """The fault of the next request."""
        with self._lock:
            fault = self._random.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
            self.happened[fault] += 1
            return fault

    def forward(self, request: Message) -> Optional[Message]:
        """What the collector answers to the request."""
        with socket.create_connection((self.target.hostname, self.target.port or 80), timeout=60) as connection:
            headers = {**request.headers, "connection": "close"}
            connection.sendall(Message(request.first_line, headers, request.body).encode())
            with connection.makefile("rb") as stream:
                return read_message(stream)


class _Handler(socketserver.StreamRequestHandler):
    server: FaultyProxy

    def handle(self) -> None:
        while self._handle_one():
            pass

    def _handle_one(self) -> bool:
        fault = self.server.draw()
        if fault == "cut the request":
            if read_head(self.rfile) is None:
                self.server.happened[fault] -= 1
            return False
        request = read_message(self.rfile)
        if request is None:
            self.server.happened[fault] -= 1
            return False
        if fault == "lose the request":
            return False
        if fault.isdigit():
            return self._send(json_answer(int(fault), {"code": "fault", "message": fault}, retry_after="0").encode())
        answer = self.server.forward(request)
        if answer is None or fault == "lose the answer":
            return False
        if fault == "cut the answer":
            self._send(answer.encode()[:-3])
            return False
        return self._send(answer.encode())

    def _send(self, answer: bytes) -> bool:
        self.wfile.write(answer)
        return True
