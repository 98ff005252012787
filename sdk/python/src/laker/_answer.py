"""What an answer of the collector means for the events of its request. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, FrozenSet, Mapping, Optional, Union

#: Overloaded, or not there for a moment.
_PASSING = {408, 425, 429}
#: What a person can mend while the events wait: a key, a right, the name of the stream, the URL.
_SETTINGS = {401, 402, 403, 404, 407, 421}


@dataclass(frozen=True)
class Answer:
    """What the collector answered. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Taken:
    """The collector has all events but the rejected ones, which are of no use again."""

    rejected: FrozenSet[int]
    reason: str = ""


@dataclass(frozen=True)
class Rejected:
    """The rejected events are of no use again; the others were not stored and go again without them."""

    rejected: FrozenSet[int]
    reason: str


@dataclass(frozen=True)
class TooLarge:
    """The request had too many bytes or events."""

    reason: str


@dataclass(frozen=True)
class Later:
    """No acknowledgement: send the same again, not before `after_seconds` if the collector asks for that."""

    reason: str
    after_seconds: Optional[float] = None
    #: Whether waiting alone will not help.
    settings: bool = False


Verdict = Union[Taken, Rejected, TooLarge, Later]


def verdict(answer: Answer, events: int, now: datetime) -> Verdict:
    """Reads the answer to a request of so many events."""
    status = answer.status
    body = _json_object(answer.body)
    reason = f"the collector answered {status}{_explanation(body)}"
    named = _rejected_indices(body, events)
    if 200 <= status < 300:
        return Taken(named, _first_rejection(body))
    if status == 413:
        return TooLarge(reason)
    if status in _PASSING or status >= 500:
        return Later(reason, _retry_after(answer.headers.get("retry-after"), now))
    if status in _SETTINGS or status < 400:
        return Later(reason, _retry_after(answer.headers.get("retry-after"), now), settings=True)
    if not named:
        return Rejected(frozenset(range(events)), reason)
    why = _first_rejection(body) or reason
    if body.get("accepted") == events - len(named):
        return Taken(named, why)
    return Rejected(named, why)


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _rejected_list(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rejected = body.get("rejected")
    return [entry for entry in rejected if isinstance(entry, dict)] if isinstance(rejected, list) else []


def _rejected_indices(body: Mapping[str, Any], events: int) -> FrozenSet[int]:
    indices = (entry.get("index") for entry in _rejected_list(body))
    return frozenset(index for index in indices if type(index) is int and 0 <= index < events)


def _explanation(body: Mapping[str, Any]) -> str:
    texts = [str(body[key]) for key in ("code", "message") if body.get(key)]
    return f" ({': '.join(texts)})" if texts else ""


def _first_rejection(body: Mapping[str, Any]) -> str:
    return next((f"the collector says{_explanation(entry)}" for entry in _rejected_list(body)), "")


def _retry_after(value: Optional[str], now: datetime) -> Optional[float]:
    """Seconds from a `Retry-After` header, which has seconds or an HTTP date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())
