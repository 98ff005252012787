"""As much HTTP/1.1 as a collector and a faulty proxy of the tests need, on plain sockets."""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import threading
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any, Dict, List, Optional, Type


@dataclass(frozen=True)
class Message:
    """A request or an answer as it came."""

    first_line: str
    headers: Dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Of a request."""
        return self.first_line.split()[1]

    @property
    def plain_body(self) -> bytes:
        """The body without its gzip."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    @property
    def events(self) -> List[Dict[str, Any]]:
        """The body as NDJSON."""
        return [json.loads(line) for line in self.plain_body.splitlines()]

    def encode(self) -> bytes:
        """The message as it goes over the wire."""
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


def read_head(stream: BufferedIOBase) -> Optional[Message]:
    """The first line and the headers; None at the end of the connection."""
    first_line = stream.readline().decode("latin-1").strip()
    if not first_line:
        return None
    headers = {}
    for line in iter(lambda: stream.readline().decode("latin-1").strip(), ""):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Message(first_line, headers, b"")


def read_message(stream: BufferedIOBase) -> Optional[Message]:
    """A whole message with a `Content-Length`; None at the end of the connection."""
    head = read_head(stream)
    if head is None:
        return None
    length = int(head.headers.get("content-length", 0))
    body = stream.read(length)
    return Message(head.first_line, head.headers, body) if len(body) == length else None


def json_answer(status: int, body: object, **headers: str) -> Message:
    """An answer with JSON."""
    encoded = json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(encoded))}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    return Message(f"HTTP/1.1 {status} -", fields, encoded)


class Server(socketserver.ThreadingTCPServer):
    """A TCP server, one thread per connection, that can close what is open."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, handler: Type[socketserver.BaseRequestHandler], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self._open: List[socket.socket] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the server."""

    def close_connections(self) -> None:
        """Cuts what is open."""
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self) -> None:
        """Stops listening and cuts what is open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        self.close_connections()
