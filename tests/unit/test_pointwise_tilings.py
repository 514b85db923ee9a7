"""The space of tilings of a 1x1 convolution, as tuning sees it."""

from __future__ import annotations

import pytest

from shufflec.kernels.a64 import pointwise_conv2d, pointwise_cost
from shufflec.kernels.kernel import Workload

SHAPES = [
    (28, 24, 60, 1),
    (28, 80, 20, 3),
    (14, 40, 160, 3),
    (7, 320, 80, 3),
    (14, 12, 48, 8),
    (7, 3, 12, 8),
    (1, 9, 3, 2),
]


def workload(isa: str, size: int, depth: int, outputs: int, groups: int, full_range: bool = False) -> Workload:
    return Workload.of(
        "conv2d", isa, height=size, width=size, in_channels=groups * depth, out_channels=groups * outputs,
        groups=groups, out_pitch=groups * outputs, out_row=size, shift=5, fraction=6, clamp_min=-128, clamp_max=127,
        residual_multiplier=0, accumulator_bias=False, shuffle_rows=1, full_range_weights=full_range,
    )  # fmt: skip


@pytest.mark.parametrize("isa", ["neon", "dotprod"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_space_is_small_and_has_every_default(isa, shape):
    case = workload(isa, *shape)
    space = pointwise_conv2d.tilings(case)
    assert 3 <= len(space) <= 16 and len(set(space)) == len(space)
    assert space == pointwise_conv2d.tilings(case)
    legal = pointwise_cost.legal(case)
    assert all(tiling[:3] in legal for tiling in space)
    assert pointwise_conv2d.default(case, "") == space[0]
    for core in ("cortex-a53", "cortex-a72", "cortex-a76"):
        assert pointwise_conv2d.default(case, core) in space


def test_cores_may_differ_in_their_default():
    cases = [workload("neon", *shape) for shape in SHAPES]
    assert any(
        pointwise_conv2d.default(case, "cortex-a53") != pointwise_conv2d.default(case, "cortex-a72") for case in cases
    )


def test_weights_of_minus_128_share_no_lane():
    forms = {dict(tiling)["form"] for tiling in pointwise_cost.legal(workload("neon", 14, 160, 40, 3, full_range=True))}
    assert pointwise_cost.CHAINS not in forms and pointwise_cost.LANES in forms
