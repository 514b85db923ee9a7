"""report.json comes from anywhere: whatever it holds, it is a valid report or one clear error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shufflec.reports import html
from shufflec.reports.schema import Report
from shufflec.validate import ValidationError

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from report_example import example_report

TEXT = example_report().to_json()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Every place in a JSON document, as a path of keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in places(item, (*path, key)))]


PLACES = places(json.loads(TEXT))[1:]


def accept_or_refuse(text: str) -> None:
    try:
        report = Report.from_json(text)
    except ValidationError as error:
        assert str(error) and "\n" not in str(error)[:200]
        return
    assert Report.from_json(report.to_json()) == report
    html.render(report)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), JSON_VALUES)
def test_any_value_in_any_place(path, value):
    document = json.loads(TEXT)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    accept_or_refuse(json.dumps(document))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)), st.text(max_size=5))
def test_any_cut_or_insertion(a, b, inserted):
    accept_or_refuse(TEXT[: min(a, b)] + inserted + TEXT[max(a, b) :])
