"""The rounding rules by name: one a target family, chosen for what its cores do cheaply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shufflec.ir import numerics, numerics_m


@dataclass(frozen=True)
class Rule:
    """How a lowering finds a layer's integer parameters.

    bound: distance from exact rounding, in words. requant: of convolutions and global averages, see choose_requant of
    the rule's module. weighted_sum(ratios, offset): attributes of `add` and `requantize`. average(ratio, counts,
    zero_point, taps): the multiplier table of `avg_pool2d` and its attributes.
    """

    name: str
    bound: str
    requant: Callable[..., object]
    weighted_sum: Callable[[tuple[float, ...], float], dict[str, object]]
    average: Callable[[float, np.ndarray, int, int], tuple[np.ndarray, dict[str, object]]]


def _a64_sum(ratios: tuple[float, ...], offset: float) -> dict[str, object]:
    multipliers, bias, fraction = numerics.choose_sum(ratios, offset)
    return {"multipliers": multipliers, "bias": bias, "fraction": fraction}


def _a64_average(ratio: float, counts: np.ndarray, zero_point: int, taps: int) -> tuple[np.ndarray, dict[str, object]]:
    multiplier, fraction = numerics.choose_average(ratio, counts, zero_point, taps)
    return multiplier, {"fraction": fraction}


A64 = Rule(numerics.RULE, numerics.BOUND, numerics.choose_requant, _a64_sum, _a64_average)
M = Rule(numerics_m.RULE, numerics_m.BOUND, numerics_m.choose_requant, numerics_m.choose_sum, numerics_m.choose_average)
RULES = {rule.name: rule for rule in (A64, M)}


def rule_of(family: str) -> Rule:
    """The rule of a target family."""
    return M if family == "baremetal" else A64
