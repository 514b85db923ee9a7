"""A random operator as kernel calls: workload, arena, tiles, and what memory has to look like afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from guarded import Answer, Call, GuardedCore
from operators import Operator

from shufflec.backends import workloads
from shufflec.ir import reference
from shufflec.ir.graph import Graph, Op, TensorSpec
from shufflec.kernels.kernel import ARENA_SLACK, Kernel, Workload
from shufflec.kernels.portable import families as portable
from shufflec.kernels.select import FAMILIES, is_hand_shaped

ALIGNED = 16  # offsets of buffers in the arena


@dataclass(frozen=True)
class Case:
    """inputs: as the kernel reads them, padded already. expected: what the output's pixels hold, (H, W, channels).

    slice_of, channel, margin: as of Operator. floats: quantize's input.
    """

    workload: Workload
    constants: dict[str, np.ndarray]
    inputs: tuple[np.ndarray, ...]
    expected: np.ndarray
    slice_of: int
    channel: int
    row: int
    floats: np.ndarray | None = None

    def kernels(self) -> list[tuple[object, tuple]]:
        """(family, tiling) of every kernel that may compute this; plain loops, where they may, come last."""
        accepting = [family for family in FAMILIES[self.workload.isa] if family.accepts(self.workload)]
        shaped = self.workload.kind == "stem_pool" or {"fill", "in_place"} & dict(self.workload.params).keys()
        plain = [] if shaped else [(None, ())]
        return [(f, tiling) for f in accepting for tiling in f.tilings(self.workload)] + plain

    def build(self, choice: int) -> Kernel:
        """The kernel number `choice` of `kernels`, counted round and round."""
        every = self.kernels()
        family, tiling = every[choice % len(every)]
        return family.build(self.workload, tiling) if family else portable.build(self.workload)


def case_of(operator: Operator, isa: str) -> Case:
    """The workload as the backend makes it, and the reference's result."""
    op, inputs = operator.op, operator.inputs
    if op.kind == "quantize":
        return _quantize(operator, isa)
    if operator.extra.get("only_pad"):
        return _padding(operator, isa)
    if op.kind == "dequantize":
        tensor = TensorSpec("x", inputs[0].shape, inputs[0].dtype.name)
        workload = workloads.dequantize_workload(isa, Graph({"x": tensor}, (), "x", "y"), op)
        return Case(workload, op.constants, inputs, reference.dequantize(op, inputs[0]), 0, 0, 1)
    expected = reference.KERNELS[op.kind](op, *inputs)
    tensors = {name: TensorSpec(name, x.shape, "int8") for name, x in zip(op.inputs, inputs, strict=True)}
    graph = Graph(tensors | {"y": TensorSpec("y", expected.shape, "int8")}, (op,), "x", "y")
    pitch = operator.slice_of or expected.shape[2]
    row = expected.shape[1] + operator.margin
    if op.kind == "channel_shuffle" and op.attrs["rows"] == 1:
        workload = workloads.copy_workload(isa, expected.shape, pitch)
    else:
        workload = workloads.op_workload(isa, graph, op, pitch)
    params = dict(workload.params)
    if "out_row" in params:
        workload = Workload.of(workload.kind, isa, **{**params, "out_row": row})
    if operator.extra.get("in_place") and len(inputs) == 2 and (pitch, row) == (expected.shape[2], expected.shape[1]):
        overwriting = workloads.in_place(workload)
        workload = overwriting if is_hand_shaped(overwriting) else workload
    if op.kind in workloads.WINDOWED:
        unpadded = workloads.unpadded(workload, op) if operator.extra.get("unpadded") else None
        if unpadded and is_hand_shaped(unpadded):
            workload = unpadded
        else:
            inputs = (_padded(op, inputs[0]), *inputs[1:])
    if op.kind == "dense":
        expected = expected.view(np.int8)
        pitch = expected.shape[2]
    return Case(workload, op.constants, inputs, expected, pitch, operator.channel, row)


def _padded(op: Op, x: np.ndarray) -> np.ndarray:
    top, left, bottom, right = workloads.window(op)[2]
    fill = workloads.pad_fill(op)
    out = np.empty((x.shape[0] + top + bottom, x.shape[1] + left + right, x.shape[2]), np.int8)
    out[:] = op.constants["pad_value"] if fill is None else fill
    out[top : top + x.shape[0], left : left + x.shape[1]] = x
    return out


def _padding(operator: Operator, isa: str) -> Case:
    x, op = operator.inputs[0], operator.op
    weight = np.zeros((x.shape[2], 1, 1), np.int8)
    expected = _padded(Op(op.kind, "case", ("x",), "y", op.attrs, op.constants | {"weight": weight}), x)
    op.constants["weight"] = weight
    return Case(
        workloads.pad_workload(isa, op, x.shape), op.constants, (x,), expected, x.shape[2], 0, expected.shape[1]
    )


def _quantize(operator: Operator, isa: str) -> Case:
    x, op, pad = operator.inputs[0], operator.op, operator.extra["pad"]
    with np.errstate(over="ignore"):
        inner = reference.quantize(op, x)
    top, left, bottom, right = pad
    border = ((top, bottom), (left, right), (0, 0))
    expected = np.pad(inner, border, constant_values=op.attrs["zero_point"])
    workload = workloads.quantize_workload(isa, op, inner.shape, pad)
    return Case(workload, {}, (), expected, expected.shape[2], 0, expected.shape[1], x)


class Arena:
    """Random bytes with a case's inputs, output and scratch at aligned offsets; `last` ends where the slack begins.

    last: "in0", "in1", "out" or "scratch". Whatever is random (slack, scratch, gaps) must not matter.
    """

    def __init__(self, case: Case, kernel: Kernel, last: str, rng: np.random.Generator):
        self.case, self.kernel = case, kernel
        values = {f"in{i}": x.reshape(-1).view(np.int8) for i, x in enumerate(case.inputs)}
        sizes = {name: value.size for name, value in values.items()}
        self.in_arena = case.expected.dtype == np.int8
        in_place = dict(case.workload.params).get("in_place", False)
        if self.in_arena and not in_place:
            sizes["out"] = case.expected.shape[0] * case.row * case.slice_of
        if kernel.scratch_bytes:
            sizes["scratch"] = kernel.scratch_bytes
        at, self.offsets = 0, {}
        for name in sorted(sizes, key=lambda name: name == last):
            at = -(-at // ALIGNED) * ALIGNED
            self.offsets[name] = at
            at += sizes[name]
        if in_place:
            self.offsets["out"] = self.offsets["in1"]
        self.sizes = sizes
        self.bytes = rng.integers(-128, 128, at + ARENA_SLACK).astype(np.int8)
        for name, value in values.items():
            self.bytes[self.offsets[name] : self.offsets[name] + value.size] = value

    def call(self, ranges: tuple[tuple[int, int], ...], at_front: bool) -> Call:
        """The kernel's arguments with this arena."""
        case, offset = self.case, self.offsets.get
        packed = self.kernel.pack(case.constants)
        weights = np.concatenate([packed.weights.reshape(-1).view(np.int8), np.full(ARENA_SLACK, 77, np.int8)])
        if case.floats is not None:
            weights = case.floats.reshape(-1).view(np.int8)  # a user's memory: nothing lies behind it
        accumulators = packed.accumulators
        if not self.in_arena:
            accumulators = np.zeros(case.expected.size, np.float32)
        buffers = (self.bytes, weights, packed.requant, accumulators)
        offsets = (offset("in0", 0), offset("in1", 0), offset("out", 0) + case.channel, offset("scratch", 0))
        flat = tuple(np.ascontiguousarray(buffer).reshape(-1).view(np.int8) for buffer in buffers)
        return Call(flat, at_front, offsets, ranges, writes_accumulators=not self.in_arena)

    def wrong(self, answer: Answer) -> str:
        """Empty, or what is wrong with what the kernel left."""
        if answer.fault:
            return answer.fault
        case, want, got = self.case, self.bytes.copy(), answer.arena.copy()
        if "scratch" in self.offsets:
            start = self.offsets["scratch"]
            got[start : start + self.sizes["scratch"]] = want[start : start + self.sizes["scratch"]]
        if self.in_arena:
            height, width, channels = case.expected.shape
            pixels = (np.arange(height)[:, None] * case.row + np.arange(width))[..., None] * case.slice_of
            index = self.offsets["out"] + case.channel + pixels + np.arange(channels)
            result, want[index] = got[index], case.expected
        else:
            result = answer.accumulators.view(case.expected.dtype).reshape(case.expected.shape)
        # As bytes: a float's sign of zero counts.
        bad = np.argwhere(
            np.ascontiguousarray(result).view(np.uint8) != np.ascontiguousarray(case.expected).view(np.uint8)
        )
        if len(bad):
            return f"{len(bad)} of {case.expected.size} outputs differ, first at {bad[0].tolist()}"
        if not np.array_equal(got, want):
            return f"byte {np.argwhere(got != want)[0, 0]} of the arena, outside the output, was overwritten"
        return ""


def pieces(tiles: int, rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """All tiles in up to five ranges, one of them perhaps empty, in any order."""
    cuts = sorted({0, tiles, *map(int, rng.integers(0, tiles + 1, 3))})
    ranges = [*pairwise(cuts), (cuts[0], cuts[0])]
    return tuple(ranges[i] for i in rng.permutation(len(ranges)))


def wrong(core: GuardedCore, case: Case, kernel: Kernel, last: str, seed: int) -> str:
    """Runs a kernel on all tiles at once with buffers at the front of a page, then in pieces with them at the end."""
    rng = np.random.default_rng(seed)
    library = core.load(kernel)
    for at_front in (True, False):
        arena = Arena(case, kernel, "scratch" if at_front else last, rng)
        ranges = ((0, kernel.tiles),) if at_front else pieces(kernel.tiles, rng)
        if found := arena.wrong(core.run(library, arena.call(ranges, at_front))):
            return f"tiles {ranges}, {last} last: {found}" if not at_front else found
    return ""
