"""From what `log_event` is given to one line of JSON, made in the caller's thread.

So the event is what the values were at the call, whatever the application does to them later.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import math
import os
import time
from collections import deque
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

#: Deeper is no event to the collector; it also ends the walk through an object that contains itself.
DEPTH_MAX = 128

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ASCII_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


class Line(NamedTuple):
    """One event as JSON without a line feed; `altered` if a value had no JSON form and was replaced."""

    json: bytes
    altered: bool


def event_line(user_id: object, device: object, action: object, fields: Mapping[str, Any]) -> Line:
    """The event with the time of now and an id of its own, unless `fields` bring them.

    Raises whatever the fields' own methods raise, `ValueError` if an object contains itself.
    """
    event = {
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "_id": uuid7(),
        "user_id": user_id,
        "device": device,
        "action": action,
        **fields,
    }
    try:
        return Line(_encode(event), altered=False)
    except (TypeError, ValueError, RecursionError):
        # Something is no plain JSON. Most events never come here, so they need no walk.
        converter = _Converter()
        plain = converter.plain(event, 0)
        return Line(_encode(plain), converter.altered)


def uuid7() -> str:
    """A UUIDv7 (RFC 9562, 5.7): sorted by time, unique without coordination, also across a fork."""
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (random_bits & 0xFFF) << 64
    value |= 0b10 << 62 | random_bits >> 18
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _encode(event: Any) -> bytes:
    try:
        return _ENCODER.encode(event).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; as \udXXX it stays what it was.
        return _ASCII_ENCODER.encode(event).encode()


class _Converter:
    """Turns values into what JSON has; notes when that loses something."""

    def __init__(self) -> None:
        self.altered = False

    def plain(self, value: Any, depth: int) -> Any:
        """The value as None, bool, int, float, str, list or dict."""
        if depth > DEPTH_MAX:
            raise ValueError(f"is nested deeper than {DEPTH_MAX} levels, or contains itself")
        if isinstance(value, enum.Enum):
            return self.plain(value.value, depth + 1)
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return self._number(value)
        if isinstance(value, Mapping):
            return {_key(key): self.plain(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, (list, tuple, set, frozenset, deque)):
            return [self.plain(inner, depth + 1) for inner in value]
        return self._scalar(value, depth)

    def _number(self, value: float) -> Any:
        """NaN and the infinities become null: as text they would make a column of numbers one of strings."""
        if math.isfinite(value):
            return value
        self.altered = True
        return None

    def _scalar(self, value: Any, depth: int) -> Any:
        if isinstance(value, (date, time_of_day)):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, Decimal):
            return self._decimal(value)
        if isinstance(value, (UUID, PurePath)):
            return str(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return base64.b64encode(value).decode()
        return self._object(value, depth)

    def _decimal(self, value: Decimal) -> Any:
        """A number if a double holds all its digits, else text, which keeps them."""
        if not value.is_finite():
            return self._number(float("nan"))
        number = float(value)
        return number if math.isfinite(number) and Decimal(repr(number)) == value else str(value)

    def _object(self, value: Any, depth: int) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return {field.name: self.plain(getattr(value, field.name), depth + 1) for field in fields}
        # pydantic's models; NumPy's arrays and scalars.
        for method in ("model_dump", "tolist"):
            if not isinstance(value, type) and callable(getattr(value, method, None)):
                return self.plain(getattr(value, method)(), depth + 1)
        self.altered = True
        return str(value)


def _key(key: Any) -> Any:
    """What JSON takes as a name stays; `json` itself writes numbers, booleans and null as text."""
    if isinstance(key, enum.Enum):
        return str(key.value)
    return key if key is None or isinstance(key, (str, int)) else str(key)
