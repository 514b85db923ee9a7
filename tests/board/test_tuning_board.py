"""Tuning on a virtual Pi: right candidates are timed, wrong ones found out, and what is found is what compile takes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from shufflec.backends.compile import build_library
from shufflec.devices.session import connect
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.ir.graph import Graph, Op, TensorSpec
from shufflec.kernels import select
from shufflec.kernels.records import load_records, read_records
from shufflec.targets.target import load_target
from shufflec.tuning.boards import board_at, started_boards
from shufflec.tuning.case import make_case
from shufflec.tuning.library import Candidate, build_candidates
from shufflec.tuning.measure import OK, WRONG, LoadedCandidates
from shufflec.tuning.tasks import extract_tasks
from shufflec.tuning.tune import tune

pytestmark = pytest.mark.board
RASP4 = load_target("rasp4")
CLASSES = 12


def graph() -> Graph:
    """quantize -> global average -> dense -> dequantize, with a dense layer that has tilings to choose from."""
    generator = np.random.default_rng(0)
    requant = {"shift": 1, "fraction": 2, "clamp_min": -128, "clamp_max": 127}
    one = {"multiplier": np.array([16000], np.int16), "bias": np.array([3], np.int16)}
    constants = one | {"accumulator_bias": np.zeros(1, np.int32)}
    weight = generator.integers(-127, 128, (CLASSES, 3)).astype(np.int8)
    dense = {"weight": weight, "accumulator_bias": np.arange(CLASSES, dtype=np.int32)}
    specs = [
        ("input", (1, 3, 8, 8), "float32"),
        ("q", (8, 8, 3), "int8"),
        ("mean", (1, 1, 3), "int8"),
        ("sums", (1, 1, CLASSES), "int32"),
        ("logits", (1, CLASSES), "float32"),
    ]
    ops = (
        Op("quantize", "quantize", ("input",), "q", {"scale": 0.02, "zero_point": 0}),
        Op("global_avg_pool", "pool", ("q",), "mean", {"zero_point": 0, **requant}, constants),
        Op("dense", "classifier", ("mean",), "sums", {}, dense),
        Op("dequantize", "dequantize", ("sums",), "logits", {"zero_point": 0}, {"scale": np.full(CLASSES, 0.1)}),
    )
    return Graph({name: TensorSpec(name, shape, dtype) for name, shape, dtype in specs}, ops, "input", "logits")


def dense_task():
    return next(task for task in extract_tasks(graph(), "neon") if task.workload.kind == "dense")


def spoiled(family, tiling, change):
    """A family whose kernel of one tiling is changed."""

    def build(workload, chosen):
        kernel = family.build(workload, chosen)
        return change(kernel) if chosen == tiling else kernel

    return SimpleNamespace(NAME=family.NAME, accepts=family.accepts, tilings=family.tilings, build=build)


def with_a_wrong_bit(kernel):
    def pack(constants):
        packed = kernel.pack(constants)
        weights = packed.weights.copy()
        weights[np.flatnonzero(weights)[0]] ^= 1
        return replace(packed, weights=weights)

    return replace(kernel, pack=pack)


def that_does_not_end(kernel):
    return replace(kernel, tiles=1 << 30)


def test_candidates_are_checked_and_timed_the_same_every_time(tmp_path, monkeypatch):
    task = dense_task()
    tilings = task.tilings[:3]
    wrong = spoiled(task.family, tilings[1], with_a_wrong_bit)
    families = tuple(wrong if one.NAME == wrong.NAME else one for one in select.FAMILIES["neon"])
    monkeypatch.setitem(select.FAMILIES, "neon", families)
    candidates = [Candidate(make_case(task), tiling) for tiling in tilings]
    library = tmp_path / "candidates.so"
    library.write_bytes(build_candidates(candidates, RASP4))
    with virtual_pi(RASP4) as server, connect(server.address, timeout_s=30, call_timeout_s=60) as session:
        loaded = LoadedCandidates(session, library, candidates, sweep_bytes=65536)
        results = [loaded.measure(index) for index in (0, 1, 2, 0)]
    assert [result.outcome for result in results] == [OK, WRONG, OK, OK]
    assert results[0] == results[3] and results[0].nanoseconds > 10
    assert results[1].nanoseconds == 0
    assert "of 12 outputs are wrong, the first at (0, 0, " in results[1].reason


def test_tuning_with_a_kernel_that_hangs_its_board_gives_records_that_compile_takes(tmp_path, monkeypatch):
    task = dense_task()
    hanging = task.tilings[1]
    broken = spoiled(task.family, hanging, that_does_not_end)
    families = tuple(broken if one.NAME == broken.NAME else one for one in select.FAMILIES["neon"])
    monkeypatch.setitem(select.FAMILIES, "neon", families)
    monkeypatch.setattr("shufflec.tuning.exchange.user_records", lambda name: tmp_path / f"{name}.jsonl")
    monkeypatch.setattr("shufflec.kernels.records.user_records", lambda name: tmp_path / f"{name}.jsonl")
    monkeypatch.setattr("shufflec.tuning.exchange.cache_dir", lambda *parts: tmp_path)
    monkeypatch.setattr("shufflec.tuning.run.cache_dir", lambda *parts: tmp_path)
    with started_boards(RASP4, 1, timeout_s=8) as boards:
        outcome = tune(graph(), RASP4, lambda: boards, layers="classifier", again=True, trials=3)
    assert outcome.trials == 3 and outcome.wrong == 0
    assert len(outcome.problems) == 1 and outcome.problems[0].startswith("failed: classifier with outputs=")
    assert outcome.before_ms and outcome.after_ms  # the whole network ran, and was right
    records, problems = read_records(tmp_path / "rasp4.jsonl")
    assert not problems and len(records) == 1
    assert records[0].choice in task.tilings and records[0].choice != hanging
    code = build_library(graph(), RASP4, records=load_records("rasp4"))
    assert code.schedules.tuned >= 1 and "your own rasp4.jsonl" in code.schedules.files
    (step,) = [step for step in code.program.steps if step.kernel.workload.kind == "dense"]
    assert step.kernel.tiling == records[0].choice


def test_an_address_without_a_server_ends_in_one_line():
    board = board_at("127.0.0.1:1", timeout_s=2)
    with pytest.raises(Exception, match="refuses connections"):
        board.connect()
