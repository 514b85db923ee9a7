"""Tests compile many bundles; the one that `shufflec profile` takes by default stays the user's."""

from __future__ import annotations

import pytest
from hypothesis import settings

from shufflec.files import cache_dir

# The same examples in every run.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def users_latest_bundle():
    pointer = cache_dir() / "latest-bundle"
    saved = pointer.read_bytes() if pointer.is_file() else None
    yield
    if saved is None:
        pointer.unlink(missing_ok=True)
    else:
        pointer.write_bytes(saved)
