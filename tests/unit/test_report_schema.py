from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from report_example import example_report

from shufflec.errors import InputFileError
from shufflec.reports.schema import Report, read_report
from shufflec.reports.schema_doc import schema_markdown
from shufflec.validate import ValidationError


def changed(path: str, value: object) -> str:
    """The example's JSON with one place replaced; path as in layers.0.macs."""
    document = json.loads(example_report().to_json())
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = document
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(document)


def test_round_trip_keeps_every_field_and_gives_the_same_text():
    report = example_report()
    text = report.to_json()
    assert Report.from_json(text) == report
    assert Report.from_json(text).to_json() == text


def test_fields_that_are_unknown_before_profiling_may_be_null():
    report = example_report()
    layers = tuple(
        replace(layer, milliseconds=None, instructions=None, instructions_by_class=None, share=None, roofline=None)
        for layer in report.layers
    )
    report = replace(report, cost=None, verification=None, variant=None, groups=None, scale=None, layers=layers)
    report = replace(report, roofline=None)
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", 1, "schema is 1, expected 4"),
        ("macs", "many", "macs is 'many', expected a whole number"),
        ("macs", -1, "macs is -1, expected a finite number, zero or more"),
        ("macs", True, "macs is True, expected a whole number"),
        ("macs", 10**30, "expected a finite number"),
        ("input", [8], "input is [8], expected a list of 2 items"),
        ("cost.kind", "guessed", "cost.kind is 'guessed', expected one of measured, estimated, counted"),
        ("cost.estimate.dram_ms", -1.0, "cost.estimate.dram_ms is -1.0, expected a finite number, zero or more"),
        ("cost.costliest.1.layer", 4, "cost.costliest[1].layer is 4: no such layer"),
        ("cost.estimate.waits.latency_ms", -1.0, "cost.estimate.waits.latency_ms is -1.0, expected a finite number"),
        ("roofline.l2.per_second", "fast", "roofline.l2.per_second is 'fast', expected a number"),
        ("layers.1.roofline.bound", "L3", "layers[1].roofline.bound is 'L3', expected one of compute, L2, DRAM"),
        ("layers.2.shape", [1, "x"], "layers[2].shape[1] is 'x'"),
        ("layers.0.share", 1.5, "layers[0].share is 1.5, expected at most 1"),
        ("memory.1.last", 99, "memory[1] lives from layer 1 to 99"),
        ("memory.0.bytes", 4096, "memory[0] ends behind the arena's 3072"),
        ("environment", {"tvm": 1}, "environment.tvm is 1, expected a text"),
        ("model", "x" * 3000, "model is 'xxx"),
        ("model", "\ud800", "lone surrogates"),
        ("random_weights", 1, "random_weights is 1, expected true or false"),
    ],
)
def test_a_wrong_value_is_named(path, value, message):
    with pytest.raises(ValidationError) as caught:
        Report.from_json(changed(path, value))
    assert message in str(caught.value)


def test_missing_and_unknown_fields_are_named():
    document = json.loads(example_report().to_json())
    document["cost"].pop("device")
    with pytest.raises(ValidationError, match=r"cost\.device is missing"):
        Report.from_json(json.dumps(document))
    document["cost"]["device"] = "x"
    document["layers"][1]["colour"] = "red"
    with pytest.raises(ValidationError, match=r"layers\[1\]\.colour is not a field"):
        Report.from_json(json.dumps(document))


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "null", "[" * 100_000, '{"schema": NaN}', '{"schema": ' + "9" * 5000 + "}"]
)
def test_text_that_is_no_report_is_refused(text):
    with pytest.raises(ValidationError):
        Report.from_json(text)


def test_read_report_names_the_file(tmp_path: Path):
    path = tmp_path / "report.json"
    with pytest.raises(InputFileError, match="no such file"):
        read_report(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputFileError, match=r"report\.json: not a report"):
        read_report(path)
    path.write_text(example_report().to_json(), encoding="utf-8")
    assert read_report(path) == example_report()


def test_the_schema_document_is_up_to_date():
    document = Path(__file__).parents[2] / "reports" / "SCHEMA.md"
    assert document.read_text(encoding="utf-8") == schema_markdown()
