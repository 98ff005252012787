"""What can happen to one request between a client and its server.

Each fault is given the request and a way to have the server apply it, and says what the client is told:
an answer, or nothing, which is a connection that is reset.
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Mapping, Optional, Protocol

from .http_messages import Answer, Request, s3_error


class Way(Protocol):
    """To the server, and what is remembered of it."""

    async def apply(self, request: Request) -> Answer:
        """Has the server apply the request."""

    def later(self, request: Request, gate: Gate) -> None:
        """Has the server apply the request once the gate is open, whoever waits for an answer by then."""

    def remembered(self, request: Request) -> Optional[Answer]:
        """What the same question was answered the last time."""


class Fault(Protocol):
    """One way for a request to go."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        """What the client is told; none is a reset connection."""


class Gate:
    """Something to wait for that any thread may open, once and for good."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def passed(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._opened))


@dataclass(frozen=True)
class Pass:
    """Nothing happens."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        return await way.apply(request)


@dataclass(frozen=True)
class DropBefore:
    """The request is lost: the server never sees it."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        return None


@dataclass(frozen=True)
class ApplyAndDrop:
    """The answer is lost: the server has applied the request."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        await way.apply(request)
        return None


@dataclass(frozen=True)
class Hold:
    """The request waits before the server sees it, and is answered as it should be."""

    gate: Gate

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        await self.gate.passed()
        return await way.apply(request)


@dataclass(frozen=True)
class ApplyLate:
    """The client is told of a failure at once; the server applies the request when the gate is open."""

    gate: Gate
    told: Optional[Answer] = None

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        way.later(request, self.gate)
        return self.told


@dataclass(frozen=True)
class Duplicate:
    """The request arrives twice, and the client is told of the first."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        answer = await way.apply(request)
        await way.apply(request)
        return answer


@dataclass(frozen=True)
class RetryBehindTheBack:
    """The request arrives twice, and the client is told of the second: what a client in between does that
    tries again by itself. A conditional create says that somebody else was faster."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        await way.apply(request)
        return await way.apply(request)


@dataclass(frozen=True)
class Refuse:
    """An error, and the server never saw the request."""

    status: int
    code: str

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        return s3_error(self.status, self.code)


@dataclass(frozen=True)
class ApplyAndRefuse:
    """An error, and yet the server has applied the request."""

    status: int
    code: str

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        await way.apply(request)
        return s3_error(self.status, self.code)


@dataclass(frozen=True)
class ClaimSuccess:
    """A create that was refused, for the key exists, is told that it won: a store whose conditions are not kept."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        answer = await way.apply(request)
        won = Answer(200, "OK", (("etag", '"0123456789abcdef0123456789abcdef"'),), b"")
        return won if answer.status == 412 else answer


@dataclass(frozen=True)
class CorruptUpload:
    """One bit of the body is another when it arrives."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        return await way.apply(request.with_body(flipped(request.body)))


@dataclass(frozen=True)
class CorruptDownload:
    """One bit of the answer's body is another when it arrives."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        answer = await way.apply(request)
        return replace(answer, body=flipped(answer.body))


@dataclass(frozen=True)
class CutDownload:
    """The connection breaks in the middle of the answer's body."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        answer = await way.apply(request)
        return replace(answer, cut_at=len(answer.body) // 2)


@dataclass(frozen=True)
class Slow:
    """The answer comes in small pieces with pauses between them."""

    piece_bytes: int = 256
    pause_seconds: float = 0.005

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        answer = await way.apply(request)
        return replace(answer, piece_bytes=self.piece_bytes, piece_pause_seconds=self.pause_seconds)


@dataclass(frozen=True)
class Stale:
    """The answer is the one of the last time, as if nothing had happened since; 404 the first time."""

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        remembered = way.remembered(request)
        await way.apply(request)
        return remembered or s3_error(404, "NoSuchKey")


@dataclass(frozen=True)
class OneOf:
    """One of several faults by chance, the same sequence for the same seed."""

    weights: Mapping[Fault, float]
    chance: random.Random
    drawn: list[str] = field(default_factory=list)

    async def meet(self, request: Request, way: Way) -> Optional[Answer]:
        (fault,) = self.chance.choices(list(self.weights), weights=list(self.weights.values()))
        self.drawn.append(type(fault).__name__)
        return await fault.meet(request, way)


def flipped(body: bytes) -> bytes:
    """The bytes with one bit in their middle another one."""
    if not body:
        return body
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
