"""What counts as equal: row merged with residual = the event, nulls aside, which count as absent."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Iterable

import pyarrow

Event = dict[str, Any]
Place = tuple[int, int]

#: Columns of Laker's own. `_id` is not among them: it is the event's own field.
SYSTEM_COLUMNS = frozenset({"_partition", "_offset", "_received_at", "_time", "_residual", "event_date"})
#: Differences shown when two things are not the same.
SHOWN_MAX = 5


def event_of(row: dict[str, Any]) -> Event:
    """The event a row stands for, in the form `without_nulls` gives."""
    columns = {name: value for name, value in row.items() if name not in SYSTEM_COLUMNS}
    event = _without_absent(columns) or {}
    residual = row.get("_residual")
    return without_nulls(_merged(event, json.loads(residual))) if residual is not None else event


def without_nulls(event: Event) -> Event:
    """The event without its null fields, and without objects that held nothing else."""
    return _without_nulls(event) or {}


def differences(expected: dict[str, Event], rows: Iterable[dict[str, Any]]) -> list[str]:
    """How the rows differ from the events, by `_id`: missing, doubled, unknown, other contents."""
    found: Counter[str] = Counter()
    wrong: list[str] = []
    for row in rows:
        event = event_of(row)
        identity = event.get("_id", repr(event))
        found[identity] += 1
        if identity not in expected:
            wrong.append(f"unknown: {event}")
        elif event != without_nulls(expected[identity]):
            wrong.append(f"other contents: sent {without_nulls(expected[identity])}, found {event}")
    doubled = [identity for identity, count in found.items() if count > 1]
    missing = [identity for identity in expected if identity not in found]
    wrong += [f"{len(doubled)} doubled: {doubled[:SHOWN_MAX]}"] if doubled else []
    wrong += [f"{len(missing)} missing: {missing[:SHOWN_MAX]}"] if missing else []
    return wrong


def assert_same_events(expected: dict[str, Event], table: pyarrow.Table) -> None:
    """Each event is in the table once, with its contents; nothing else is."""
    wrong = differences(expected, table.to_pylist())
    assert not wrong, f"{len(wrong)} differences, among them:\n" + "\n".join(wrong[:SHOWN_MAX] + wrong[-2:])


def assert_same_rows(one: pyarrow.Table, other: pyarrow.Table, names: str) -> None:
    """Two readers found the same rows, system columns included."""
    assert sorted(one.column_names) == sorted(other.column_names), names
    one, other = in_log_order(one), in_log_order(other.select(one.column_names))
    if one.equals(other):
        return
    pairs = zip(one.to_pylist(), other.to_pylist())
    wrong = [f"{a}\n  against\n{b}" for a, b in pairs if _comparable(a) != _comparable(b)]
    assert one.num_rows == other.num_rows, f"{names}: {one.num_rows} against {other.num_rows} rows"
    assert not wrong, f"{names} differ in {len(wrong)} rows:\n" + "\n".join(wrong[:SHOWN_MAX])


def assert_each_place_once(table: pyarrow.Table) -> None:
    """No place of the log is in the table twice."""
    places = Counter(zip(table["_partition"].to_pylist(), table["_offset"].to_pylist()))
    doubled = [place for place, count in places.items() if count > 1]
    assert not doubled, f"{len(doubled)} places of the log landed twice: {doubled[:SHOWN_MAX]}"


def in_log_order(table: pyarrow.Table) -> pyarrow.Table:
    """Rows by partition and offset, in one piece, so that two reads can be compared."""
    return table.sort_by([("_partition", "ascending"), ("_offset", "ascending")]).combine_chunks()


def _comparable(value: Any) -> Any:
    """Null structs and structs of nulls are the same to us: readers differ there."""
    return _without_absent(value)


def _without_absent(value: Any) -> Any:
    """A row's value without nulls; an object of nothing but nulls is one, since an event's own empty
    object is never a struct but stays in the residual."""
    if isinstance(value, dict):
        kept = {name: kept for name, inner in value.items() if (kept := _without_absent(inner)) is not None}
        return kept or None
    if isinstance(value, list):
        return [_without_absent(inner) for inner in value]
    return value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict) and value:
        kept = {name: kept for name, inner in value.items() if (kept := _without_nulls(inner)) is not None}
        return kept or None
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _merged(row: Any, residual: Any) -> Any:
    """What stands in the residual goes to its own place in the row's event."""
    if not (isinstance(row, dict) and isinstance(residual, dict)):
        return _without_nulls(residual)
    merged = dict(row)
    for name, value in residual.items():
        merged[name] = _merged(merged[name], value) if name in merged else _without_nulls(value)
    return merged
