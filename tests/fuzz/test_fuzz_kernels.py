"""Every kernel family on emulated cores: any shape, any tiling, values up to the extremes, buffers between guard pages.

Each example is computed twice, once as a whole and once in pieces and in another order; both equal the reference bit
for bit, nothing else in the arena changes, and nothing outside a buffer is touched but the slack that kernel.py grants.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "kernels"))
import operators
from guarded import GuardedCore
from placed import case_of, wrong

pytestmark = pytest.mark.board

#: Examples of a strategy and ISA are its share times this; `make fuzz` sets more.
EFFORT = int(os.environ.get("SHUFFLEC_FUZZ_EFFORT", "1"))
SHARES = {
    operators.pointwise: 60,
    operators.stem: 24,
    operators.stem_pool: 24,
    operators.depthwise: 30,
    operators.pool: 24,
    operators.global_pool: 16,
    operators.dense: 16,
    operators.weighted_sum: 16,
    operators.movement: 16,
    operators.padding: 10,
    operators.quantize: 16,
    operators.dequantize: 2,
}


@pytest.fixture(scope="module", params=["neon", "dotprod"])
def core(request):
    core = GuardedCore(request.param)
    yield core
    core.close()


@pytest.mark.parametrize("strategy", SHARES, ids=lambda strategy: strategy.__name__)
def test_kernels_equal_the_reference_and_stay_in_their_buffers(core, strategy):
    @settings(max_examples=SHARES[strategy] * EFFORT, deadline=None, database=None, derandomize=EFFORT == 1)
    @given(
        operator=strategy(),
        choice=st.one_of(st.just(0), st.integers(0, 999)),  # 0 is the default tiling
        last=st.sampled_from(["in0", "in1", "out", "scratch"]),
        seed=st.integers(0, 999),
    )
    def check(operator, choice, last, seed):
        case = case_of(operator, core.isa)
        kernel = case.build(choice)
        found = wrong(core, case, kernel, last, seed)
        assert not found, f"{kernel.family} {dict(kernel.tiling)}: {found}\n{case.workload.key}"

    check()
