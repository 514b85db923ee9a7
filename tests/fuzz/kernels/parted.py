"""A random convolution whose channels go to several tensors: its call, and what memory has to look like afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from guarded import Answer, Call
from hypothesis import strategies as st
from operators import Draw, filled, requant

from shufflec.backends.pieces import JoinedPieces
from shufflec.backends.workloads import parts_workload
from shufflec.ir import reference
from shufflec.ir.graph import Graph, Op, TensorSpec
from shufflec.kernels.kernel import ALIGNMENT, ARENA_SLACK, Kernel, Workload


@dataclass(frozen=True)
class Parted:
    """joined: the convolution. x: its input. margins: of each part, channels of its buffer before and behind it."""

    joined: JoinedPieces
    x: np.ndarray
    margins: tuple[tuple[int, int], ...]

    @property
    def pitches(self) -> tuple[int, ...]:
        """Bytes from a pixel to the next where each part is written."""
        return tuple(sum(margin) + n for margin, n in zip(self.margins, self.joined.channels, strict=True))

    def workload(self, isa: str) -> Workload:
        """As the backend makes it."""
        graph = Graph({"x": TensorSpec("x", self.x.shape, "int8")}, (), "x", "y")
        return parts_workload(isa, graph, self.joined, self.pitches)


@st.composite
def parted_pointwise(draw: Draw) -> Parted:
    """Two to seven parts, of single channels up to several registers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    sizes = st.one_of(st.integers(1, 9), st.integers(1, 40), st.sampled_from([1, 2, 7, 15, 16, 29, 58]))
    counts = draw(st.lists(sizes, min_size=2, max_size=7))
    depth, channels = draw(st.one_of(st.integers(1, 64), st.sampled_from([24, 58, 116, 232, 340]))), sum(counts)
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    attrs, constants = requant(draw, rng, channels, depth)
    low = draw(st.sampled_from([-127, -128]))
    constants["weight"] = filled(rng, (channels, 1, 1, depth), draw(st.sampled_from(["random", "extremes"])), low)
    constants["pad_value"] = np.zeros(depth, np.int8)
    attrs |= {"groups": 1, "stride": (1, 1), "pad": (0, 0, 0, 0), "shuffle_rows": 1}
    pieces, first = [], 0
    for number, count in enumerate(counts):
        own = {"weight": constants["weight"][first : first + count]}
        pieces.append(Op("conv2d", f"a.part{number}", ("x",), f"a.part{number}", attrs, own))
        first += count
    margin = st.tuples(st.sampled_from([0, 0, 1, 24]), st.sampled_from([0, 0, 3, 40]))
    margins = tuple(draw(st.lists(margin, min_size=len(counts), max_size=len(counts))))
    joined = JoinedPieces(Op("conv2d", "a", ("x",), "a", attrs, constants), tuple(pieces))
    return Parted(joined, filled(rng, (height, width, depth), draw(st.sampled_from(["random", "lowest"]))), margins)


class PartedArena:
    """Random bytes with the input, a buffer for each part and the scratch, in any order."""

    def __init__(self, case: Parted, kernel: Kernel, rng: np.random.Generator):
        self.case, self.kernel = case, kernel
        height, width, _ = case.x.shape
        sizes = {"x": case.x.size, "scratch": kernel.scratch_bytes}
        sizes |= {number: height * width * pitch for number, pitch in enumerate(case.pitches)}
        names, at, self.offsets = list(sizes), 0, {}
        for index in rng.permutation(len(names)):
            self.offsets[names[index]] = at
            at += -(-sizes[names[index]] // ALIGNMENT) * ALIGNMENT
        self.bytes = rng.integers(-128, 128, at + ARENA_SLACK).astype(np.int8)
        self.bytes[self.offsets["x"] : self.offsets["x"] + case.x.size] = case.x.reshape(-1)

    def call(self, ranges: tuple[tuple[int, int], ...], at_front: bool) -> Call:
        """The kernel's arguments, with the parts' offsets behind the accumulator constants."""
        packed, count = self.kernel.pack(self.case.joined.op.constants), len(self.case.margins)
        table = [self.offsets[number] + self.case.margins[number][0] for number in range(count)]
        accumulators = np.concatenate([packed.accumulators[:-count], np.array(table, np.int32)])
        weights = np.concatenate([packed.weights.reshape(-1).view(np.int8), np.full(ARENA_SLACK, 77, np.int8)])
        flat = tuple(
            np.ascontiguousarray(buffer).reshape(-1).view(np.int8)
            for buffer in (self.bytes, weights, packed.requant, accumulators)
        )
        return Call(flat, at_front, (self.offsets["x"], 0, 0, self.offsets["scratch"]), ranges)

    def wrong(self, answer: Answer) -> str:
        """Empty, or what is wrong with what the kernel left."""
        if answer.fault:
            return answer.fault
        want, got = self.bytes.copy(), answer.arena.copy()
        scratch = slice(self.offsets["scratch"], self.offsets["scratch"] + self.kernel.scratch_bytes)
        got[scratch] = want[scratch]
        expected, first = reference.conv2d(self.case.joined.op, self.case.x), 0
        height, width, _ = expected.shape
        for number, count in enumerate(self.case.joined.channels):
            start = self.offsets[number] + self.case.margins[number][0]
            pixels = np.arange(height * width).reshape(height, width, 1) * self.case.pitches[number]
            want[start + pixels + np.arange(count)] = expected[..., first : first + count]
            first += count
        different = np.flatnonzero(got != want)
        return f"{len(different)} bytes of the arena are wrong, the first at {different[0]}" if len(different) else ""
