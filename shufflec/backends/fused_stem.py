"""The first convolution and the max pool behind it as one operator, whose kernel never has the convolution whole.

    before   stem = conv2d(image); stem.pool = max_pool2d(stem)
    after    stem.pool = stem_pool(image)

`stem_pool` has the attributes and constants of the convolution, and the pool's as pool_kernel, pool_stride, pool_pad
(reference.py). Its layer is the pool's, with the convolution's work.
"""

from __future__ import annotations

import numpy as np

from shufflec.ir.graph import Graph, Op

KIND = "stem_pool"


def fused_stems(graph: Graph) -> dict[str, tuple[Op, Op]]:
    """By the name of the pool: (the convolution, the operator that does both).

    A convolution counts that has a window, no groups, no shuffle, no residual and no reader but the pool, and whose
    requantization is monotone, which it is unless a multiplier is negative.
    """
    found = {}
    for op in graph.ops:
        readers = graph.consumers(op.output)
        if op.kind != "conv2d" or len(op.inputs) != 1 or [reader.kind for reader in readers] != ["max_pool2d"]:
            continue
        plain = op.attrs["groups"] == 1 and op.attrs.get("shuffle_rows", 1) == 1
        monotone = bool(np.all(op.constants["multiplier"] >= 0))
        if plain and monotone and op.constants["weight"].shape[1:3] != (1, 1) and op.output != graph.output:
            pool = readers[0]
            attrs = op.attrs | {f"pool_{name}": tuple(pool.attrs[name]) for name in ("kernel", "stride", "pad")}
            found[pool.name] = op, Op(KIND, pool.name, op.inputs, pool.output, attrs, op.constants)
    return found
