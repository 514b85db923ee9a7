"""Cases that random ones hardly meet, where a bound of a kernel would be a little too wide or too narrow."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "kernels"))
from guarded import GuardedCore
from operators import Operator
from placed import case_of, wrong

from shufflec.ir.graph import Op

pytestmark = pytest.mark.board


@pytest.fixture(scope="module", params=["neon", "dotprod"])
def core(request):
    core = GuardedCore(request.param)
    yield core
    core.close()


def check(core: GuardedCore, operator: Operator, tilings: int = 1) -> None:
    """The first tilings of an operator's kernel, with the scratch, or else the output, right in front of the slack."""
    case = case_of(operator, core.isa)
    for choice in range(min(tilings, len(case.kernels()))):
        kernel = case.build(choice)
        found = wrong(core, case, kernel, "scratch" if kernel.scratch_bytes else "out", seed=choice)
        assert not found, f"{kernel.family} {dict(kernel.tiling)}: {found}\n{case.workload.key}"


def average(plane: tuple[int, int], value: int) -> Operator:
    """The average of a plane that has one value everywhere; the output is 0.9 of it, so no sum is hidden."""
    pixels, fraction = plane[0] * plane[1], 6
    real = 0.9 * 2.0 ** (fraction + 15) / pixels
    shift = int(np.clip(np.log2(32767 / real), 1, 16))
    constants = {
        "multiplier": np.array([real * 2.0**shift], np.int16),
        "bias": np.zeros(1, np.int16),
        "accumulator_bias": np.zeros(1, np.int32),
    }
    attrs = {"shift": shift, "fraction": fraction, "clamp_min": -128, "clamp_max": 127, "zero_point": 0}
    x = np.full((*plane, 24), value, np.int8)
    return Operator(Op("global_avg_pool", "case", ("x",), "y", attrs, constants), (x,))


@pytest.mark.parametrize("value", [-128, 127])
@pytest.mark.parametrize("plane", [(1, 127), (8, 16), (3, 43), (1, 257), (32, 32)])
def test_a_plane_of_extremes_does_not_overflow_a_partial_sum(core, plane, value):
    check(core, average(plane, value))


@pytest.mark.parametrize(
    "groups, outputs, rows", [(14, 1, 1), (15, 1, 1), (16, 1, 8), (16, 2, 1), (16, 2, 8), (16, 3, 8)]
)
def test_rows_of_scratch_do_not_touch_each_other_or_what_is_behind(core, groups, outputs, rows):
    """Groups of fewer than four outputs: four are stored, so that a pixel's last group writes up to three bytes beyond
    its channels, which fill its row of scratch but for the margin."""
    rng = np.random.default_rng(outputs)
    channels, depth = groups * outputs, 12
    constants = {
        "multiplier": rng.integers(9000, 20000, channels).astype(np.int16),
        "bias": rng.integers(-500, 500, channels).astype(np.int16),
        "accumulator_bias": np.zeros(channels, np.int32),
        "weight": rng.integers(-127, 128, (channels, 1, 1, depth)).astype(np.int8),
        "pad_value": np.zeros(groups * depth, np.int8),
    }
    attrs = {"shift": 3, "fraction": 5, "clamp_min": -128, "clamp_max": 127}
    attrs |= {"groups": groups, "stride": (1, 1), "pad": (0, 0, 0, 0), "shuffle_rows": rows}
    x = rng.integers(-128, 128, (3, 5, groups * depth)).astype(np.int8)
    check(core, Operator(Op("conv2d", "case", ("x",), "y", attrs, constants), (x,), slice_of=channels), tilings=4)
