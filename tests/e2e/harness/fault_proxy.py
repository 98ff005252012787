"""A proxy in front of an S3 server, or any HTTP server, where chosen requests meet faults and set off actions.

It is the machine for failpoints too: every step of Laker that can be seen from outside is a request, so
"SIGKILL before the commit" is a rule here and not a line in the program that is tested.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Callable, Optional
from urllib.parse import urlsplit

from .faults import Fault, Gate, OneOf, Pass
from .http_messages import HEAD_BYTES_MAX, Answer, Request, read_answer, read_request
from .waiting import wait_until

Action = Callable[[], object]
#: Exchanges that are kept for whoever asks afterwards.
TRACE_MAX = 20_000
#: Actions that may run at the same time; each holds one request.
ACTIONS_MAX = 32


@dataclass
class Rule:
    """What happens to requests that fit. Of all rules the first one that fits and is not used up counts."""

    #: Regular expression found somewhere in "METHOD /path?query", in the words a person reads.
    pattern: str
    fault: Fault = field(default_factory=Pass)
    #: Requests that fit and are let through before the first that is struck.
    skip: int = 0
    #: Requests that are struck; all that fit if none.
    count: Optional[int] = None
    #: Runs before the server sees the request, which waits for it.
    before: Optional[Action] = None
    #: Runs once the server has applied the request, before the client is told.
    after: Optional[Action] = None
    #: Requests that were struck so far.
    struck: int = 0
    #: How often of 1 a request that fits is struck, and whose chance that is.
    probability: float = 1.0
    chance: Optional[random.Random] = None

    def wait_struck(self, times: int = 1) -> None:
        """Until this many requests were struck."""
        wait_until(lambda: self.struck >= times, f"{times} requests fit {self.pattern!r}")

    def strikes(self, request: Request) -> bool:
        if self.count is not None and self.struck >= self.count:
            return False
        if not re.search(self.pattern, f"{request.method} {request.place}"):
            return False
        if self.chance is not None and self.chance.random() >= self.probability:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.struck += 1
        return True


@dataclass
class Exchange:
    """One request, what happened to it, and what the server and the client heard."""

    number: int
    request: Request
    body_bytes: int
    fault: str = "Pass"
    #: What the server answered, each time it was asked.
    applied: list[int] = field(default_factory=list)
    #: What the client was told; none is a reset connection, or that it is still waiting.
    told: Optional[int] = None

    def __str__(self) -> str:
        applied = ",".join(map(str, self.applied)) or "-"
        happened = f"{self.number:6} {self.fault:18} server {applied:8} client {self.told or '-':<4}"
        return f"{happened} {self.request.method} {self.request.place} [{self.body_bytes}]"


class FaultProxy:
    """Listens on a port of its own until it is stopped.

    With `keep_bodies` the trace holds requests whole, so that they can be sent again.
    """

    def __init__(self, target: str, keep_bodies: bool = False) -> None:
        self.target = urlsplit(target)
        self.keep_bodies = keep_bodies
        self.rules: list[Rule] = []
        self.trace: deque[Exchange] = deque(maxlen=TRACE_MAX)
        self._count = 0
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], Answer] = {}
        self._failures: list[Exception] = []
        self._actions = ThreadPoolExecutor(ACTIONS_MAX)
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    @property
    def url(self) -> str:
        """Where clients find it."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    def add(self, rule: Rule, first: bool = False) -> Rule:
        """From now on; behind the rules that are there, or before them."""
        with self._lock:
            self.rules.insert(0 if first else len(self.rules), rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """As if it had never been added."""
        with self._lock:
            self.rules.remove(rule)

    def on(self, pattern: str, fault: Fault, count: Optional[int] = 1) -> Rule:
        """The rule that the next `count` requests that fit meet `fault`."""
        return self.add(Rule(pattern, fault, count=count))

    def clear(self) -> None:
        """Everything passes again."""
        with self._lock:
            self.rules.clear()

    def seen(self, pattern: str) -> list[Exchange]:
        """Exchanges so far whose request fits."""
        with self._lock:
            exchanges = list(self.trace)
        return [one for one in exchanges if re.search(pattern, f"{one.request.method} {one.request.place}")]

    def send_again(self, request: Request) -> int:
        """Has the server apply a request once more, and says what it answered."""
        answer = asyncio.run_coroutine_threadsafe(self._forward(request), self._loop).result()
        return answer.status

    def stop(self) -> None:
        """Ends all connections. An action that failed is a failure of the test."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._actions.shutdown(wait=False)
        assert not self._failures, self._failures

    def trace_end(self, lines: int = 200) -> str:
        """The last exchanges, one a line."""
        with self._lock:
            return "\n".join(map(str, list(self.trace)[-lines:]))

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await read_request(reader, writer)) is not None:
                if not await self._handle(request, writer):
                    _reset(writer)
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # Whoever was on the other side is gone, or this proxy ends.
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        exchange, rule = self._begin(request)
        way = _Way(self, exchange)
        if rule and rule.before:
            await self._act(rule.before)
        try:
            answer = await (rule.fault if rule else Pass()).meet(request, way)
        except (OSError, asyncio.IncompleteReadError):
            answer = None  # The server is gone; so is the connection, for the client.
        if rule and isinstance(rule.fault, OneOf):
            exchange.fault = rule.fault.drawn[-1]
        if rule and rule.after:
            await self._act(rule.after)
        if answer is None:
            return False
        exchange.told = answer.status
        return await _send(answer, request.method, writer)

    async def _act(self, action: Action) -> None:
        try:
            await self._loop.run_in_executor(self._actions, action)
        except Exception as failure:
            self._failures.append(failure)

    def _begin(self, request: Request) -> tuple[Exchange, Optional[Rule]]:
        kept = request if self.keep_bodies else replace(request, body=b"")
        with self._lock:
            rule = next((rule for rule in self.rules if rule.strikes(request)), None)
            self._count += 1
            fault = type(rule.fault).__name__ if rule else "Pass"
            exchange = Exchange(self._count, kept, len(request.body), fault)
            self.trace.append(exchange)
        return exchange, rule

    async def _forward(self, request: Request) -> Answer:
        reader, writer = await asyncio.open_connection(self.target.hostname, self.target.port, limit=HEAD_BYTES_MAX)
        try:
            writer.write(request.encode())
            await writer.drain()
            return await read_answer(reader, request.method)
        finally:
            writer.close()


class _Way:
    """One exchange's way to the server."""

    def __init__(self, proxy: FaultProxy, exchange: Exchange) -> None:
        self._proxy = proxy
        self._exchange = exchange

    async def apply(self, request: Request) -> Answer:
        answer = await self._proxy._forward(request)
        self._exchange.applied.append(answer.status)
        if request.method in ("GET", "HEAD"):
            self._proxy._last[request.method, request.target] = answer
        return answer

    def later(self, request: Request, gate: Gate) -> None:
        async def apply() -> None:
            await gate.passed()
            await self.apply(request)

        task: asyncio.Task[object] = self._proxy._loop.create_task(apply())
        self._proxy._tasks.add(task)
        task.add_done_callback(self._proxy._tasks.discard)

    def remembered(self, request: Request) -> Optional[Answer]:
        return self._proxy._last.get((request.method, request.target))


async def _send(answer: Answer, method: str, writer: asyncio.StreamWriter) -> bool:
    """Whether all of it was sent, so that the connection goes on."""
    body = answer.body if answer.cut_at is None else answer.body[: answer.cut_at]
    size = answer.piece_bytes or max(len(body), 1)
    writer.write(answer.head(method))
    for start in range(0, len(body), size):
        writer.write(body[start : start + size])
        await writer.drain()
        if answer.piece_bytes:
            await asyncio.sleep(answer.piece_pause_seconds)
    await writer.drain()
    return answer.cut_at is None


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a machine that is gone does, not as one that has finished."""
    connection: Optional[socket.socket] = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
