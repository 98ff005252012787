"""The JSON suite of `tests/json`: its cases, and what its manifest says of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Optional, Union

FOLDER = Path(__file__).parents[2] / "json"
#: White space of JSON; no other.
BLANKS = b" \t\r\n"


@dataclass(frozen=True)
class Case:
    """One file, and what its manifest's line says."""

    file: str
    payload: bytes
    #: `row`, or the reason of the dead letter.
    record: str
    #: Verdicts on what stands between two lines.
    line: list[str]
    #: Verdicts on the whole body, or the code it is refused with.
    body: Union[str, list[str]]

    @property
    def kind(self) -> str:
        return self.file.split("/")[0]

    def lines(self) -> list[bytes]:
        """The events it is taken for between two lines, in order: as many as there are verdicts."""
        lines = [line.strip(BLANKS) for line in self.payload.split(b"\n")]
        return [line for line in lines if line]


@cache
def cases() -> tuple[Case, ...]:
    """All cases, in the manifest's order."""
    lines = (FOLDER / "manifest.jsonl").read_text().splitlines()
    return tuple(_case(json.loads(line)) for line in lines)


def _case(entry: dict[str, Any]) -> Case:
    payload = (FOLDER / entry["file"]).read_bytes()
    by_default = [entry["record"]]
    return Case(
        entry["file"], payload, entry["record"], entry.get("line", by_default), entry.get("body", by_default)
    )


def comparable(value: Any) -> str:
    """A JSON value as text, the same for equal values: keys in order, numbers by their value."""
    return json.dumps(_by_value(value), sort_keys=True)


def _by_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _by_value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_by_value(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def read_strictly(text: bytes) -> Optional[Any]:
    """The value by Python's own reader without its extensions, in a list of one; nothing when it is no JSON."""
    try:
        return [json.loads(text.decode(), parse_constant=_refuse)]
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
