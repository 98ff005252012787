"""What each answer means for the events of its request."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Dict, Optional

import pytest

from laker._answer import Answer, Later, Rejected, Taken, TooLarge, Verdict, verdict

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=timezone.utc)


def judged(status: int, body: object = None, *, events: int = 3, retry_after: Optional[str] = None) -> Verdict:
    headers: Dict[str, str] = {} if retry_after is None else {"retry-after": retry_after}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return verdict(Answer(status, headers, raw), events, NOW)


def rejection(*indices: Any) -> Dict[str, Any]:
    return {"rejected": [{"index": index, "code": "too_deep", "message": "m"} for index in indices]}


def test_200_takes_all_but_the_rejected() -> None:
    assert judged(200, {"accepted": 3, "rejected": []}) == Taken(frozenset())
    result = judged(200, {"accepted": 2, **rejection(1)})
    assert isinstance(result, Taken)
    assert result.rejected == {1}
    assert "too_deep" in result.reason


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[]", b"[" * 100_000, b'{"rejected": 7}'])
def test_200_with_a_body_that_nobody_understands_is_still_an_acknowledgement(body: bytes) -> None:
    assert judged(200, body) == Taken(frozenset())


def test_an_index_that_names_no_event_rejects_none() -> None:
    result = judged(200, rejection(3, -1, "1", None, True, 1.0, 2))
    assert isinstance(result, Taken)
    assert result.rejected == {2}


def test_400_sends_those_again_that_were_neither_rejected_nor_stored() -> None:
    result = judged(400, {"accepted": 0, **rejection(0)})
    assert isinstance(result, Rejected)
    assert result.rejected == {0}


def test_400_that_stored_the_others_sends_none_again() -> None:
    result = judged(400, {"accepted": 2, **rejection(0)})
    assert isinstance(result, Taken)
    assert result.rejected == {0}


@pytest.mark.parametrize("status", [400, 405, 406, 409, 410, 411, 415, 422, 451])
def test_an_answer_that_no_repeat_can_change_rejects_all(status: int) -> None:
    result = judged(status, {"code": "c", "message": "why"})
    assert isinstance(result, Rejected)
    assert result.rejected == {0, 1, 2}
    assert "why" in result.reason


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 505, 511, 599])
def test_an_overload_or_failure_means_later(status: int) -> None:
    result = judged(status)
    assert isinstance(result, Later)
    assert not result.settings


@pytest.mark.parametrize("status", [301, 302, 304, 308, 401, 403, 404])
def test_wrong_settings_mean_later_as_a_person_can_mend_them(status: int) -> None:
    result = judged(status, {"code": "unknown_stream", "message": "no stream lgos"})
    assert isinstance(result, Later)
    assert result.settings
    assert "unknown_stream" in result.reason


def test_413_is_too_large() -> None:
    assert isinstance(judged(413), TooLarge)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0", 0.0),
        ("Fri, 20 Nov 2026 18:00:07 GMT", 7.0),
        ("Fri, 20 Nov 2026 19:00:07 +0100", 7.0),
        ("Fri, 20 Nov 2026 17:59:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(value: Optional[str], seconds: Optional[float]) -> None:
    for status in (429, 503):
        result = judged(status, retry_after=value)
        assert isinstance(result, Later)
        assert result.after_seconds == seconds
