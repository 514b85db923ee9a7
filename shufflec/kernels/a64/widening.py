"""Multiply-accumulate of int8 registers into int32x4 sums without dot-product instructions.

SMULL on the lower halves, SMLAL2 on the upper halves, SADALP. Two products of int8 fit an int16 lane unless all
four factors are -128, so weights must not be -128 (`full_range`: they may be; then each product is widened alone).

The three depend on each other, 4 cycles apart on the A53 and the A72. An in-order core stands still meanwhile, so a
step takes all its SMULL first, then all SMLAL2, then all SADALP: about four sums a step hide the latency, for as many
temporary registers.
"""

from __future__ import annotations

from collections.abc import Hashable

from shufflec.kernels.a64.emitter import Emitter, Value


class Sums:
    """int32x4 sums by key. The products of one step are computed, and settled, together: see Emitter.settle."""

    def __init__(self, e: Emitter, full_range: bool, start: dict[Hashable, Value] | None = None):
        self.e, self.full_range = e, full_range
        self.values: dict[Hashable, Value] = dict(start or {})
        self._step: list[tuple[Hashable, Value, Value, bool]] = []

    def multiply(self, key: Hashable, activation: Value, weight: Value, whole: bool = True) -> None:
        """Adds the products of two int8x16 (whole) or int8x8 registers, summed by pairs of neighbours, in this step."""
        self._step.append((key, activation, weight, whole))

    def settle(self) -> None:
        """Ends a step: only now its instructions are emitted."""
        lower = [self._product(a, w, self.e.low if whole else None) for _, a, w, whole in self._step]
        upper = [self._product(a, w, self.e.high) if whole else None for _, a, w, whole in self._step]
        finished = []
        if self.full_range:
            for products in (lower, upper):
                finished += self._widen(products)
        else:
            both = zip(lower, upper, strict=True)
            sums = [low if high is None else self.e.add(low, high, "int16x8") for low, high in both]
            finished = self._widen(sums)
        self.e.settle(finished)
        self._step = []

    def _product(self, activation: Value, weight: Value, half) -> Value:
        """int16x8 products; half: which half of int8x16 registers, or None for int8x8."""
        operands = [half(value, "int8x8") for value in (activation, weight)] if half else [activation, weight]
        return self.e.op("smull", "int16x8", *operands)

    def _widen(self, products: list[Value | None]) -> list[Value]:
        """Adds one product to each sum of the step; returns what has to be kept."""
        kept = []
        for (key, *_), product in zip(self._step, products, strict=True):
            if product is None:
                continue
            pairs = self.e.op("saddlp", "int32x4", product)
            if key in self.values:
                self.values[key] = self.e.add(self.values[key], pairs, "int32x4")
                kept.append(self.values[key])
            else:
                # LLVM folds the first two SADDLP of a sum into SADDLP + SADALP of the first product, so that
                # is what has to be kept.
                self.values[key] = pairs
                kept.append(product)
        return kept

    def __getitem__(self, key: Hashable) -> Value:
        return self.values[key]
