"""What a kernel packs reaches the program, also where its operator has no constants of its own."""

from __future__ import annotations

import numpy as np
from integer_graphs import GraphBuilder

from shufflec.backends.layout import lay_out
from shufflec.kernels.kernel import Kernel, Packed, Workload


def test_a_shuffles_table_is_packed(monkeypatch):
    table = np.arange(16, dtype=np.int8)

    def with_table(workload: Workload) -> Kernel:
        packed = Packed(table) if workload.kind == "channel_shuffle" else Packed()
        return Kernel(workload, (), "none", None, 1, 0, lambda constants: packed)

    b = GraphBuilder(0, 8, 8)
    x = b.shuffle(b.conv2d(b.quantize(), 24), 8)
    program = lay_out(b.finish(b.dequantize(b.dense(b.global_avg_pool(x), 3))), "neon", with_table)
    (shuffle,) = [step for step in program.steps if step.kernel.workload.kind == "channel_shuffle"]
    assert np.array_equal(shuffle.constants[0], table)
