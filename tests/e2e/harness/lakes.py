"""The lake of one test: a folder, or a prefix of its own in a bucket."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlparse

import pyarrow.fs


@dataclass(frozen=True)
class S3Server:
    """Where the S3 server is and how to get in; `LAKER_TEST_S3` holds it as JSON."""

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    region: str

    @classmethod
    def parse(cls, text: str) -> S3Server:
        return cls(**json.loads(text))

    def environment(self) -> dict[str, str]:
        """The standard variables, as a user sets them."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
        }

    def storage_options(self) -> dict[str, str]:
        """The same for `deltalake` and Polars."""
        return {**self.environment(), "AWS_ALLOW_HTTP": "true"}

    def file_system(self) -> pyarrow.fs.FileSystem:
        """The same for PyArrow."""
        endpoint = urlparse(self.endpoint)
        return pyarrow.fs.S3FileSystem(
            access_key=self.access_key_id,
            secret_key=self.secret_access_key,
            region=self.region,
            endpoint_override=endpoint.netloc,
            scheme=endpoint.scheme,
        )


@dataclass(frozen=True)
class Lake:
    """Where tables are: `path` is a folder, or bucket and prefix when there is a server."""

    path: str
    s3: Optional[S3Server] = None
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def in_folder(cls, folder: Path) -> Lake:
        return cls(path=str(folder))

    @classmethod
    def in_bucket(cls, server: S3Server, prefix: str) -> Lake:
        return cls(path=f"{server.bucket}/{prefix}", s3=server, environment=server.environment())

    def seen_through(self, endpoint: str) -> Lake:
        """The same lake, to which Laker goes by another way; readers go straight to it."""
        return replace(self, environment={**self.environment, "AWS_ENDPOINT_URL": endpoint})

    @property
    def url(self) -> str:
        """As the setting `lake` takes it."""
        return f"s3://{self.path}" if self.s3 else f"file:{self.path}"

    def table_url(self, table: str) -> str:
        """As readers take it."""
        return f"s3://{self.path}/{table}" if self.s3 else f"{self.path}/{table}"

    def table_path(self, table: str) -> str:
        """As `file_system` takes it."""
        return f"{self.path}/{table}"

    @property
    def storage_options(self) -> Optional[dict[str, str]]:
        return self.s3.storage_options() if self.s3 else None

    @property
    def file_system(self) -> pyarrow.fs.FileSystem:
        return self.s3.file_system() if self.s3 else pyarrow.fs.LocalFileSystem()

    def parquet_files(self, table: str) -> list[str]:
        """Every Parquet file under the table's folder that is data, by full path, in order of path."""
        everything = pyarrow.fs.FileSelector(self.table_path(table), recursive=True, allow_not_found=True)
        found: list[Any] = self.file_system.get_file_info(everything)
        return sorted(
            info.path for info in found if info.path.endswith(".parquet") and "/_delta_log/" not in info.path
        )

    def has_delta_log(self, table: str) -> bool:
        """Whether the table is a Delta table that exists."""
        # The first entries may be gone where there is a checkpoint.
        entries = pyarrow.fs.FileSelector(f"{self.table_path(table)}/_delta_log", allow_not_found=True)
        return len(self.file_system.get_file_info(entries)) > 0
