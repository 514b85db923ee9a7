"""Building blocks of the kernels for cores with the DSP instructions (Cortex-M4, M7, M33).

Two products a cycle need int16 pairs: SXTB16 makes two of them from four bytes, (b0, b2) and with a rotation (b1, b3),
and SMLAD multiplies pair by pair and adds both products. Bytes of weights and activations are split alike, so the order
inside a word does not matter.
Source: Armv7-M ARM (DDI 0403E), A7.7.136 SMLAD, A7.7.182 SXTB16, A7.7.152 SSAT, A7.7.126 SEL.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Value
from shufflec.kernels.mcu.emitter import MEmitter, const

#: int16 pairs that the bytes behind the last whole word of a dot product become.
TAIL_PAIRS = (0, 1, 1, 2)


def split(e: MEmitter, word: Value) -> tuple[Value, Value]:
    """Four bytes as two int16 pairs: (b0, b2) and (b1, b3)."""
    return e.arm("sxtb16", word), e.arm("sxtb16", e.rotated(word))


def dual(e: MEmitter, a: Value, b: Value, total: Value) -> Value:
    """SMLAD: total + a.lo * b.lo + a.hi * b.hi."""
    return e.arm("smlad", a, b, total)


def pair(e: MEmitter, low: Value, high: Value) -> Value:
    """PKHBT: the low halves of two values."""
    mask = tirx.bitwise_and(low, const(0xFFFF))
    return e.bind(tirx.bitwise_or(mask, tirx.shift_left(high, const(16))))


def greater_bytes(e: MEmitter, a: Value, b: Value) -> Value:
    """The greater of each of four bytes: SSUB8 sets the GE flags, SEL reads them. Not pure, so they stay together."""
    for name in ("ssub8", "sel"):
        identifier = e._intrinsic(f"llvm.arm.{name}")
        result = e.bind(tirx.call_llvm_intrin("int32", identifier, a, b))
    return result


def words_of(depth: int, rows: int) -> int:
    """Words of weights of `rows` dot products (1 or 2) that are computed together, see `pack_rows`."""
    return rows * (depth // 4) + TAIL_PAIRS[depth % 4]


def pairs_of(depth: int) -> int:
    """int16 pairs of activations of one dot product."""
    return 2 * (depth // 4) + TAIL_PAIRS[depth % 4]


def pack_rows(weights: np.ndarray) -> np.ndarray:
    """int8 (rows, depth), of one or two rows, as 4 * words_of(depth, rows) bytes.

    Whole words of the first row, then of the second; then a word for each pair of the rest: (first row, second row) of
    its one channel, (first, second) of the other, so that `split` gives the pair of each row.
    """
    rows, depth = weights.shape
    whole = depth // 4 * 4
    tail = np.zeros((2, 2 * TAIL_PAIRS[depth % 4]), np.int8)
    tail[:rows, : depth - whole] = weights[:, whole:]
    return np.concatenate([weights[:, :whole].astype(np.int8).reshape(-1), tail.T.reshape(-1)])
