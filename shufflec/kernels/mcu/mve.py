"""Building blocks of the kernels for MVE (Cortex-M55): vectors of 16 bytes or of 4 words.

VMLADAVA adds 16 products to a scalar register; VRMULH is the rule's rounded high word for four channels; loads widen
(VLDRB.S32) and stores narrow (VSTRB.32).
Source: Armv8-M ARM (DDI 0553), C2.4: VMLADAV, VRMULH, VLDRB, VSTRB.
"""

from __future__ import annotations

from tvm import tirx

from shufflec.kernels.a64.emitter import Pointer, Value
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const

LANES = 16


def vectors_of(depth: int) -> int:
    """Vectors of 16 bytes that cover a dot product."""
    return -(-depth // LANES)


def dot(e: MEmitter, a: Value, b: Value, total: Value) -> Value:
    """VMLADAVA.S8: total + the sum of 16 products."""
    return e.arm("mve.vmldava", const(0), const(0), const(0), total, a, b)


def splat(value: Value, lanes: int = 4) -> Value:
    """A scalar in every lane."""
    return tirx.Broadcast(value, lanes)


def four_bytes(e: MEmitter, pointer: Pointer, offset: Value) -> Value:
    """Four int8 as int32x4: VLDRB.S32."""
    return e.bind(tirx.Cast("int32x4", e.load(pointer, offset, "int8x4")), "int32x4")


def four_words(e: MEmitter, values: list[Value]) -> Value:
    """Four scalars as a vector: two VMOV."""
    return e.shuffle(values, range(4), "int32x4")


def finish(
    e: MEmitter, rule: MRule, sums: Value, multiplier: Value, residual: Value = None, factor: Value = None
) -> Value:
    """The int8 results of four accumulators, biases included, as int32x4; residual: int32x4, factor: int32."""
    if rule.left_shift:
        sums = e.bind(tirx.shift_left(sums, splat(const(rule.left_shift))), "int32x4")
    u = e.arm("mve.vrmulh", sums, multiplier, const(0), dtype="int32x4")
    if residual is not None:
        scaled = e.bind(residual * splat(factor), "int32x4")
        u = e.bind(scaled + tirx.shift_left(u, splat(const(rule.lift))), "int32x4")
        return saturated(e, rule, u, rule.digits + rule.lift)
    return saturated(e, rule, u, 0)


def saturated(e: MEmitter, rule: MRule, u: Value, shift: int) -> Value:
    """clamp(sat8(u >> shift)) of four lanes."""
    if shift:
        u = e.bind(tirx.shift_right(u, splat(const(shift))), "int32x4")
    low, high = splat(const(max(rule.low, -128))), splat(const(min(rule.high, 127)))
    return e.bind(tirx.Max(tirx.Min(u, high), low), "int32x4")


def store_four(e: MEmitter, pointer: Pointer, offset: Value, value: Value) -> None:
    """The low bytes of four lanes: VSTRB.32."""
    e.store(pointer, offset, tirx.Cast("int8x4", value), "int8x4")
