"""Recounts what landed, with DuckDB and the producers' books, and without a line of Laker's.

Three sources that know nothing of each other: what producers sent and were told, what is in the topic, and what
other people's readers find in the two tables. Every record of the topic must be in exactly one table, once, with
the contents that were sent; every acknowledged event must be in the topic.
"""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Sequence
from urllib.parse import unquote

import duckdb
import pyarrow
import pyarrow.fs

from .books import Book, books_table
from .kafka import Topic
from .lakes import Lake
from .readers import duckdb_on, duckdb_source

#: Findings of one kind that are shown.
SHOWN_MAX = 5
#: Entries of a table's log that are read at the same time.
READERS = 16

#: Each kind of finding: nothing may be found.
FINDINGS = {
    "acknowledged, and not in the log": """
        SELECT producer, sequence FROM books WHERE acknowledged AND payload IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM log WHERE log.value = books.payload)""",
    "acknowledged, and another record is at its place": """
        SELECT b.producer, b.sequence, b.partition, b.offset FROM books b
        LEFT JOIN log l ON l.partition = b.partition AND l.offset = b.offset
        WHERE b.partition IS NOT NULL AND (l.partition IS NULL OR l.value IS DISTINCT FROM b.payload)""",
    "in the log, and nobody sent it": """
        SELECT l.partition, l.offset FROM log l WHERE l.value IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM books b WHERE b.payload = l.value)""",
    "in the log more often than it was sent": """
        SELECT b.producer, b.sequence, count(*) AS copies, any_value(b.attempts) FROM books b
        JOIN log l ON l.value = b.payload GROUP BY ALL HAVING count(*) > any_value(b.attempts)""",
    "lost: in the log, and in neither table": """
        SELECT e.partition, e.offset, e.producer, e.sequence FROM expected e
        WHERE NOT EXISTS (SELECT 1 FROM landed l WHERE l.partition = e.partition AND l.offset = e.offset)""",
    "doubled: landed twice": """
        SELECT partition, "offset", count(*), list(place) FROM landed GROUP BY ALL HAVING count(*) > 1""",
    "landed, and not in the log": """
        SELECT l.place, l.partition, l.offset FROM landed l
        WHERE NOT EXISTS (SELECT 1 FROM expected e WHERE l.partition = e.partition AND l.offset = e.offset)""",
    "a row whose checksum is wrong": """
        SELECT _partition, _offset, producer, sequence FROM main
        WHERE md5(concat(producer, ':', sequence, ':', text)) IS DISTINCT FROM checksum""",
    "a row that is another event's": """
        SELECT m._partition, m._offset, m.producer, m.sequence, e.producer, e.sequence FROM main m
        JOIN expected e ON m._partition = e.partition AND m._offset = e.offset
        WHERE (m.producer, m.sequence, m._id) IS DISTINCT FROM (e.producer, e.sequence, e.producer || '-' || e.sequence)""",
    "a row that should be a dead letter": """
        SELECT m._partition, m._offset FROM main m
        JOIN expected e ON m._partition = e.partition AND m._offset = e.offset WHERE e.broken""",
    "a dead letter that is not what was sent": """
        SELECT d._partition, d._offset, d.reason FROM dead d
        JOIN expected e ON d._partition = e.partition AND d._offset = e.offset
        WHERE NOT e.broken OR d.raw IS DISTINCT FROM e.payload OR d.reason IS NULL""",
}
COUNTS = {
    "sent": "SELECT count(*) FROM books",
    "acknowledged": "SELECT count(*) FROM books WHERE acknowledged",
    "records": "SELECT count(*) FROM log",
    "tombstones": "SELECT count(*) FROM log WHERE value IS NULL",
    "rows": "SELECT count(*) FROM main",
    "dead_letters": "SELECT count(*) FROM dead",
}


@dataclass(frozen=True)
class Audit:
    """What was counted when nothing was wrong."""

    sent: int
    acknowledged: int
    records: int
    tombstones: int
    rows: int
    dead_letters: int
    commits: int


def audit(lake: Lake, topic: Topic, books: Sequence[Book], table: str = "logs") -> Audit:
    """Fails with everything that is wrong; else says what there is. The whole topic must have landed."""
    records = topic.read_all()
    connection = duckdb_on(lake)
    _name_sources(connection, lake, records, books, table)
    wrong = _found(connection)
    commits = 0
    for one in (table, f"{table}__dead"):
        chain = Chain.read(lake, one)
        wrong += chain.wrong
        commits += chain.commits
        if one == table:
            wrong += _not_at_the_end(chain, records)
    assert not wrong, "\n".join(wrong)
    (counts,) = zip(*(_rows(connection, query)[0] for query in COUNTS.values()))
    return Audit(**dict(zip(COUNTS, counts)), commits=commits)


def _name_sources(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    records: Sequence[tuple[int, int, Any]],
    books: Sequence[Book],
    table: str,
) -> None:
    partitions, offsets, values = zip(*records) if records else ((), (), ())
    log = {
        "partition": pyarrow.array(partitions, pyarrow.int32()),
        "offset": pyarrow.array(offsets, pyarrow.int64()),
        "value": pyarrow.array(values, pyarrow.binary()),
    }
    connection.register("log", pyarrow.table(log))
    connection.register("books", books_table(books))
    connection.execute(f"CREATE TABLE main AS SELECT * FROM {duckdb_source(lake, table)}")
    dead = f"{table}__dead"
    source = duckdb_source(lake, dead) if lake.parquet_files(dead) else "main WHERE false"
    columns = "*" if lake.parquet_files(dead) else "_partition, _offset, '' AS reason, ''::BLOB AS raw"
    connection.execute(f"CREATE TABLE dead AS SELECT {columns} FROM {source}")
    connection.execute(
        """CREATE TABLE landed AS
           SELECT 'row' AS place, _partition AS partition, _offset AS "offset" FROM main UNION ALL
           SELECT 'dead letter', _partition, _offset FROM dead"""
    )
    connection.execute(
        """CREATE TABLE expected AS
           SELECT l.partition, l.offset, b.producer, b.sequence, b.payload, b.payload[-1:] <> '}'::BLOB AS broken
           FROM log l JOIN books b ON l.value = b.payload"""
    )


def _found(connection: duckdb.DuckDBPyConnection) -> list[str]:
    found = ((what, _rows(connection, query)) for what, query in FINDINGS.items())
    return [f"{len(rows)} {what}: {rows[:SHOWN_MAX]}" for what, rows in found if rows]


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def _not_at_the_end(chain: Chain, records: Sequence[tuple[int, int, Any]]) -> list[str]:
    ends: dict[int, int] = defaultdict(int)
    for partition, offset, _ in records:
        ends[partition] = max(ends[partition], offset + 1)
    short = {p: (chain.next.get(p), end) for p, end in ends.items() if chain.next.get(p) != end}
    return [f"partitions that have not landed to their end, each with where it is and should be: {short}"] if short else []


class Chain:
    """The committed ranges of a table, read from what the format says of itself."""

    def __init__(self) -> None:
        #: First offset of each partition that has not landed.
        self.next: dict[int, int] = {}
        self.wrong: list[str] = []
        self.commits = 0
        self._batches: set[tuple[str, int]] = set()

    @classmethod
    def read(cls, lake: Lake, table: str) -> Chain:
        chain = cls()
        if lake.has_delta_log(table):
            chain._read_delta(lake, table)
        else:
            chain._read_parquet(lake, table)
        return chain

    def _add(self, where: str, batch: str, partition: int, start: int, end: int) -> None:
        if (batch, partition) in self._batches:
            self.wrong.append(f"{where}: batch {batch} is there twice")
        self._batches.add((batch, partition))
        if self.next.get(partition) != start or end < start:
            self.wrong.append(f"{where}: [{start}, {end}) of partition {partition} follows {self.next.get(partition)}")
        self.next[partition] = end

    def _read_delta(self, lake: Lake, table: str) -> None:
        entries = delta_entries(lake, table)
        for version, actions in enumerate(entries):
            where = f"{table}, version {version}"
            info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
            transactions = [action["txn"] for action in actions if "txn" in action]
            set_to = {int(txn["appId"].rsplit("/", 1)[1]): int(txn["version"]) for txn in transactions}
            ranges = info.get("laker.ranges") or {}
            ranges = json.loads(ranges) if isinstance(ranges, str) else ranges
            if not ranges:
                self.next.update(set_to)
                continue
            self.commits += 1
            for partition, (start, end) in ranges.items():
                self._add(where, info["laker.batch_id"], int(partition), start, end)
            moved = {int(partition): end for partition, (_, end) in ranges.items()}
            if moved != set_to:
                self.wrong.append(f"{where}: ranges end at {moved}, transactions say {set_to}")
            self._check_counts(where, info, sum(end - start for start, end in ranges.values()), table)
        self._check_files(lake, table, [action for actions in entries for action in actions])

    def _check_counts(self, where: str, info: dict[str, Any], covered: int, table: str) -> None:
        names = ("laker.row_count", "laker.dead_count", "laker.skipped_count")
        counted = sum(int(info[name]) for name in names)
        # The dead-letter table skips everything that is not a dead letter, and does not count it.
        if counted > covered or (counted != covered and not table.endswith("__dead")):
            self.wrong.append(f"{where}: covers {covered} offsets and counts {counted} records")

    def _check_files(self, lake: Lake, table: str, actions: Sequence[dict[str, Any]]) -> None:
        """A file that is referenced exists, and is as long as the log says."""
        folder = pyarrow.fs.FileSelector(lake.table_path(table), recursive=True)
        sizes = {info.path: info.size for info in lake.file_system.get_file_info(folder)}
        removed = {action["remove"]["path"] for action in actions if "remove" in action}
        for add in (action["add"] for action in actions if "add" in action):
            size = sizes.get(f"{lake.table_path(table)}/{unquote(add['path'])}")
            if add["path"] not in removed and size != add["size"]:
                self.wrong.append(f"{table}: {add['path']} has {size} bytes, the log says {add['size']}")

    def _read_parquet(self, lake: Lake, table: str) -> None:
        self._read_starts(lake, table)
        if not lake.parquet_files(table):
            return
        found = duckdb_on(lake).execute(
            f"""SELECT file_name, decode(key), decode(value)
                FROM parquet_kv_metadata('{lake.table_url(table)}/data/*/*.parquet')
                WHERE decode(key) LIKE 'laker.%'"""
        )
        footers: dict[str, dict[str, str]] = defaultdict(dict)
        for file, key, value in found.fetchall():
            footers[file][key.removeprefix("laker.")] = value
        for file, footer in sorted(footers.items()):
            self.commits += 1
            start, end = int(footer["start"]), int(footer["end"])
            if int(file.rsplit("/", 1)[1].split(".")[0]) != start:
                self.wrong.append(f"{file} begins at {start}")
            self._add(file, footer["batch_id"], int(footer["partition"]), start, end)

    def _read_starts(self, lake: Lake, table: str) -> None:
        folder = pyarrow.fs.FileSelector(f"{lake.table_path(table)}/_laker/start", allow_not_found=True)
        for info in lake.file_system.get_file_info(folder):
            partition = int(info.base_name.removeprefix("p=").removesuffix(".json"))
            with lake.file_system.open_input_stream(info.path) as stream:
                self.next[partition] = json.loads(stream.read())["start"]


def delta_entries(lake: Lake, table: str) -> list[list[dict[str, Any]]]:
    """The actions of every version of a Delta table's log, none of which was cleaned up."""
    folder = pyarrow.fs.FileSelector(f"{lake.table_path(table)}/_delta_log")
    files = lake.file_system

    def read(path: str) -> list[dict[str, Any]]:
        with files.open_input_stream(path) as stream:
            return [json.loads(line) for line in stream.read().splitlines() if line.strip()]

    paths = sorted(info.path for info in files.get_file_info(folder) if info.path.endswith(".json"))
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, paths))
