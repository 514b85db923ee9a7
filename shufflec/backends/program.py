"""The program types: what is left to run when a graph is laid out for a target.

A program is a list of layers over one arena. A layer is one operator of the graph with the steps that carry it out
(a windowed operator is a `pad` step and the operator itself); a step is one call of one kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from shufflec.kernels.kernel import Kernel, Packed


@dataclass(frozen=True)
class Buffer:
    """A region of the arena. first, last: indices of the first and last layer that touch it."""

    name: str
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class View:
    """A tensor inside a buffer. shape: (H, W, C); dtype: "int8", "int32" or "float32".

    offset: bytes from the buffer's start to the first value; pitch: bytes from a pixel to the next, more than the
    channels take in a slice of a concat; row: pixels from a row to the next, more than W inside a border.
    """

    tensor: str
    buffer: str
    offset: int
    shape: tuple[int, int, int]
    pitch: int
    row: int
    dtype: str = "int8"

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor alone."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Step:
    """One kernel call. inputs: views of in0 and in1; output: None for dequantize, whose output is outside.

    targets: where the parts of a convolution go whose channels several tensors share, `output` being the first of them;
    the last accumulator constants are their offsets in the arena, zero as long as there is no memory plan.
    """

    name: str
    kernel: Kernel
    packed: Packed
    inputs: tuple[View, ...]
    output: View | None
    scratch: str | None
    targets: tuple[View, ...] = ()

    @property
    def constants(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The packed constants: weights int8, requant int16, accumulators int32."""
        return self.packed.weights, self.packed.requant, self.packed.accumulators


@dataclass(frozen=True)
class Layer:
    """One operator of the graph and its steps; output.buffer is "" for the network's float32 output."""

    name: str
    kind: str
    steps: tuple[Step, ...]
    output: View
    macs: int


@dataclass(frozen=True)
class Program:
    """Everything that code generation needs. input_shape: (1, 3, H, W) float32; output_shape: (1, classes) float32."""

    layers: tuple[Layer, ...]
    buffers: dict[str, Buffer]
    input_shape: tuple[int, int, int, int]
    output_shape: tuple[int, int]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The different kernels, in order of first use."""
        found: dict[tuple, Kernel] = {}
        for step in self.steps:
            found.setdefault((step.kernel.workload, step.kernel.family, step.kernel.tiling), step.kernel)
        return tuple(found.values())

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for layer in self.layers for step in layer.steps)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all packed constants."""
        return sum(array.nbytes for step in self.steps for array in step.constants)
