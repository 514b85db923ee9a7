"""Whether a firmware fits its board, and if not, where it is too large and what would fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shufflec.backends.baremetal.layout import ALIGNMENT, lay_out
from shufflec.backends.planner import MemoryPlan, plan
from shufflec.backends.program import Program
from shufflec.errors import UnsupportedModelError
from shufflec.ir.graph import Graph, Op, TensorSpec
from shufflec.kernels.kernel import Kernel, Workload
from shufflec.targets.target import Target

LEAST_INPUT = 32  # pixels; the network halves its planes five times
_STEP = 32


@dataclass(frozen=True)
class Need:
    """What a firmware takes, in bytes. ram_bytes: arena and the stack's worst case; flash_bytes: code, constants."""

    ram_bytes: int
    flash_bytes: int


def peak_layer(program: Program, memory: MemoryPlan) -> tuple[str, list[tuple[str, int]]]:
    """The layer at which the most is alive, and (name, bytes) of its buffers, the largest first."""
    totals = [sum(p.buffer.nbytes for p in memory.live(i)) for i in range(len(program.layers))]
    worst = int(np.argmax(totals))
    live = sorted(((p.buffer.name, p.buffer.nbytes) for p in memory.live(worst)), key=lambda item: -item[1])
    return program.layers[worst].name, live


def check_budget(
    graph: Graph, target: Target, program: Program, memory: MemoryPlan, need: Need, choose: Callable[[Workload], Kernel]
) -> None:
    """Raises UnsupportedModelError for a firmware that does not fit the target.

    It names the layer at the peak and by how much the board is too small; the hint names what would fit: the largest
    input for the RAM, computed by laying the network out again, and the share of the weights for the flash.
    """
    if need.ram_bytes > target.ram_bytes:
        layer, live = peak_layer(program, memory)
        buffers = ", ".join(f"{name} {size:,}" for name, size in live[:3])
        raise UnsupportedModelError(
            f"{target.title} has {target.ram_bytes:,} bytes of RAM, the network needs {need.ram_bytes:,}, "
            f"{need.ram_bytes - target.ram_bytes:,} more; the peak is at layer {layer}: {buffers}",
            _smaller_input(graph, target, need.ram_bytes - memory.peak_bytes, choose),
        )
    if need.flash_bytes > target.flash_bytes:
        code = need.flash_bytes - program.weight_bytes
        room = max(target.flash_bytes - code, 0)
        share = room / max(program.weight_bytes, 1)
        largest = max(program.layers, key=lambda layer: sum(a.nbytes for step in layer.steps for a in step.constants))
        raise UnsupportedModelError(
            f"{target.title} has {target.flash_bytes:,} bytes of flash, the network needs {need.flash_bytes:,} "
            f"({code:,} of code, {program.weight_bytes:,} of constants), {need.flash_bytes - target.flash_bytes:,} more"
            f"; the largest layer is {largest.name}",
            f"{share:.0%} of these weights would fit: about {_scale_hint(share):.2f} times this --scale",
        )


def _scale_hint(share: float) -> float:
    """Weights grow with the square of the channel counts."""
    return int(np.sqrt(share) * 100) / 100


def _smaller_input(graph: Graph, target: Target, beside_arena: int, choose: Callable[[Workload], Kernel]) -> str:
    """The largest input, a multiple of 32 pixels, whose arena leaves room for the rest."""
    height, width = graph.tensors[graph.input].shape[2:]
    size = min(height, width) // _STEP * _STEP
    while size >= LEAST_INPUT:
        if size < min(height, width):
            program, fixed = lay_out(resized(graph, size, size), target.isa, choose)
            if plan(program.buffers.values(), ALIGNMENT, fixed).peak_bytes + beside_arena <= target.ram_bytes:
                return f"with an input of {size}x{size} it would fit: train or compile with --input-size {size}"
        size -= _STEP
    return "no input size of 32 pixels or more would fit: take a smaller --scale or another board"


def resized(graph: Graph, height: int, width: int) -> Graph:
    """The same network for another input size: shapes, paddings and tables of pools; weights stay."""
    tensors = dict(graph.tensors)
    batch, channels = graph.tensors[graph.input].shape[:2]
    tensors[graph.input] = TensorSpec(graph.input, (batch, channels, height, width), "float32")
    ops = []
    for op in graph.ops:
        op = _resized_op(op, graph, tensors)
        ops.append(op)
        spec = graph.tensors[op.output]
        if op.kind == "quantize":
            shape = (height, width, channels)
        elif op.kind in ("dense", "dequantize", "global_avg_pool"):
            shape = spec.shape
        elif "pad" in op.attrs:
            shape = (*_plane(op, tensors[op.inputs[0]].shape), spec.shape[2])
        else:
            shape = (*tensors[op.inputs[0]].shape[:2], spec.shape[2])
        tensors[op.output] = replace(spec, shape=shape)
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _resized_op(op: Op, graph: Graph, tensors: dict[str, TensorSpec]) -> Op:
    if "pad" not in op.attrs:
        return op
    old, new = graph.tensors[op.inputs[0]].shape, tensors[op.inputs[0]].shape
    attrs = dict(op.attrs)
    if attrs.get("kernel") == old[:2]:  # an average over the whole plane
        attrs["kernel"] = new[:2]
    top, left = attrs["pad"][:2]
    kernel, stride = _window(replace(op, attrs=attrs))
    reach = []
    for size, before, k, step in zip(new[:2], (top, left), kernel, stride, strict=True):
        count = (size + 2 * before - k) // step + 1
        reach.append(max(0, (count - 1) * step + k - size - before))
    attrs["pad"] = (top, left, *reach)
    op = replace(op, attrs=attrs)
    if op.kind == "avg_pool2d":
        table = np.full(_plane(op, new), op.constants["multiplier"].reshape(-1)[0], np.int16)
        op = replace(op, constants=op.constants | {"multiplier": table})
    return op


def _window(op: Op) -> tuple[tuple[int, int], tuple[int, int]]:
    kernel = op.attrs["kernel"] if "kernel" in op.attrs else op.constants["weight"].shape[1:3]
    return tuple(kernel), tuple(op.attrs["stride"])


def _plane(op: Op, shape: tuple[int, ...]) -> tuple[int, int]:
    kernel, stride = _window(op)
    top, left, bottom, right = op.attrs["pad"]
    padded = shape[0] + top + bottom, shape[1] + left + right
    return tuple((size - k) // step + 1 for size, k, step in zip(padded, kernel, stride, strict=True))
