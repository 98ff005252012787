"""The real binary: started, asked, stopped, killed, and its log read."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

from .waiting import LIMIT_SECONDS, wait_until

Settings = dict[str, Any]
_ERROR_LINE = re.compile(r"\bERROR\b")
_PANIC_LINE = re.compile(r"panicked at|stack backtrace")


@dataclass(frozen=True)
class Answer:
    """What the server said to one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Laker:
    """Laker in a folder of its own, with a `laker.toml` there and nothing of Laker in its environment.

    `settings` is the content of `laker.toml`; `environment` comes on top of ours.
    """

    def __init__(self, binary: Path, folder: Path, settings: Settings, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.binary = binary
        self.folder = folder
        self.settings = {"listen": f"127.0.0.1:{free_port()}", **settings}
        self.environment = clean_environment() | environment
        self.processes: list[Process] = []
        self.write_settings()

    @property
    def url(self) -> str:
        return f"http://{self.settings['listen']}"

    def write_settings(self) -> None:
        """Writes `laker.toml` anew; a running process does not look at it again."""
        (self.folder / "laker.toml").write_text(to_toml(self.settings))

    def forget_the_dead_soon(self) -> None:
        """Has Kafka take a member's partitions away after 6 s without a sign of life, not after 45."""
        self.settings["kafka"] = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000}
        self.write_settings()

    def start(self, *arguments: str) -> Process:
        """A process that runs until it is told to stop."""
        process = Process(self, arguments, self.folder / f"laker-{len(self.processes)}.log")
        self.processes.append(process)
        return process

    def up(self) -> Process:
        """`laker up`, ready to take events."""
        process = self.start("up")
        process.wait_ready()
        return process

    def run(
        self, *arguments: str, input: Optional[bytes] = None, limit_seconds: float = LIMIT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself. It must: not ending within the limit is a failure."""
        done = subprocess.run(
            [str(self.binary), *arguments],
            cwd=self.folder,
            env=self.environment,
            input=b"" if input is None else input,
            capture_output=True,
            timeout=limit_seconds,
        )
        stdout, stderr = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        assert not _PANIC_LINE.search(stderr), f"`laker {' '.join(arguments)}` panicked:\n{stderr}"
        return subprocess.CompletedProcess(done.args, done.returncode, stdout, stderr)

    def load_the_rest(self) -> None:
        """`laker load --until-caught-up`: what is in the log is in the table afterwards."""
        done = self.run("load", "--until-caught-up", limit_seconds=5 * LIMIT_SECONDS)
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"

    def ask(
        self, method: str, path: str, body: Optional[bytes] = None, headers: Optional[dict[str, str]] = None
    ) -> Answer:
        """One HTTP request; any status is an answer."""
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as response:
                return Answer(response.status, _lower(response.headers.items()), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers.items()), error.read())

    def post(self, body: bytes, path: str = "/events", **headers: str) -> Answer:
        """`POST /events`; header names have `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, {"Content-Type": "application/json", **named})

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """`POST /sql`; the rows."""
        answer = self.ask("POST", "/sql", statement.encode(), {"Content-Type": "text/plain"})
        assert answer.status == 200, f"{answer.status} {answer.body!r} for {statement}"
        rows = answer.json()
        assert isinstance(rows, list), rows
        return rows

    def complaints(self, allowed: Iterable[str] = ()) -> list[str]:
        """ERROR lines and panics in the logs of all processes that no pattern in `allowed` matches."""
        patterns = [re.compile(pattern) for pattern in allowed]
        lines = [line for process in self.processes for line in process.log().splitlines()]
        found = [line for line in lines if _ERROR_LINE.search(line) or _PANIC_LINE.search(line)]
        return [line for line in found if not any(pattern.search(line) for pattern in patterns)]

    def end(self) -> None:
        """Ends what is still running, whatever a test left."""
        for process in self.processes:
            process.kill()


class Process:
    """One run of the binary."""

    def __init__(self, laker: Laker, arguments: Sequence[str], log_file: Path) -> None:
        self.laker = laker
        self.log_file = log_file
        with log_file.open("wb") as output:
            self.child = subprocess.Popen(
                [str(laker.binary), *arguments],
                cwd=laker.folder,
                env=laker.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        """Until `/readyz` says 200."""
        wait_until(self._is_ready, "laker is ready")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self.child.kill()
        self.child.wait()

    def wait(self) -> int:
        """The exit code, once it ends."""
        try:
            return self.child.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"laker did not end; its log ends with\n{self.log_end()}") from None

    def log(self) -> str:
        """All it said."""
        return self.log_file.read_text(errors="replace")

    def log_end(self) -> str:
        """The last lines it said."""
        return "\n".join(self.log().splitlines()[-30:])

    def _is_ready(self) -> bool:
        code = self.child.poll()
        assert code is None, f"laker ended with {code}:\n{self.log_end()}"
        try:
            return self.laker.ask("GET", "/readyz").status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """Ours, without anything that could set Laker or an S3 client."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LAKER_", "AWS_"))}


def to_toml(settings: Settings, section: str = "") -> str:
    """Nested settings as TOML. Strings, numbers, booleans and lists only: JSON writes them alike."""
    plain = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    lines = [f"{_key(name)} = {json.dumps(value)}" for name, value in plain.items()]
    text = "\n".join(([f"[{section}]"] if section and plain else []) + lines) + "\n"
    for name, value in settings.items():
        if isinstance(value, dict):
            text += "\n" + to_toml(value, f"{section}.{_key(name)}" if section else _key(name))
    return text


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _lower(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}
