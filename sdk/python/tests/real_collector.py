"""A real `laker up` in a folder of its own, for tests that have the binary."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List

PATIENCE = 60.0


class RealCollector:
    """`laker up` on a free port."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._log_path = folder / "laker.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKER_")}
        environment["LAKER_LISTEN"] = self.url[len("http://") :]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen([binary, "up"], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._ready():
            assert self._process.poll() is None, f"laker up ended: {self._log_path.read_text()}"
            assert time.monotonic() < deadline, f"laker up is not ready: {self._log_path.read_text()}"
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def query(self, sql: str) -> List[Dict[str, Any]]:
        """The rows of an SQL statement."""
        request = urllib.request.Request(
            f"{self.url}/sql", sql.encode(), {"Accept": "application/x-ndjson", "Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return [json.loads(line) for line in response.read().splitlines() if line]

    def stop(self) -> None:
        """Lets it drain and end."""
        self._process.terminate()
        self._process.wait(PATIENCE)


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert isinstance(port, int)
        return port
