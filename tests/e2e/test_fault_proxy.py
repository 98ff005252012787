"""The fault proxy itself: what each fault does to server and client. Needs no binary."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Iterator, Optional
from urllib.parse import urlsplit

import pyarrow.fs
import pytest

from harness.fault_proxy import FaultProxy, Rule
from harness.faults import (
    ApplyAndDrop,
    ApplyAndRefuse,
    ApplyLate,
    ClaimSuccess,
    CorruptDownload,
    CorruptUpload,
    CutDownload,
    DropBefore,
    Duplicate,
    Fault,
    Gate,
    Hold,
    Pass,
    Refuse,
    RetryBehindTheBack,
    Slow,
    Stale,
    flipped,
)
from harness.http_messages import s3_error
from harness.lakes import S3Server
from harness.waiting import wait_until

BODY = b"a body of some length"


class _Server(ThreadingHTTPServer):
    """Creates keys once (412 afterwards), and notes what it was asked to do."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stored: dict[str, bytes] = {}
        self.bodies: list[bytes] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(body)
        is_new = self.path not in self.server.stored
        self.server.stored.setdefault(self.path, body)
        self._say(200 if is_new else 412, b"")

    def do_GET(self) -> None:
        stored = self.server.stored.get(self.path)
        self._say(404 if stored is None else 200, stored or b"")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(server: _Server) -> Iterator[FaultProxy]:
    proxy = FaultProxy(f"http://127.0.0.1:{server.server_port}", keep_bodies=True)
    yield proxy
    proxy.stop()


def _ask(proxy: FaultProxy, method: str, body: Optional[bytes] = None, path: str = "/key") -> Optional[int]:
    status, _ = _ask_whole(proxy, method, body, path)
    return status


def _ask_whole(
    proxy: FaultProxy, method: str, body: Optional[bytes] = None, path: str = "/key"
) -> tuple[Optional[int], bytes]:
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=60)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    except (ConnectionError, http.client.HTTPException):
        return None, b""
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("fault", "told", "applied"),
    [
        (Pass(), 200, [BODY]),
        (DropBefore(), None, []),
        (ApplyAndDrop(), None, [BODY]),
        (Duplicate(), 200, [BODY, BODY]),
        (RetryBehindTheBack(), 412, [BODY, BODY]),
        (Refuse(503, "SlowDown"), 503, []),
        (ApplyAndRefuse(500, "InternalError"), 500, [BODY]),
        (CorruptUpload(), 200, [flipped(BODY)]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (int, list)) else None,
)
def test_what_client_and_server_see(
    proxy: FaultProxy, server: _Server, fault: Fault, told: Optional[int], applied: list[bytes]
) -> None:
    rule = proxy.on("^PUT /key$", fault)
    assert _ask(proxy, "PUT", BODY) == told
    assert server.bodies == applied
    assert rule.struck == 1
    assert _ask(proxy, "PUT", BODY, "/other") == 200, "what does not fit passes"
    assert _ask(proxy, "GET") == (200 if applied else 404), "and so does what comes after the last strike"


def test_a_request_is_applied_after_the_client_was_told_that_it_failed(proxy: FaultProxy, server: _Server) -> None:
    gate = Gate()
    proxy.on("PUT", ApplyLate(gate, s3_error(503, "SlowDown")))
    proxy.on("PUT", ApplyLate(gate))
    assert _ask(proxy, "PUT", BODY, "/told") == 503
    assert _ask(proxy, "PUT", BODY, "/reset") is None
    assert server.bodies == []
    gate.open()
    wait_until(lambda: sorted(server.stored) == ["/reset", "/told"], "both have arrived")


def test_a_request_is_held_until_the_gate_is_open(proxy: FaultProxy, server: _Server) -> None:
    gate = Gate()
    rule = proxy.on("PUT", Hold(gate))
    told: list[Optional[int]] = []
    client = threading.Thread(target=lambda: told.append(_ask(proxy, "PUT", BODY)))
    client.start()
    rule.wait_struck()
    assert server.bodies == [] and told == []
    gate.open()
    client.join()
    assert server.bodies == [BODY] and told == [200]


def test_answers_are_corrupted_cut_and_slow(proxy: FaultProxy, server: _Server) -> None:
    server.stored["/key"] = BODY
    for fault, expected in ((CorruptDownload(), flipped(BODY)), (CutDownload(), b""), (Slow(4, 0.001), BODY)):
        proxy.on("GET", fault)
        assert _ask_whole(proxy, "GET")[1] == expected, fault


def test_a_stale_answer_is_the_one_before(proxy: FaultProxy, server: _Server) -> None:
    assert _ask(proxy, "GET") == 404
    server.stored["/key"] = BODY
    proxy.on("GET", Stale())
    assert _ask(proxy, "GET") == 404
    assert _ask_whole(proxy, "GET") == (200, BODY)


def test_a_store_that_does_not_keep_conditions(proxy: FaultProxy) -> None:
    proxy.on("PUT", ClaimSuccess(), count=2)
    assert [_ask(proxy, "PUT", BODY) for _ in range(3)] == [200, 200, 412]


def test_actions_run_before_and_after_the_server_has_applied(proxy: FaultProxy, server: _Server) -> None:
    seen: list[int] = []
    note = lambda: seen.append(len(server.bodies))  # noqa: E731
    proxy.add(Rule("PUT", before=note, after=note, skip=1))
    for path in ("/one", "/two"):
        assert _ask(proxy, "PUT", BODY, path) == 200
    assert seen == [1, 2]


def test_the_trace_says_what_happened_and_requests_can_be_sent_again(proxy: FaultProxy, server: _Server) -> None:
    proxy.on("PUT", ApplyAndDrop())
    _ask(proxy, "PUT", BODY, "/a%3Db?x=y")
    (exchange,) = proxy.seen("^PUT /a=b[?]x=y$")
    assert (exchange.fault, exchange.applied, exchange.told) == ("ApplyAndDrop", [200], None)
    assert proxy.send_again(exchange.request) == 412
    assert "ApplyAndDrop" in proxy.trace_end() and "/a=b?x=y" in proxy.trace_end()


def test_signatures_hold_on_the_way_and_break_with_a_flipped_bit(s3_server: S3Server, name: str) -> None:
    proxy = FaultProxy(s3_server.endpoint)
    try:
        through = S3Server(**{**vars(s3_server), "endpoint": proxy.url}).file_system()
        path = f"{s3_server.bucket}/{name}/object"
        with through.open_output_stream(path) as stream:
            stream.write(BODY)
        with s3_server.file_system().open_input_stream(path) as stream:
            assert stream.read() == BODY
        assert through.get_file_info(path).type == pyarrow.fs.FileType.File
    finally:
        proxy.stop()
