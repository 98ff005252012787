"""A collector for the tests: answers as its script says, and with 200 when the script is over."""

from __future__ import annotations

import socketserver
import threading
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional

from http_parts import Message, Server, json_answer, read_head, read_message

#: Seconds until a test that waits for something fails.
PATIENCE = 30.0

#: Handles one request on the connection; returns whether the connection goes on.
Step = Callable[["Collector", "_Handler", Message], bool]


class Collector(Server):
    """Keeps what it acknowledged in `stored` and every request in `requests`."""

    def __init__(self, port: int = 0) -> None:
        self.requests: List[Message] = []
        self.stored: List[Dict[str, Any]] = []
        self.script: Deque[Step] = deque()
        self.released = threading.Event()
        self.connections = 0
        self._changed = threading.Condition()
        super().__init__(_Handler, port)

    @property
    def ids(self) -> List[str]:
        """The ids of all stored events, in the order of their coming."""
        return [event["_id"] for event in self.stored]

    def answers(self, *steps: Step) -> None:
        """Adds to the script: one step per request."""
        self.script.extend(steps)

    def wait_for_requests(self, count: int) -> None:
        """Waits until so many requests have come, whatever became of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE), "the requests did not come"

    def note(self, request: Message) -> None:
        """Records a request."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def store(self, events: List[Dict[str, Any]]) -> None:
        """Takes events, as a collector does just before it answers 200."""
        with self._changed:
            self.stored.extend(events)

    def stop(self) -> None:
        self.released.set()
        super().stop()


class _Handler(socketserver.StreamRequestHandler):
    server: Collector

    def handle(self) -> None:
        self.server.connections += 1
        while self._handle_one():
            pass

    def _handle_one(self) -> bool:
        if self.server.script and self.server.script[0] is refuse_unread:
            self.server.script.popleft()
            return self._refuse_unread()
        request = read_message(self.rfile)
        if request is None:
            return False
        step = self.server.script.popleft() if self.server.script else accept
        self.server.note(request)
        return step(self.server, self, request)

    def _refuse_unread(self) -> bool:
        head = read_head(self.rfile)
        if head is not None:
            self.server.note(head)
            self.send(json_answer(413, {"code": "too_large", "message": "too large"}, connection="close"))
        return False

    def send(self, answer: Message) -> None:
        """Sends an answer."""
        self.wfile.write(answer.encode())
        self.wfile.flush()


def accept(collector: Collector, handler: _Handler, request: Message) -> bool:
    """200 for all events."""
    collector.store(request.events)
    handler.send(json_answer(200, {"accepted": len(request.events), "rejected": [], "receipt": "r"}))
    return True


def answer(status: int, body: Optional[object] = None, **headers: str) -> Step:
    """This answer, and nothing stored."""

    def step(collector: Collector, handler: _Handler, request: Message) -> bool:
        handler.send(json_answer(status, body if body is not None else {"code": "c", "message": "m"}, **headers))
        return True

    return step


def reject(*indices: int, status: int = 200, others_stored: bool = True) -> Step:
    """A verdict per event."""

    def step(collector: Collector, handler: _Handler, request: Message) -> bool:
        rejected = [{"index": index, "code": "too_deep", "message": "nested too deep"} for index in indices]
        others = [event for index, event in enumerate(request.events) if index not in indices]
        if others_stored:
            collector.store(others)
        accepted = len(others) if others_stored else 0
        handler.send(json_answer(status, {"accepted": accepted, "rejected": rejected}))
        return True

    return step


def drop(collector: Collector, handler: _Handler, request: Message) -> bool:
    """Closes without an answer; nothing stored."""
    return False


def store_and_drop(collector: Collector, handler: _Handler, request: Message) -> bool:
    """Stores, and closes before the answer."""
    collector.store(request.events)
    return False


def half_answer(collector: Collector, handler: _Handler, request: Message) -> bool:
    """Stores, and closes in the middle of the answer's body."""
    collector.store(request.events)
    whole = json_answer(200, {"accepted": len(request.events), "rejected": []}).encode()
    handler.wfile.write(whole[:-5])
    return False


def hold(collector: Collector, handler: _Handler, request: Message) -> bool:
    """Answers nothing until the collector is released, then 200."""
    collector.released.wait()
    return accept(collector, handler, request)


def refuse_unread(collector: Collector, handler: _Handler, request: Message) -> bool:
    """413 and the end of the connection before the body was read."""
    raise AssertionError("handled before the body is read")
