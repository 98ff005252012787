"""The real parts of the tests: the service and its load as processes, and what the environment names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1]
SDK = EXAMPLE.parents[1] / "sdk" / "python" / "src"
#: Seconds until a test that waits for something fails.
PATIENCE = 60.0


class Service:
    """`uvicorn tickets.app:app` on a free port."""

    def __init__(self, folder: Path, **environment: str) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log_path = folder / "uvicorn.log"
        command = [sys.executable, "-m", "uvicorn", "tickets.app:app", "--port", str(port), "--no-access-log"]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=EXAMPLE, env=process_environment(**environment), stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        """What it printed."""
        return self._log_path.read_text()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, f"the service ended: {self.log}"
            assert time.monotonic() < deadline, f"the service is not ready: {self.log}"
            try:
                with urllib.request.urlopen(f"{self.url}/openapi.json", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)

    def begin_to_stop(self) -> None:
        """Asks it to end as an orchestrator does, by SIGTERM, and waits until it has begun to."""
        self._process.terminate()
        deadline = time.monotonic() + PATIENCE
        while "Waiting for application shutdown" not in self.log:
            assert time.monotonic() < deadline, f"the service does not end: {self.log}"
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(PATIENCE)


def process_environment(**more: str) -> dict[str, str]:
    """The environment of a process that uses the example and the SDK of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAKER_")}
    return {**kept, "PYTHONPATH": f"{EXAMPLE}{os.pathsep}{SDK}", "PYTHONDONTWRITEBYTECODE": "1", **more}


def play(service: Service, *options: str) -> str:
    """Runs load.py against the service; returns what it printed."""
    command = [sys.executable, "load.py", "--url", service.url, *options]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=process_environment(), capture_output=True, text=True, timeout=PATIENCE * 2
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def counts(printed: str) -> dict[str, int]:
    """The actions in the summary of load.py."""
    return {name: int(count) for name, count in re.findall(r"^  (\w+) +(\d+)$", printed, re.MULTILINE)}


def needed(variable: str) -> str:
    """The variable of the environment that names a real part; without it the test is skipped, in CI it fails."""
    value = os.environ.get(variable)
    if value:
        return value
    if os.environ.get("CI"):
        pytest.fail(f"{variable} is not set")
    print(f"skipped: {variable} is not set", file=sys.stderr)
    pytest.skip(f"{variable} is not set")
