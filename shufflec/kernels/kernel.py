"""What a kernel is: one TIR function with a fixed C interface, and how its constants are packed.

    int32_t NAME(int8_t *arena, const int8_t *weights, const int16_t *requant, const int32_t *accumulators,
                 int32_t in0, int32_t in1, int32_t out, int32_t scratch, int32_t begin, int32_t end);

arena: every activation, input and output alike, lies in this one buffer (so a store may alias a load: the code
generator cannot hoist whole weight sets out of loops and spill them). in0, in1 (second input or residual), out and
scratch are byte offsets into it, multiples of 16 except `out` of a channel slice. Tiles begin..end-1 of `tiles`
are computed; tiles are independent, so threads take ranges of them, each thread with a scratch of its own of
`scratch_bytes`. A tile writes its own output bytes only. Reading up to ARENA_SLACK bytes behind an input is
allowed (the arena ends with that slack, as do the packed weights); writing there is not.

`quantize` and `dequantize` are the boundary: `weights` is the float32 input, or `accumulators` the float32 output,
cast to the pointer's type.

Layouts: an input is dense NHWC (height, width, channels); for windowed operators it is already padded, by a `pad` step
or by whoever wrote it, unless the workload says `pad` and `fill`: then the kernel makes the border itself. Output
pixel (y, x) channel c is at out + (y * out_row + x) * out_pitch + c: out_pitch is the channel count of the buffer
(larger than the channels written for a slice of a concat), out_row the pixels of a buffer row (larger than the width
if the consumer wants its input padded). A convolution with `parts` has an output and a pitch for each part of its
channels: their offsets stand, as int32, at the end of `accumulators`, and `out` means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

ARENA_SLACK = 64
ALIGNMENT = 64

#: Order and types of the parameters: (name, dtype of the pointee or None for int32).
PARAMETERS = (
    ("arena", "int8"),
    ("weights", "int8"),
    ("requant", "int16"),
    ("accumulators", "int32"),
    ("in0", None),
    ("in1", None),
    ("out", None),
    ("scratch", None),
    ("begin", None),
    ("end", None),
)


@dataclass(frozen=True)
class Workload:
    """Everything that changes a kernel's code, and nothing else (no weights, no offsets).

    kind: an operator kind of ir/graph.py, or `pad`. isa: "portable", "neon" or "dotprod".
    params: sorted (name, value) pairs, values int, float, str, bool or tuples of int. Two layers with equal
    workloads share one compiled function.
    """

    kind: str
    isa: str
    params: tuple[tuple[str, object], ...]

    @staticmethod
    def of(kind: str, isa: str, **params: object) -> Workload:
        """Builds a workload from keyword parameters."""
        return Workload(kind, isa, tuple(sorted(params.items())))

    def __getitem__(self, name: str):
        return dict(self.params)[name]

    @property
    def key(self) -> str:
        """A stable text form, used as a key of tuning records and of the object cache."""
        return f"{self.kind}/{self.isa}/" + ",".join(f"{name}={value}" for name, value in self.params)


@dataclass(frozen=True)
class Packed:
    """Constants in the order that a kernel reads them."""

    weights: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    requant: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    accumulators: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(frozen=True)
class Kernel:
    """A kernel for one workload and one tiling.

    prim_func: tirx.PrimFunc with PARAMETERS as pointer and int32 parameters. tiles: how many tiles there are.
    pack: turns an operator's constants (ir/graph.py) into `Packed`. family: name and version for records.
    llvm_mcpu: the scheduling model to generate code with, "" for the target's own.
    """

    workload: Workload
    tiling: tuple[tuple[str, int], ...]
    family: str
    prim_func: object
    tiles: int
    scratch_bytes: int
    pack: Callable[[dict[str, np.ndarray]], Packed]
    llvm_mcpu: str = ""
