"""Packs every constant of a program into one blob; steps refer to it by byte offset."""

from __future__ import annotations

import numpy as np

from shufflec.backends.planner import MemoryPlan
from shufflec.backends.program import Program, Step
from shufflec.kernels.kernel import ALIGNMENT, ARENA_SLACK


def pack_constants(program: Program, plan: MemoryPlan) -> tuple[bytes, list[tuple[int, int, int]]]:
    """(blob, offsets of (weights, requant, accumulators) per step). plan: where the targets of a step lie.

    Every array starts at a multiple of ALIGNMENT; equal arrays are stored once; ARENA_SLACK zero bytes end the blob,
    since kernels may read that far behind an array.
    """
    blob = bytearray()
    known: dict[bytes, int] = {}

    def place(array: np.ndarray) -> int:
        data = np.ascontiguousarray(array).tobytes()
        if not data:
            return 0
        if data not in known:
            blob.extend(bytes(-len(blob) % ALIGNMENT))
            known[data] = len(blob)
            blob.extend(data)
        return known[data]

    offsets = [tuple(place(array) for array in placed_constants(step, plan)) for step in program.steps]
    blob.extend(bytes(ARENA_SLACK))
    return bytes(blob), offsets


def placed_constants(step: Step, plan: MemoryPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A step's constants with the offsets of its targets filled in."""
    weights, requant, accumulators = step.constants
    if step.targets:
        offsets = [plan.offset(view.buffer) + view.offset for view in step.targets]
        accumulators = np.concatenate([accumulators[: -len(offsets)], np.array(offsets, np.int32)])
    return weights, requant, accumulators
