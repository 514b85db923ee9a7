"""Every A64 kernel family equals the integer reference bit for bit, on emulated cores, and writes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from cases import (
    conv_case,
    copy_case,
    dense_case,
    depthwise_case,
    global_pool_case,
    pad_case,
    pool_case,
    quantize_case,
    stem_case,
    stem_pool_case,
    sum_case,
)
from emulated import Case, run_cases

from shufflec.kernels.a64 import pointwise_conv2d, pointwise_cost
from shufflec.kernels.a64.pointwise_cost import CHAINS, DOT, LANES, RESIDENT, SCRATCH
from shufflec.kernels.kernel import Workload
from shufflec.kernels.portable.families import PREFIX
from shufflec.kernels.select import select

pytestmark = pytest.mark.board

ISAS = ("neon", "dotprod")


def check(cases: list[Case], folder) -> None:
    """Runs the cases and names the ones that are wrong."""
    results = run_cases(cases, folder)
    wrong = [
        f"{case.name} {case.kernel.tiling}: {what}" for case, (what, _) in zip(cases, results, strict=True) if what
    ]
    assert not wrong, "\n".join(wrong)
    assert not [case.name for case in cases if case.kernel.family.startswith(PREFIX)]


def partly(case: Case) -> Case:
    """The same case with only its second tile computed."""
    case.tiles = (1, 2)
    return case


@pytest.mark.parametrize("isa", ISAS)
def test_pointwise_shapes(isa, tmp_path):
    rng = np.random.default_rng(11)
    at = (rng, select, isa)
    cases = [
        conv_case(*at, 5, 7, 3, 80, 20, rows=3),
        conv_case(*at, 4, 4, 8, 48, 12, rows=8, relu=True),
        conv_case(*at, 3, 5, 8, 12, 3, rows=8),  # fewer than four outputs a group
        conv_case(*at, 3, 3, 8, 12, 17, rows=8),  # a rest of one column
        conv_case(*at, 3, 3, 8, 16, 25, rows=8),
        conv_case(*at, 3, 3, 8, 16, 9, rows=8),
        conv_case(*at, 3, 3, 8, 3, 12, residual=9000),
        conv_case(*at, 6, 6, 1, 24, 60, rows=3, row=8),  # rows of a padded buffer
        conv_case(*at, 6, 5, 3, 20, 72, pitch=240, channel=24),  # a slice of a concat
        conv_case(*at, 7, 7, 8, 12, 45, pitch=384, channel=24, bias=True),
        conv_case(*at, 7, 7, 3, 40, 160, residual=12345, relu=True, bias=True),
        conv_case(*at, 7, 7, 2, 33, 50, rows=2, bias=True),
        conv_case(*at, 5, 5, 4, 70, 68, rows=4, pre_shift=True),
        conv_case(*at, 1, 1, 1, 100, 37, pre_shift=True, bias=True),
        conv_case(*at, 2, 9, 1, 720, 24, bias=True),  # the loop over channels
        conv_case(*at, 4, 4, 2, 17, 10, full_range=True, extreme=True),
        conv_case(*at, 4, 4, 2, 96, 12, full_range=True, extreme=True),
        conv_case(*at, 4, 4, 2, 96, 24, extreme=True, residual=32767),
        conv_case(*at, 5, 3, 1, 15, 30, rows=10),  # a shuffle of many rows
        conv_case(*at, 5, 3, 2, 16, 35, rows=35),
        partly(conv_case(*at, 9, 9, 3, 20, 20, residual=700)),
        partly(conv_case(*at, 9, 9, 3, 80, 20, rows=3, row=11)),
    ]
    check(cases, tmp_path)


@pytest.mark.parametrize("isa", ISAS)
def test_inverse_shuffles(isa, tmp_path):
    """As many columns as groups, over more channels than a table takes."""
    rng = np.random.default_rng(13)
    at = (rng, select, isa)
    cases = [
        conv_case(*at, 3, 3, 8, 16, 12, rows=12),
        conv_case(*at, 3, 3, 8, 16, 24, rows=24),
        conv_case(*at, 2, 3, 3, 20, 40, rows=40),
        conv_case(*at, 2, 3, 4, 17, 34, rows=34),
        conv_case(*at, 3, 2, 2, 25, 50, rows=50),
        copy_case(*at, 2, 5, 8 * 21, rows=21),
    ]
    check(cases, tmp_path)


@pytest.mark.parametrize("isa", ISAS)
def test_pointwise_tilings(isa, tmp_path):
    """Tilings other than the default: every micro-kernel, odd and even numbers of blocks, every scheduling model."""
    rng = np.random.default_rng(12)

    def choose(tiling: tuple[int, int, int, int]):
        names = ("form", "pixels", "blocks", "schedule")

        def chosen(workload: Workload):
            named = tuple(zip(names, tiling, strict=True))
            assert named[:3] in pointwise_cost.legal(workload)
            return pointwise_conv2d.build(workload, named)

        return chosen

    tilings = [(LANES, 2, 3, 1), (LANES, 6, 1, 0), (RESIDENT, 1, 2, 2), (RESIDENT, 2, 5, 0), (SCRATCH, 7, 3, 1)]
    tilings += [(CHAINS, 4, 4, 1), (CHAINS, 3, 5, 0), (CHAINS, 1, 1, 2)]
    if isa == "dotprod":
        tilings = [(DOT, 7, 3, 0), (DOT, 6, 4, 1), (DOT, 3, 7, 2), (DOT, 1, 1, 0)]
    check(
        [
            conv_case(rng, choose(t), isa, 5, 5, 2, 36, 44, bias=bool(i % 2), residual=5000 * (i % 3), pre_shift=i == 2)
            for i, t in enumerate(tilings)
        ],
        tmp_path,
    )


@pytest.mark.parametrize("tile, blocks", [(4, 4), (3, 5), (8, 2)])
def test_four_products_in_a_lane(tile, blocks, tmp_path):
    """Weights that all, some or none of the lanes can share, and sums at the very ends of int16."""
    rng = np.random.default_rng(14)

    def chains(workload: Workload):
        return pointwise_conv2d.build(
            workload, (("form", CHAINS), ("pixels", tile), ("blocks", blocks), ("schedule", 1))
        )

    at = (rng, chains, "neon")
    check(
        [
            conv_case(*at, 3, 5, 2, 80, 20, largest=40),
            conv_case(*at, 3, 5, 2, 40, 24, largest=90, bias=True),
            conv_case(*at, 3, 5, 1, 52, 48, largest=70, residual=4000),
            conv_case(*at, 3, 5, 2, 160, 20, weight_value=64, extreme=True),  # 4 x 64 x -128: the least int16
            conv_case(*at, 3, 5, 2, 48, 20, weight_value=-64, extreme=True),  # one more than the greatest
            conv_case(*at, 3, 5, 2, 48, 20, weight_value=-63, extreme=True),
            conv_case(*at, 3, 5, 1, 36, 20, weight_value=127, extreme=True),
            conv_case(*at, 3, 5, 3, 4, 20, weight_value=1),  # a single quad
        ],
        tmp_path,
    )


@pytest.mark.parametrize("isa", ISAS)
def test_windows_and_vectors(isa, tmp_path):
    rng = np.random.default_rng(13)
    at = (rng, select, isa)
    cases = [
        stem_case(*at, 9, 24),
        stem_case(*at, 5, 26, bias=True, pre_shift=True),
        stem_case(*at, 4, 12, full_range=True, extreme=True),
        stem_pool_case(*at, (20, 24), 24, bias=True),
        stem_pool_case(*at, (13, 131), 26, pre_shift=True, pitch=40, channel=8),
        stem_pool_case(*at, (12, 12), 24, pool_pad=(0, 0, 1, 1), bias=True),
        stem_pool_case(*at, (9, 10), 12, depth=1, full_range=True, extreme=True),
        partly(stem_pool_case(*at, (33, 16), 16)),
        depthwise_case(*at, 4, 9, 60, 1),
        depthwise_case(*at, 7, 5, 15, 2, bias=True, pre_shift=True),
        depthwise_case(*at, 3, 3, 32, 1, full_range=True, extreme=True, row=5),
        partly(depthwise_case(*at, 6, 4, 24, 2, bias=True)),
        pool_case(*at, "max_pool2d", 5, 6, 24),
        pool_case(*at, "avg_pool2d", 5, 6, 20, pitch=60, channel=40),
        pool_case(*at, "avg_pool2d", 4, 3, 9, uniform=False),
        global_pool_case(*at, 7, 7, 72),
        global_pool_case(*at, 15, 20, 9),
        dense_case(*at, 240, 50),
        dense_case(*at, 99, 7, full_range=True, extreme=True),
        quantize_case(*at, 6, 37, 3, (0, 1, 2, 0)),
        quantize_case(*at, 3, 16, -128, (1, 1, 1, 1)),
        pad_case(*at, 5, 7, 13, (0, 1, 2, 0), None),
        pad_case(*at, 6, 6, 24, (1, 1, 1, 1), -128),
        copy_case(*at, 4, 5, 24, rows=8),
        copy_case(*at, 4, 5, 6, rows=3),
        copy_case(*at, 3, 5, 20, pitch=33, channel=13),
        sum_case(*at, 3, 5, 9, 2, pitch=12, channel=3),
        sum_case(*at, 3, 5, 40, 1),
    ]
    check(cases, tmp_path)
