"""manifest.json comes from anywhere: whatever it holds, the bundle opens or one clear error says why not."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shufflec.backends.bundle import open_bundle, write_bundle
from shufflec.errors import InputFileError

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from test_bundle import compile_tiny, reports

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Every place in a JSON document, as a path of keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in places(item, (*path, key)))]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("fuzz") / "bundle", compile_tiny(), reports)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_value_at_any_place(bundle, data):
    path = bundle.path / "manifest.json"
    value = json.loads(bundle.manifest.to_json())
    place = data.draw(st.sampled_from(places(value)[1:]))
    node = copy.deepcopy(value)
    inner = node
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(JSON_VALUES)
    path.write_text(json.dumps(node))
    try:
        open_bundle(bundle.path)
    except InputFileError as error:
        assert "\n" not in error.message[:200]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(bundle, data):
    (bundle.path / "manifest.json").write_bytes(data)
    with pytest.raises(InputFileError):
        open_bundle(bundle.path)
