"""Tuned records: reading hostile files, which record a workload gets, and what select does with it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from shufflec.errors import InputFileError
from shufflec.kernels import records as module
from shufflec.kernels import select as selecting
from shufflec.kernels.kernel import Kernel, Workload
from shufflec.kernels.records import (
    Record,
    Records,
    best_of,
    load_records,
    parse_records,
    read_records,
    record_key,
    record_notes,
    toolchain,
    user_records,
    write_records,
)
from shufflec.kernels.select import Selection

PARAMS = {"height": 4, "width": 4, "kernel": (3, 3), "channels": 16, "shift": 3, "clamp_min": -128}
WORKLOAD = Workload.of("depthwise_conv2d", "neon", **PARAMS, accumulator_bias=False, pre_shift=True)


def family(name: str = "fake-1", columns=(4, 2, 1)) -> SimpleNamespace:
    def build(workload, tiling) -> Kernel:
        return Kernel(workload, tiling, name, None, 1, 0, lambda constants: None)

    tilings = [(("columns", n), ("schedule", 0)) for n in columns]
    return SimpleNamespace(NAME=name, accepts=lambda _: True, tilings=lambda _: tilings, build=build)


@pytest.fixture
def fake_family(monkeypatch):
    monkeypatch.setitem(selecting.FAMILIES, "neon", (family(),))


def record(**changes) -> Record:
    tools, tiling = toolchain(), {"columns": 2, "schedule": 0}
    made = Record(record_key(WORKLOAD), "rasp4", "fake-1", tiling, tools.tvm, tools.llvm, "estimated", 80, 99)
    return replace(made, **changes)


def of(*found: Record, target: str = "rasp4") -> Records:
    records = Records()
    records.add(found, "file", target)
    return records


def test_the_key_leaves_the_models_own_numbers_out():
    other = Workload.of(
        "depthwise_conv2d", "neon", **{**PARAMS, "shift": 7, "clamp_min": -3}, accumulator_bias=False, pre_shift=True
    )
    assert record_key(WORKLOAD) == record_key(other)
    assert record_key(WORKLOAD) == "depthwise_conv2d/neon/channels=16,height=4,kernel=3x3,pre_shift=True,width=4"
    wider = Workload.of("depthwise_conv2d", "neon", **{**PARAMS, "width": 5}, pre_shift=True)
    assert record_key(wider) != record_key(WORKLOAD)


def test_a_residual_counts_as_being_there_and_its_number_does_not():
    keys = {
        record_key(Workload.of("conv2d", "neon", height=2, residual_multiplier=value)) for value in (0, 1500, 29000)
    }
    assert len(keys) == 2


def test_select_takes_the_records_tiling(fake_family):
    selection = Selection(of(record()))
    assert selection(WORKLOAD).tiling == (("columns", 2), ("schedule", 0))
    assert selection.tuned == {WORKLOAD: "file"}


@pytest.mark.parametrize(
    "unusable",
    [
        {"kernel": "fake-2"},
        {"kernel": "another-1"},
        {"tiling": {"columns": 3, "schedule": 0}},
        {"tiling": {"schedule": 0, "columns": 2}},
        {"tiling": {}},
        {"tiling": {"columns": 2, "schedule": 0, "more": 1}},
        {"target": "rasp5"},
        {"tvm": "0.28.0"},
        {"llvm": "23"},
        {"workload": "depthwise_conv2d/neon/channels=17"},
    ],
)
def test_records_that_do_not_hold_leave_the_default(fake_family, unusable):
    selection = Selection(of(record(**unusable)))
    assert selection(WORKLOAD).tiling == (("columns", 4), ("schedule", 0))
    assert not selection.tuned


def test_a_neighbours_record_will_do_and_the_own_one_goes_first(fake_family):
    neighbour = Workload.of("depthwise_conv2d", "neon", **PARAMS, accumulator_bias=True, pre_shift=False)
    near = record(workload=record_key(neighbour), tiling={"columns": 1, "schedule": 0})
    assert Selection(of(near))(WORKLOAD).tiling[0] == ("columns", 1)
    assert Selection(of(near, record()))(WORKLOAD).tiling[0] == ("columns", 2)


def test_what_is_skipped_is_counted_and_said():
    records = of(record(target="rasp5"), record(tvm="0.1"), record(llvm="1"), record())
    assert records.skipped == {"for another target": 1, "of another toolchain": 2}
    assert record_notes(records) == [
        "1 tuning records for another target skipped",
        "2 tuning records of another toolchain skipped",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiling": {"columns": "2"}}, "tiling.columns is '2', expected a whole number"),
        ({"tiling": [2]}, "tiling is .2., expected an object"),
        ({"nanoseconds": -1}, "nanoseconds is -1, expected a finite number"),
        ({"nanoseconds": 1e400}, "nanoseconds is inf"),
        ({"kind": "guessed"}, "kind is 'guessed', expected one of estimated, measured"),
        ({"workload": "x" * 3000}, "expected a text of at most"),
        ({"workload": "x" * 5000}, "at most 4096 are allowed"),
        ({"run": "rm -rf"}, "run is not a field"),
        ({"target": None}, "target is None"),
    ],
)
def test_a_damaged_record_is_named_and_the_rest_are_read(tmp_path, change, message):
    line = json.dumps(json.loads(record().to_line()) | change)
    found, problems = parse_records(f"{line}\n{record().to_line()}", tmp_path)
    assert found == [record()]
    assert len(problems) == 1
    assert problems[0].startswith("line 1: ")
    assert message.replace(".2.", "[2]") in problems[0]


@pytest.mark.parametrize("junk", ["{", "null", "[]", '{"a":' * 2000, "NaN", "\x00"])
def test_lines_that_are_no_records(tmp_path, junk):
    found, problems = parse_records(f"{record().to_line()}{junk}\n", tmp_path)
    assert found == [record()]
    assert len(problems) == 1


def test_a_truncated_file_keeps_its_whole_lines(tmp_path):
    text = record().to_line() + record(nanoseconds=70).to_line()
    found, problems = parse_records(text[:-20], tmp_path)
    assert found == [record()] and problems == ["line 2 is not JSON"]


def test_files_that_are_no_text_or_too_large(tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputFileError, match="is not text"):
        read_records(path)
    monkeypatch.setattr(module, "_MAX_RECORDS", 1)
    path.write_text(record().to_line() * 3)
    with pytest.raises(InputFileError, match="more than 1 records"):
        read_records(path)


def test_of_duplicates_the_fastest_stays_and_the_file_does_not_depend_on_the_order(tmp_path):
    some = [record(nanoseconds=n, tiling={"columns": n % 3, "schedule": 0}) for n in (90, 80, 85, 80)]
    some.append(record(workload="z"))
    assert [one.nanoseconds for one in best_of(some)] == [80, 80]
    first = write_records(tmp_path / "a.jsonl", some).read_bytes()
    assert write_records(tmp_path / "b.jsonl", reversed(some)).read_bytes() == first
    assert read_records(tmp_path / "a.jsonl") == (best_of(some), [])


def test_measured_records_go_before_estimated_ones(fake_family):
    measured = record(kind="measured", nanoseconds=500, tiling={"columns": 1, "schedule": 0})
    assert Selection(of(record(), measured))(WORKLOAD).tiling[0] == ("columns", 1)


def test_the_users_records_go_before_the_shipped_ones(tmp_path, monkeypatch, fake_family):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "data_dir", lambda name: tmp_path / name)
    shipped = tmp_path / "schedules" / "rasp4" / "nets.jsonl"
    write_records(shipped, [record(nanoseconds=1, tiling={"columns": 1, "schedule": 0})])
    selection = Selection(load_records("rasp4"))
    assert selection(WORKLOAD).tiling[0] == ("columns", 1)
    assert list(selection.tuned.values()) == ["schedules/rasp4/nets.jsonl"]
    write_records(user_records("rasp4"), [record()])
    selection = Selection(load_records("rasp4"))
    assert selection(WORKLOAD).tiling[0] == ("columns", 2)
    assert list(selection.tuned.values()) == ["your own rasp4.jsonl"]


def test_damage_in_a_loaded_file_is_said_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    write_records(user_records("rasp4"), [record()])
    with open(user_records("rasp4"), "a") as file:
        file.write("{}\nnothing\n")
    records = load_records("rasp4")
    assert record_notes(records)[-1] == (
        "damaged tuning records skipped: your own rasp4.jsonl: line 2: workload is missing and 1 more"
    )
