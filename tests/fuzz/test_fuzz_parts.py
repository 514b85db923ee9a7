"""Convolutions whose channels go to several tensors, on emulated cores: any parts, any tiling, nothing else written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "kernels"))
from guarded import GuardedCore
from parted import PartedArena, parted_pointwise
from placed import pieces

from shufflec.kernels.a64 import pointwise_parts
from shufflec.kernels.select import families

pytestmark = pytest.mark.board

EFFORT = int(os.environ.get("SHUFFLEC_FUZZ_EFFORT", "1"))
EXAMPLES = 40


@pytest.fixture(scope="module", params=["neon", "dotprod"])
def core(request):
    core = GuardedCore(request.param)
    yield core
    core.close()


def test_parts_equal_the_reference_and_nothing_else_changes(core):
    @settings(max_examples=EXAMPLES * EFFORT, deadline=None, database=None, derandomize=EFFORT == 1)
    @given(
        case=parted_pointwise(),
        choice=st.one_of(st.just(0), st.integers(0, 999)),  # 0 is the default tiling
        seed=st.integers(0, 999),
    )
    def check(case, choice, seed):
        workload, rng = case.workload(core.isa), np.random.default_rng(seed)
        assert families(workload) == [pointwise_parts]
        tilings = pointwise_parts.tilings(workload)
        kernel = pointwise_parts.build(workload, tilings[choice % len(tilings)])
        library = core.load(kernel)
        for at_front in (True, False):
            arena = PartedArena(case, kernel, rng)
            ranges = ((0, kernel.tiles),) if at_front else pieces(kernel.tiles, rng)
            found = arena.wrong(core.run(library, arena.call(ranges, at_front)))
            assert not found, f"{dict(kernel.tiling)}: {found}\n{workload.key}"

    check()
