"""What a run of the tests was given: servers, binary, browser."""

from __future__ import annotations

import os

import pytest


def given(name: str) -> str:
    """A variable `cargo xtask test` sets. Without it a test is skipped, but never in CI."""
    value = os.environ.get(name)
    if value:
        return value
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not set, and in CI nothing is skipped")
    pytest.skip(f"{name} is not set: run `cargo xtask test`, or `cargo xtask serve` and take its exports")
