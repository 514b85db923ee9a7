"""The ratio of two sides' times, whole and by layer, and how uncertain it is.

`ratio` is the second side's time over the first's; it is uncertain by a factor of 1 + width:

- measured on one device: what the ratio varied by from round to round, at least MEASURED_WIDTH;
- estimated for one board: both times rest on the same model. What the layers with the same code contribute to both
  errs alike and cancels; only the share w of the time that is in layers that differ does not. A part of a network has
  fewer loops to average over, so its error grows with 1 / sqrt(w): width = min(pair x sqrt(w), layer pair x w), with
  the board's figures for whole networks and for single layers (targets/time_model.py);
- otherwise, on different boards say: the two errors are independent, width = sqrt(a^2 + b^2).

Instructions are counted: with one thread their ratio is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Literal

from shufflec.profiling.compare_side import Key, Side
from shufflec.profiling.uncertainty import memory_share

MEASURED_WIDTH = 0.01  # a board's clock varies by about this when nothing else runs on it
_CODE = ("output_shape", "output_dtype", "macs", "weight_bytes", "kernels", "tilings")
Verdict = Literal["faster", "slower", "unsure", "same code", "no time"]


@dataclass(frozen=True)
class Change:
    """From one side to another. ratio: of the times, None without times; low, high: what it may be.

    instruction_ratio: None where one side's are not counted. verdict: of the times.
    """

    ratio: float | None
    low: float | None
    high: float | None
    instruction_ratio: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Pair:
    """Two sides, the second compared with the first."""

    a: Side
    b: Side

    @cached_property
    def alike(self) -> frozenset[Key]:
        """Layers that are the same code over the same shapes on both sides: their figures err alike."""
        a, b = self.a, self.b
        mine, its = a.places(), b.places()
        return frozenset(
            key
            for key in mine.keys() & its.keys()
            if all(getattr(a.layers[mine[key]], name) == getattr(b.layers[its[key]], name) for name in _CODE)
            and a.profile.layers[mine[key]].instructions == b.profile.layers[its[key]].instructions
            and a.target.isa == b.target.isa
        )

    @property
    def comparable(self) -> bool:
        """Whether both have times: a board without a time model only counts instructions."""
        return "counted" not in (self.a.kind, self.b.kind)

    @property
    def measured(self) -> bool:
        return self.a.kind == self.b.kind == "measured"

    @property
    def one_model(self) -> bool:
        """Whether both are estimates for one board."""
        return self.a.board == self.b.board and self.a.kind == self.b.kind == "estimated"

    def whole(self) -> tuple[Change, str]:
        """The whole networks, and what the uncertainty rests on, in words."""
        if not self.comparable:
            return self._change(None, None, None), "instructions only: one of the boards has no time model"
        if self.measured:
            width = _spread(*self._times(None, None))
            return self._change(None, None, width), f"measured, {len(self.a.rounds)} rounds in turn"
        if not self.one_model:
            why = "different boards" if self.a.board != self.b.board else "one is estimated, one measured"
            return self._change(None, None, self._widths()[0]), f"{why}: their errors are independent"
        if self.a.library_sha256 == self.b.library_sha256:
            return self._change(None, None, 0.0, "same code"), "the same code on the same board"
        differing = max(self._differing(self.a), self._differing(self.b))
        pair, layer = self._widths()
        width = min(pair * math.sqrt(differing), layer * differing)
        words = f"the same board by the same model, {100 * differing:.0f} % of the time in layers that differ"
        return self._change(None, None, width), words

    def layer(self, key: Key) -> Change | None:
        """One layer; None where a side has no such layer."""
        i, j = self.a.places().get(key), self.b.places().get(key)
        if i is None or j is None:
            return None
        if not self.comparable:
            return self._change(i, j, None)
        if self.measured:
            return self._change(i, j, _spread(*self._times(i, j)))
        width = self._widths()[1]
        if self.one_model and key in self.alike:
            # Only what the caches hold differs; that difference errs by what a layer errs by.
            x, y = self.a.milliseconds(i), self.b.milliseconds(j)
            return self._change(i, j, width * abs(y / x - 1) if x > 0 else 0.0, "same code")
        return self._change(i, j, width)

    def _widths(self) -> tuple[float, float]:
        """For two networks that differ in all layers, and for two layers with different code."""
        if not self.one_model:
            both = [_independent(side) for side in (self.a, self.b)]
            return math.hypot(*(whole for whole, _ in both)), math.hypot(*(layer for _, layer in both))
        most = max(memory_share(side.profile.whole.estimate) for side in (self.a, self.b))
        both = [
            side.target.time.ratio_percents(side.target.clock_hz, side.profile.threads, most)
            for side in (self.a, self.b)
        ]
        return max(whole for whole, _ in both) / 100, max(layer for _, layer in both) / 100

    def _differing(self, side: Side) -> float:
        """Share of a side's time in layers that are not `alike`."""
        places = side.places()
        total = sum(layer.milliseconds for layer in side.profile.layers)
        same = sum(side.profile.layers[places[key]].milliseconds for key in self.alike)
        return max(0.0, 1 - same / total) if total else 1.0

    def _times(self, i: int | None, j: int | None) -> tuple[list[float], list[float]]:
        return self.a.times(i), self.b.times(j)

    def _change(self, i: int | None, j: int | None, width: float | None, verdict: Verdict | None = None) -> Change:
        """width: None where there are no times."""
        before, after = self.a.instructions(i), self.b.instructions(j)
        instructions = after / before if before and after is not None else None
        if width is None or self.a.milliseconds(i) <= 0:
            return Change(None, None, None, instructions, "no time")
        ratio = median(_ratios(*self._times(i, j)))
        low, high = ratio / (1 + width), ratio * (1 + width)
        if verdict is None:
            verdict = "faster" if high < 1 else "slower" if low > 1 else "unsure"
        return Change(ratio, low, high, instructions, verdict)


def _independent(side: Side) -> tuple[float, float]:
    """A side's own error, of its network and of a layer, as fractions."""
    percent = side.uncertainty_percent
    if percent is None:
        return MEASURED_WIDTH, MEASURED_WIDTH
    share = memory_share(side.profile.whole.estimate)
    _, layer = side.target.time.ratio_percents(side.target.clock_hz, side.profile.threads, share)
    return percent / 100, layer / 100 / math.sqrt(2)


def _ratios(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """One a round where there are as many; else of the medians."""
    if len(before) != len(after) or min(before) <= 0:
        return [median(after) / median(before)]
    return [y / x for x, y in zip(before, after, strict=True)]


def _spread(before: Sequence[float], after: Sequence[float]) -> float:
    """By how much the ratio varied between rounds."""
    if median(before) <= 0:
        return MEASURED_WIDTH
    ratios = _ratios(before, after)
    middle = median(ratios)
    return max([MEASURED_WIDTH, *(abs(ratio / middle - 1) for ratio in ratios if middle > 0)])
