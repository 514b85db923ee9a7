"""Multiply-accumulate of int8 registers into int32x4 sums without dot-product instructions.

SMULL on the lower halves, SMLAL2 on the upper halves, SADALP. Two products of int8 fit an int16 lane unless all
four factors are -128, so weights must not be -128 (`full_range`: they may be; then each product is widened alone).

The three depend on each other, 4 cycles apart on the A53 and the A72. An in-order core stands still meanwhile, so a
step takes all its SMULL first, then all SMLAL2, then all SADALP: about four sums a step hide the latency, for as many
temporary registers.

Registers multiplied into the same sum in one step share a lane: four products and only one SADALP for two of them.
That is for weights whose magnitudes allow it, see chains.py.
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
        products: dict[Hashable, Value] = {}
        kept = []
        for members in self._rounds():
            for half in (self.e.low, self.e.high):
                for key, activation, weight, whole in members:
                    if not whole and half == self.e.high:
                        continue
                    product = self._product(activation, weight, half if whole else None)
                    known = None if self.full_range else products.get(key)
                    products[key] = product if known is None else self.e.add(known, product, "int16x8")
                if self.full_range:
                    kept += [self._widen(key, product) for key, product in products.items()]
                    products = {}
        kept += [self._widen(key, product) for key, product in products.items()]
        self.e.settle(kept)
        self._step = []

    def _rounds(self) -> list[list[tuple[Hashable, Value, Value, bool]]]:
        """The step's members: those that come first for their sum, those that come second, and so on."""
        rounds: list[list[tuple[Hashable, Value, Value, bool]]] = []
        seen: dict[Hashable, int] = {}
        for member in self._step:
            number = seen[member[0]] = seen.get(member[0], -1) + 1
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(member)
        return rounds

    def _product(self, activation: Value, weight: Value, half) -> Value:
        """int16x8 products; half: which half of int8x16 registers, or None for int8x8."""
        operands = [half(value, "int8x8") for value in (activation, weight)] if half else [activation, weight]
        return self.e.op("smull", "int16x8", *operands)

    def _widen(self, key: Hashable, product: Value) -> Value:
        """Adds a product to a sum; returns what has to be kept."""
        pairs = self.e.op("saddlp", "int32x4", product)
        if key in self.values:
            self.values[key] = self.e.add(self.values[key], pairs, "int32x4")
            return self.values[key]
        # LLVM folds the first two SADDLP of a sum into SADDLP + SADALP of the first product, so that is what has to
        # be kept.
        self.values[key] = pairs
        return product

    def __getitem__(self, key: Hashable) -> Value:
        return self.values[key]
