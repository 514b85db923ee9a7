"""Multiply-accumulate of int8 registers into int32x4 sums without dot-product instructions.

SMULL on the lower halves, SMLAL2 on the upper halves, SADALP. Two products of int8 fit an int16 lane unless all
four factors are -128, so weights must not be -128 (`full_range`: they may be; then each product is widened alone).
"""

from __future__ import annotations

from collections.abc import Hashable

from shufflec.kernels.a64.emitter import Emitter, Value


class Sums:
    """int32x4 sums by key. Values of one step are settled together: see Emitter.settle."""

    def __init__(self, e: Emitter, full_range: bool, start: dict[Hashable, Value] | None = None):
        self.e, self.full_range = e, full_range
        self.values: dict[Hashable, Value] = dict(start or {})
        self._step: list[Value] = []

    def multiply(self, key: Hashable, activation: Value, weight: Value, whole: bool = True) -> None:
        """Adds the products of two int8x16 (whole) or int8x8 registers, summed by pairs of neighbours."""
        e = self.e
        if whole:
            products = [
                e.op("smull", "int16x8", half(activation, "int8x8"), half(weight, "int8x8")) for half in (e.low, e.high)
            ]
            if not self.full_range:
                products = [e.add(products[0], products[1], "int16x8")]
        else:
            products = [e.op("smull", "int16x8", activation, weight)]
        for product in products:
            pairs = e.op("saddlp", "int32x4", product)
            if key in self.values:
                self.values[key] = e.add(self.values[key], pairs, "int32x4")
                self._step.append(self.values[key])
            else:
                # LLVM folds the first two SADDLP of a sum into SADDLP + SADALP of the first product, so that
                # is what has to be kept.
                self.values[key] = pairs
                self._step.append(product)

    def settle(self) -> None:
        """Ends a step."""
        self.e.settle(self._step)
        self._step = []

    def __getitem__(self, key: Hashable) -> Value:
        return self.values[key]
