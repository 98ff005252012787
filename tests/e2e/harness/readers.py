"""Readers that know nothing of Laker: what other people's tools find in a table.

Each returns the whole table as PyArrow. They are independent where it counts:

* DuckDB reads Delta with its own extension (delta-kernel) and S3 with its own `httpfs`; both extensions
  are installed from PyPI, pinned to DuckDB's version, so no network is needed when a test runs.
* `deltalake` replays the log and reads files with the DataFusion inside its wheel.
* Polars reads files with its own Parquet reader; for Delta, the list of files is `deltalake`'s.
* PyArrow reads files with the C++ Parquet reader; for Delta, the list of files is `deltalake`'s.

Of a table of plain Parquet files there is no log to replay: DuckDB, Polars and PyArrow read it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Callable

import duckdb
import polars
import pyarrow
import pyarrow.dataset
from deltalake import DeltaTable, QueryBuilder

from .lakes import Lake

Reader = Callable[[Lake, str], pyarrow.Table]


def read_with_duckdb(lake: Lake, table: str) -> pyarrow.Table:
    return in_plain_types(duckdb_on(lake).sql(f"SELECT * FROM {duckdb_source(lake, table)}").to_arrow_table())


def duckdb_source(lake: Lake, table: str) -> str:
    """The table as DuckDB's SQL names it behind FROM."""
    if lake.has_delta_log(table):
        return f"delta_scan('{lake.table_url(table)}')"
    return f"read_parquet('{lake.table_url(table)}/**/*.parquet', union_by_name = true, hive_partitioning = false)"


def read_with_deltalake(lake: Lake, table: str) -> pyarrow.Table:
    delta = DeltaTable(lake.table_url(table), storage_options=lake.storage_options)
    rows = QueryBuilder().register("t", delta).execute("SELECT * FROM t")
    return in_plain_types(pyarrow.table(rows.read_all()))


def read_with_polars(lake: Lake, table: str) -> pyarrow.Table:
    options = lake.storage_options
    if lake.has_delta_log(table):
        return in_plain_types(polars.read_delta(lake.table_url(table), storage_options=options).to_arrow())
    prefix = "s3://" if lake.s3 else ""
    parts = [polars.read_parquet(prefix + file, storage_options=options) for file in lake.parquet_files(table)]
    return in_plain_types(polars.concat(parts, how="diagonal_relaxed").to_arrow())


def read_with_pyarrow(lake: Lake, table: str) -> pyarrow.Table:
    if lake.has_delta_log(table):
        delta = DeltaTable(lake.table_url(table), storage_options=lake.storage_options)
        return in_plain_types(delta.to_pyarrow_dataset().to_table())
    paths = lake.parquet_files(table)
    parts = [pyarrow.dataset.dataset(path, filesystem=lake.file_system) for path in paths]
    schema = pyarrow.unify_schemas([part.schema for part in parts], promote_options="permissive")
    return in_plain_types(pyarrow.dataset.dataset(paths, schema=schema, filesystem=lake.file_system).to_table())


DELTA_READERS: dict[str, Reader] = {
    "pyarrow": read_with_pyarrow,
    "duckdb": read_with_duckdb,
    "deltalake": read_with_deltalake,
    "polars": read_with_polars,
}
PARQUET_READERS: dict[str, Reader] = {
    name: reader for name, reader in DELTA_READERS.items() if name != "deltalake"
}


def readers_of(table_format: str) -> dict[str, Reader]:
    """All readers that can read the format, by name; the first is the one others are compared with."""
    return DELTA_READERS if table_format == "delta" else PARQUET_READERS


def count_rows(lake: Lake, table: str) -> int:
    """Rows a reader finds now; none when there is no table yet."""
    if lake.has_delta_log(table):
        delta = DeltaTable(lake.table_url(table), storage_options=lake.storage_options)
        return int(delta.to_pyarrow_dataset().count_rows())
    paths = lake.parquet_files(table)
    return pyarrow.dataset.dataset(paths, filesystem=lake.file_system).count_rows() if paths else 0


def delta_version(lake: Lake, table: str) -> int:
    """Newest version of a Delta table, or -1 when it does not exist yet."""
    if not lake.has_delta_log(table):
        return -1
    return DeltaTable(lake.table_url(table), storage_options=lake.storage_options).version()


def in_plain_types(table: pyarrow.Table) -> pyarrow.Table:
    """Readers hold the same strings and lists in different memory layouts; here in one."""
    fields = [field.with_type(_plain(field.type)) for field in table.schema]
    return table.cast(pyarrow.schema(fields))


def _plain(kind: pyarrow.DataType) -> pyarrow.DataType:
    types = pyarrow.types
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pyarrow.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pyarrow.binary()
    if types.is_timestamp(kind) and kind.tz is not None:
        return pyarrow.timestamp("us", tz="UTC")
    if types.is_list(kind) or types.is_large_list(kind) or types.is_list_view(kind):
        return pyarrow.list_(pyarrow.field("element", _plain(kind.value_type)))
    if types.is_struct(kind):
        return pyarrow.struct([pyarrow.field(inner.name, _plain(inner.type)) for inner in kind])
    return kind


def duckdb_on(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A DuckDB that can read the lake."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for extension in ("delta", "httpfs"):
        folder = files(f"duckdb_extension_{extension}") / "extensions" / f"v{duckdb.__version__}"
        connection.execute(f"LOAD '{folder / extension}.duckdb_extension'")
    connection.execute("SET TimeZone = 'UTC'")
    if lake.s3:
        connection.execute(
            f"""CREATE SECRET (TYPE s3, KEY_ID '{lake.s3.access_key_id}', SECRET '{lake.s3.secret_access_key}',
                REGION '{lake.s3.region}', ENDPOINT '{lake.s3.endpoint.split("//")[1]}',
                URL_STYLE 'path', USE_SSL {lake.s3.endpoint.startswith("https")})"""
        )
    return connection
