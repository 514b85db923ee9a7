"""A task as one kernel call with a known result: where its tensors lie, what is in them, what must come out.

The arena up to `checked_bytes` is filled with pseudo-random bytes, which a board computes itself from the seed, so the
input is whatever lies in its place. Afterwards the output must equal ir/reference.py and every other byte must be as
before. Instead of the arena itself a board returns a digest of it: two sums of its 64-bit words, each word times an odd
number that depends on its place. One wrong word always shows; several that hide each other have a chance of 2^-126.

`mix` is native/tuning.c's function of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from shufflec.backends.program import View
from shufflec.ir import reference
from shufflec.kernels.kernel import ALIGNMENT, Workload
from shufflec.tuning.tasks import COPY, PAD, Task

SEED = 20_240_601
_WORD = 8
_SEPARATE = ALIGNMENT  # bytes between tensors, so that a write next to one shows


def mix(index: np.ndarray) -> np.ndarray:
    """A well mixed uint64 for each uint64 (splitmix64 by Steele, Lea and Flood, 2014)."""
    z = (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def filled(size: int, seed: int = SEED) -> np.ndarray:
    """int8 (size,), size a multiple of 8: what a board fills its arena with."""
    return mix(np.arange(size // _WORD, dtype=np.uint64) + np.uint64(seed)).view(np.int8)


def digest(arena: np.ndarray) -> tuple[int, int]:
    """The two sums over an arena, int8 with a multiple of 8 bytes, as signed 64-bit numbers."""
    words = arena.view(np.uint64)
    places = mix(np.arange(len(words), dtype=np.uint64))
    first = np.sum(words * (places | np.uint64(1)), dtype=np.uint64)
    second = np.sum((words ^ (words >> np.uint64(32))) * (mix(places) | np.uint64(1)), dtype=np.uint64)
    return int(first.view(np.int64)), int(second.view(np.int64))


@dataclass(frozen=True)
class Case:
    """inputs, output: where the tensors of the call lie. checked_bytes: of the arena; the scratch comes after them.
    expected: the output, (H, W, C)."""

    task: Task
    inputs: tuple[View, ...]
    output: View
    checked_bytes: int
    expected: np.ndarray

    def expected_arena(self) -> np.ndarray:
        """int8 (checked_bytes,) after a right call."""
        arena = filled(self.checked_bytes)
        arena[self._index()] = self.expected.reshape(-1).view(np.int8)
        return arena

    def difference(self, arena: np.ndarray) -> str:
        """What is wrong in an arena after a call, in one line."""
        view, wanted = self.output, self.expected
        found = arena[self._index()].view(wanted.dtype).reshape(wanted.shape)
        wrong = np.argwhere(found != wanted)
        if len(wrong):
            place = tuple(map(int, wrong[0]))
            where = ", ".join(map(str, place))
            value = f"the first at ({where}) is {found[place]}, expected {wanted[place]}"
            return f"{len(wrong)} of {wanted.size} outputs are wrong, {value}"
        elsewhere = np.flatnonzero(arena != self.expected_arena())
        return f"byte {elsewhere[0]} beside the output at {view.offset} was changed" if len(elsewhere) else "nothing"

    def _index(self) -> np.ndarray:
        """Byte offsets of the output in the arena, in the order of its dense bytes."""
        view = self.output
        height, width, channels = view.shape
        item = np.dtype(view.dtype).itemsize
        pixels = (np.arange(height)[:, None] * view.row + np.arange(width)) * view.pitch
        return (view.offset + pixels.reshape(-1, 1) + np.arange(channels * item)).reshape(-1)


def make_case(task: Task) -> Case:
    """Lays a task out and computes what it must give."""
    workload = task.workload
    at, inputs = 0, []
    for number, shape in enumerate(input_shapes(workload)):
        inputs.append(View(f"in{number}", "", at, shape, shape[2], shape[1]))
        at += _aligned(prod(shape)) + _SEPARATE
    random = filled(at)
    values = [random[view.offset : view.offset + view.nbytes].reshape(view.shape) for view in inputs]
    expected = expected_output(task, values)
    params = dict(workload.params)
    pitch = params.get("out_pitch", expected.shape[2] * expected.itemsize)
    row = params.get("out_row", expected.shape[1])
    if params.get("in_place"):  # over its residual
        output = View("out", "", inputs[1].offset, expected.shape, pitch, row, expected.dtype.name)
    else:
        output = View("out", "", at, expected.shape, pitch, row, expected.dtype.name)
        at += _aligned(expected.shape[0] * row * pitch) + _SEPARATE
    return Case(task, tuple(inputs), output, at, expected)


def input_shapes(workload: Workload) -> list[tuple[int, int, int]]:
    """(H, W, C) of each input as the kernel reads it: padded where its operator pads and its kernel does not."""
    params = dict(workload.params)
    if workload.kind == "dense":
        return [(1, 1, params["in_channels"])]
    height, width = params.get("in_height", params["height"]), params.get("in_width", params["width"])
    channels = params.get("in_channels", params.get("channels"))
    shapes = [(height, width, channels)]
    if params.get("residual_multiplier"):
        shapes.append((height, width, params["out_channels"]))
    if len(params.get("multipliers", ())) == 2:
        shapes.append(shapes[0])
    return shapes


def expected_output(task: Task, values: list[np.ndarray]) -> np.ndarray:
    """(H, W, C) by the integer reference, from inputs as the kernel reads them: padded, or not where it has `pad`."""
    workload, op = task.workload, task.op
    if workload.kind == COPY:
        return values[0]
    if workload.kind == PAD:
        top, left, bottom, right = workload["pad"]
        height, width, channels = values[0].shape
        padded = np.empty((top + height + bottom, left + width + right, channels), np.int8)
        padded[:] = op.constants["pad_value"] if workload["value"] is None else workload["value"]
        padded[top : top + height, left : left + width] = values[0]
        return padded
    if "pad" in op.attrs and "pad" not in dict(workload.params):
        op = replace(op, attrs={**op.attrs, "pad": (0, 0, 0, 0)})
    return reference.KERNELS[op.kind](op, *values)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
