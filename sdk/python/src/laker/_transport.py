"""One kept-alive HTTP connection to the collector, used by the sender's thread only."""

from __future__ import annotations

import codecs
import gzip
import http.client
from typing import Optional, Sequence
from urllib.parse import urlsplit

from laker._answer import Answer
from laker._settings import Settings
from laker._version import __version__

# `socket.getaddrinfo` loads this codec at its first call. In our thread that would be an import, and
# a process forked in the midst of it could never resolve a host again: its copy of the import's
# lock is held by a thread that it does not have.
codecs.lookup("idna")

_ANSWER_BYTES_MAX = 8 * 1024 * 1024
# Fast: the body is small, and the thread shares its core with the application.
_GZIP_LEVEL = 1


class Transport:
    """Posts batches to the collector."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = urlsplit(settings.url)
        route = "/events" if settings.stream is None else f"/events/{settings.stream}"
        self._path = self._url.path.rstrip("/") + route
        self._connection: Optional[http.client.HTTPConnection] = None

    def post(self, events: Sequence[bytes]) -> Answer:
        """Sends the events as NDJSON and reads the answer.

        Raises `OSError` or `http.client.HTTPException` if there is no whole answer; the next call connects anew.
        """
        try:
            return self._post(events)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, events: Sequence[bytes]) -> Answer:
        body = b"\n".join(events) + b"\n"
        headers = {
            "Content-Type": "application/x-ndjson",
            "Accept": "application/json",
            "User-Agent": f"laker-python/{__version__}",
            **self._settings.headers,
        }
        if len(body) >= self._settings.gzip_bytes_min:
            body = gzip.compress(body, _GZIP_LEVEL)
            headers["Content-Encoding"] = "gzip"
        connection = self._connected()
        try:
            connection.request("POST", self._path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # A collector may answer and close before it has read a body that is too large;
            # if it has not answered either, the next line raises.
            pass
        return self._read(connection)

    def _read(self, connection: http.client.HTTPConnection) -> Answer:
        response = connection.getresponse()
        body = response.read(_ANSWER_BYTES_MAX)
        if response.length and len(body) < _ANSWER_BYTES_MAX:
            # `read` with a limit says nothing of a connection that ended early,
            # and half an answer would hide the rejected events in its other half.
            raise http.client.IncompleteRead(body, response.length)
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, headers, body)

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = self._open()
            connection.connect()
            # The time-out of connecting is over; from here on it is that of each read and write.
            connection.sock.settimeout(self._settings.request_timeout_seconds)
            self._connection = connection
        return self._connection

    def _open(self) -> http.client.HTTPConnection:
        # _check_url has seen to it that there is one.
        host = self._url.hostname or ""
        timeout = self._settings.connect_timeout_seconds
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, self._url.port, timeout=timeout)
        return http.client.HTTPConnection(host, self._url.port, timeout=timeout)
