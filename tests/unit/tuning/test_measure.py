"""Measuring one candidate: checked first, then timed as its board can."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import tvm
from test_case import conv_task

from shufflec.tuning.case import digest, make_case
from shufflec.tuning.library import Candidate
from shufflec.tuning.measure import OK, WRONG, LoadedCandidates


class FakeSession:
    """arena: what the board's arena holds after a call. seconds: of one call of a board that measures."""

    cpu = tvm.cpu()

    def __init__(self, arena: np.ndarray, kind="simulated", seconds=1e-5):
        self.kind, self.arena, self.seconds = kind, arena, seconds
        self.timed: list[tuple] = []

    def upload_module(self, path):
        return {
            "select": lambda *arguments: 0,
            "digest": lambda which: digest(self.arena)[which],
            "arena": lambda tensor: tensor.copyfrom(self.arena),
        }

    def guard(self, action):
        return nullcontext()

    def time_each(self, module, function, empty, count):
        return [SimpleNamespace(simulated_ns=ns) for ns in (25, 9000, 1525)]

    def time(self, module, function, runs, number=1, repeat=1):
        self.timed.append((function, runs, repeat))
        return [self.seconds * runs * factor for factor in (1.0, 1.3, 1.0, 5.0, 1.0)[:repeat]]


@pytest.fixture
def candidate() -> Candidate:
    return Candidate(make_case(conv_task()), ())


def measure(session, candidate):
    return LoadedCandidates(session, None, [candidate], 0).measure(0)


def test_a_virtual_boards_time_is_the_calls_alone(candidate):
    result = measure(FakeSession(candidate.case.expected_arena()), candidate)
    assert (result.outcome, result.nanoseconds, result.kind) == (OK, 1500, "estimated")


def test_a_real_boards_time_is_the_median_over_many_runs(candidate):
    session = FakeSession(candidate.case.expected_arena(), kind="measured")
    result = measure(session, candidate)
    assert (result.outcome, result.nanoseconds, result.kind) == (OK, 10_000, "measured")
    assert session.timed == [("repeat", 1, 1), ("repeat", 200, 5)]


def test_a_wrong_result_is_described_and_never_timed(candidate):
    arena = candidate.case.expected_arena()
    arena[candidate.case.output.offset] ^= 1
    session = FakeSession(arena, kind="measured")
    result = measure(session, candidate)
    assert (result.outcome, result.nanoseconds) == (WRONG, 0)
    assert "1 of 120 outputs are wrong, the first at (0, 0, 0)" in result.reason
    assert session.timed == []
