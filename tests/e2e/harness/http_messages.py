"""Requests and answers of HTTP/1.1 as bytes, so that what is passed on is what came: signatures hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Optional
from urllib.parse import unquote

Headers = tuple[tuple[str, str], ...]
#: Headers that say how this connection goes on. Nobody signs them, and each connection has its own.
_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect"}
#: Longest head of a message.
HEAD_BYTES_MAX = 256 * 1024


@dataclass(frozen=True)
class Request:
    """One request, its body whole."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def place(self) -> str:
        """Path and query as a person reads them."""
        return unquote(self.target)

    def header(self, name: str) -> Optional[str]:
        return _header(self.headers, name)

    def with_body(self, body: bytes) -> Request:
        """The same with another body of the same length, and so with a signature that does not fit any more."""
        return replace(self, body=body)

    def encode(self) -> bytes:
        """For a connection of its own that ends after the answer."""
        kept = [(name, value) for name, value in self.headers if name.lower() not in _OF_THE_CONNECTION]
        if self.body and self.header("content-length") is None:
            kept.append(("content-length", str(len(self.body))))
        return _head(f"{self.method} {self.target} HTTP/1.1", [*kept, ("connection", "close")]) + self.body


@dataclass(frozen=True)
class Answer:
    """One answer, its body whole."""

    status: int
    reason: str
    headers: Headers
    body: bytes
    #: Bytes of the body that are sent before the connection breaks; all of them if none.
    cut_at: Optional[int] = None
    #: Bytes that are sent at once, and the pause after them; all at once if none.
    piece_bytes: Optional[int] = None
    piece_pause_seconds: float = 0.0

    def header(self, name: str) -> Optional[str]:
        return _header(self.headers, name)

    def head(self, method: str) -> bytes:
        """For a connection that goes on. An answer to HEAD tells the length of a body it does not have."""
        kept = [(name, value) for name, value in self.headers if name.lower() not in _OF_THE_CONNECTION]
        if method != "HEAD" and self.status not in (204, 304):
            kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
            kept.append(("content-length", str(len(self.body))))
        return _head(f"HTTP/1.1 {self.status} {self.reason}", kept)


def s3_error(status: int, code: str) -> Answer:
    """An error as S3 words it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>a fault of the test</Message></Error>'
    return Answer(status, code, (("content-type", "application/xml"),), body.encode())


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Optional[Request]:
    """The next request of a connection, or none when it has ended."""
    head = await _read_head(reader)
    if head is None:
        return None
    first, headers = head
    method, target, _ = first.split(" ", 2)
    if (_header(headers, "expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    if (_header(headers, "transfer-encoding") or "").lower() == "chunked":
        return Request(method, target, headers, await _read_chunks(reader))
    return Request(method, target, headers, await reader.readexactly(int(_header(headers, "content-length") or 0)))


async def read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """The answer on a connection that ends after it."""
    while True:
        head = await _read_head(reader)
        if head is None:
            raise ConnectionError("the server ended the connection without an answer")
        first, headers = head
        _, status, reason = (first + " ").split(" ", 2)
        if status != "100":
            break
    return Answer(int(status), reason.strip(), headers, await _read_body(reader, method, int(status), headers))


async def _read_body(reader: asyncio.StreamReader, method: str, status: int, headers: Headers) -> bytes:
    if method == "HEAD" or status in (204, 304):
        return b""
    if (_header(headers, "transfer-encoding") or "").lower() == "chunked":
        return await _read_chunks(reader)
    length = _header(headers, "content-length")
    return await (reader.read() if length is None else reader.readexactly(int(length)))


async def _read_head(reader: asyncio.StreamReader) -> Optional[tuple[str, Headers]]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        if ended.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    pairs = (line.split(":", 1) for line in lines)
    return first, tuple((name, value.strip()) for name, value in pairs)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b"".join(chunks)
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)


def _header(headers: Headers, name: str) -> Optional[str]:
    return next((value for one, value in headers if one.lower() == name), None)


def _head(first: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
