"""The TIR emitter with what Cortex-M kernels need: scalar helpers, Arm intrinsics, and the rule m-q31.

Kernels have the interface of kernels/kernel.py, with `accumulators` as the per-channel table of the rule: channel c has
accumulator_bias at 2c and multiplier at 2c + 1, so that one LDRD fetches both (8 bytes a channel). `requant` holds the
residual's multiplier. Layouts differ from the ARM Linux targets': inputs too may have a pitch and a row of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.kernel import Workload


def const(value: int, dtype: str = "int32") -> Value:
    """A typed constant."""
    return tirx.const(value, dtype)


class MEmitter(Emitter):
    """Builds one kernel function for a Cortex-M core."""

    def byte(self, pointer: Pointer, offset: Value) -> tirx.Var:
        """An int8 element, sign-extended: LDRSB."""
        return self.bind(tirx.Cast("int32", tirx.BufferLoad(pointer.buffer, [offset])))

    def half(self, pointer: Pointer, offset: Value) -> tirx.Var:
        """An int16 element, sign-extended: LDRSH."""
        return self.byte(pointer, offset)

    def word(self, pointer: Pointer, offset: Value) -> tirx.Var:
        """Four bytes at any address as an int32: LDR, which Armv7-M and later take unaligned."""
        return self.bind(tirx.reinterpret("int32", self.load(pointer, offset, "int8x4")))

    def put_byte(self, pointer: Pointer, offset: Value, value: Value) -> None:
        """Stores the low byte: STRB."""
        self.store(pointer, offset, tirx.Cast("int8", value), "int8")

    def put_word(self, pointer: Pointer, offset: Value, value: Value) -> None:
        """Stores four bytes at any address: STR."""
        self.store(pointer, offset, tirx.reinterpret("int8x4", value), "int8x4")

    def arm(self, name: str, *args: Value, dtype: str = "int32") -> tirx.Var:
        """An intrinsic `llvm.arm.<name>` without side effects."""
        return self.bind(tirx.call_llvm_pure_intrin(dtype, self._intrinsic(f"llvm.arm.{name}"), *args), dtype)

    def rotated(self, value: Value) -> tirx.Var:
        """Rotated right by a byte; folds into SXTB16 with ROR #8."""
        identifier = self._intrinsic("llvm.fshr")
        return self.bind(tirx.call_llvm_pure_intrin("int32", identifier, value, value, const(8)))

    def clamped(self, value: Value, low: int, high: int) -> tirx.Var:
        """min(max(value, low), high)."""
        return self.bind(tirx.Min(tirx.Max(value, const(low)), const(high)))


@dataclass(frozen=True)
class MRule:
    """The scalar part of ir/numerics_m.py for one workload. dsp: use SSAT."""

    left_shift: int
    digits: int
    lift: int
    low: int
    high: int
    dsp: bool = False

    @staticmethod
    def of(workload: Workload, dsp: bool = False) -> MRule:
        """The rule of a convolution's or global average's workload."""
        names = ("left_shift", "digits", "lift", "clamp_min", "clamp_max")
        return MRule(*(int(workload[name]) for name in names), dsp=dsp)

    def finish(self, e: MEmitter, acc: Value, multiplier: Value, residual: Value = None, factor: Value = None) -> Value:
        """The int8 result of an accumulator (its bias included) as int32; residual: int32, factor: its multiplier."""
        if self.left_shift:
            acc = e.bind(tirx.shift_left(acc, const(self.left_shift)))
        product = tirx.Cast("int64", acc) * tirx.Cast("int64", multiplier) + const(1 << 31, "int64")
        u = e.bind(tirx.Cast("int32", tirx.shift_right(product, const(32, "int64"))))
        shift = 0
        if residual is not None:
            scaled = e.bind(residual * factor)
            u = e.bind(scaled + tirx.shift_left(u, const(self.lift)))
            shift = self.digits + self.lift
        return self.saturated(e, u, shift)

    def saturated(self, e: MEmitter, u: Value, shift: int) -> Value:
        """clamp(sat8(u >> shift))."""
        if shift:
            u = e.bind(tirx.shift_right(u, const(shift)))
        if self.dsp:
            u = e.arm("ssat", u, const(8))
        elif self.low == -128 or self.high == 127:
            u = e.clamped(u, -128, 127)
        if self.low > -128:
            u = e.bind(tirx.Max(u, const(self.low)))
        if self.high < 127:
            u = e.bind(tirx.Min(u, const(self.high)))
        return u


def table(constants: dict[str, np.ndarray]) -> np.ndarray:
    """The per-channel table: int32 (C, 2), accumulator_bias and multiplier."""
    return np.stack([constants["accumulator_bias"], constants["multiplier"]], axis=1).astype(np.int32)


def residual_factor(constants: dict[str, np.ndarray]) -> np.ndarray:
    """int16: the residual's multiplier, or nothing."""
    return np.asarray(constants.get("residual_multiplier", np.zeros(0)), np.int16).reshape(-1)
