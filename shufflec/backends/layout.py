"""From the integer graph to a program: which kernel calls, over which buffers.

- A windowed operator with padding makes its border itself where its kernel can, else it gets a `pad` step in front;
  the first convolution's border is written by `quantize`.
- A concat is one buffer that its producers write slices of; only a producer whose tensor someone else reads as well
  is followed by a copy.
- Convolutions that differ in their output channels alone, cut by who reads them, are one layer where a kernel writes to
  several places. Its output is the first part; whoever reads the others shows whether they are right.
- The first convolution and its max pool are one layer, the pool's, where a kernel does both.
- A convolution that is the last to read its residual writes its output over it, where its kernel can. Such a layer
  gives another result when it is repeated, in the same time; any other layer the same one, since its buffers all stay
  live for the whole layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shufflec.backends import workloads
from shufflec.backends.fused_stem import fused_stems
from shufflec.backends.layout_state import LayoutState
from shufflec.backends.pieces import JoinedPieces, joined_pieces
from shufflec.backends.program import Program, Step, View
from shufflec.ir.graph import Graph, Op
from shufflec.kernels.kernel import ALIGNMENT, Kernel, Workload
from shufflec.kernels.select import is_hand_shaped

#: Kinds whose kernels can write a channel slice of a wider buffer.
WRITES_SLICES = (
    "conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d", "add", "requantize", "channel_slice", "channel_shuffle",
)  # fmt: skip

#: Threads that may work on one step at most; each has a scratch of its own.
MAX_TASKS = 16


def lay_out(graph: Graph, isa: str, choose: Callable[[Workload], Kernel]) -> Program:
    """Lays a graph out for an ISA. choose: the kernel of a workload."""
    builder = _Builder(graph, isa, choose)
    for op in graph.ops:
        builder.add(op)
    output_shape = graph.tensors[graph.output].shape
    return Program(
        tuple(builder.layers),
        builder.buffers(),
        tuple(graph.tensors[graph.input].shape),
        (1, output_shape[-1]),
    )


def slices_of_concats(graph: Graph) -> dict[str, tuple[str, int]]:
    """Tensors that their producers write straight into a concat: name -> (concat's tensor, first channel)."""
    producer = {op.output: op for op in graph.ops}
    found: dict[str, tuple[str, int]] = {}
    for op in graph.ops:
        if op.kind != "concat":
            continue
        first = 0
        for name in op.inputs:
            source = producer[name]
            if len(graph.consumers(name)) == 1 and op.inputs.count(name) == 1 and source.kind in WRITES_SLICES:
                found[name] = (op.output, first)
            first += graph.tensors[name].shape[2]
    return found


class _Builder(LayoutState):
    def __post_init__(self) -> None:
        super().__post_init__()
        self._slices = slices_of_concats(self.graph)
        self._bordered: dict[str, View] = {}
        self._joined = joined_pieces(self.graph, self._slices)
        self._done: set[str] = set()
        self._stems = {pool: pair for pool, pair in fused_stems(self.graph).items() if self._has_kernel(pair[1])}
        self._done.update(stem.name for stem, _ in self._stems.values())

    def _has_kernel(self, op: Op) -> bool:
        """Whether there is a hand-shaped kernel for an operator."""
        return is_hand_shaped(workloads.op_workload(self.isa, self.graph, op, self._plane(op)[2]))

    def add(self, op: Op) -> None:
        """Appends the layer of one operator; a concat that is written in place has none."""
        if op.name in self._done or (op.name in self._joined and self._together(self._joined[op.name])):
            return
        if op.name in self._stems:
            stem, fused = self._stems[op.name]
            self.append(op, *self._plain(fused), self.graph.macs(stem))
            return
        special = {"quantize": self._quantize, "concat": self._concat, "dequantize": self._dequantize}
        steps, output = special.get(op.kind, self._plain)(op)
        if steps:
            self.append(op, steps, output, self.graph.macs(op))

    def _together(self, joined: JoinedPieces) -> bool:
        """Appends the one layer of several convolutions, if there is a kernel for it; whether there is."""
        targets = tuple(self._place(piece.output) for piece in joined.pieces)
        workload = workloads.parts_workload(self.isa, self.graph, joined, tuple(view.pitch for view in targets))
        if any(view.row != view.shape[1] for view in targets) or not is_hand_shaped(workload):
            return False
        op, source = joined.op, self._views[joined.op.inputs[0]]
        step = self._step(op.name, workload, op.constants, (source,), targets[0], targets)
        self.append(op, [step], targets[0], sum(map(self.graph.macs, joined.pieces)))
        self._done.update(piece.name for piece in joined.pieces)
        return True

    def scratch_bytes(self, kernel: Kernel) -> int:
        """One for each thread that may work on a step."""
        return -(-kernel.scratch_bytes // ALIGNMENT) * ALIGNMENT * min(MAX_TASKS, kernel.tiles)

    def _dense(self, tensor: str, shape: tuple[int, int, int], dtype: str = "int8") -> View:
        """A new buffer that holds just this tensor."""
        item = 4 if dtype == "int32" else 1
        view = View(tensor, tensor, 0, shape, shape[2] * item, shape[1], dtype)
        self._sizes[tensor] = view.nbytes
        return view

    def _place(self, tensor: str) -> View:
        """Where a tensor is written: a buffer of its own, or its slice of a concat's buffer."""
        if tensor not in self._views:
            spec = self.graph.tensors[tensor]
            if tensor in self._slices:
                whole, first = self._slices[tensor]
                outer = self._place(whole)
                self._views[tensor] = View(tensor, outer.buffer, first, spec.shape, outer.pitch, outer.row)
            else:
                self._views[tensor] = self._dense(tensor, spec.shape, spec.dtype)
        return self._views[tensor]

    def _quantize(self, op: Op) -> tuple[list[Step], View]:
        shape = self._plane(op)
        consumers = self.graph.consumers(op.output)
        pad = (0, 0, 0, 0)
        if len(consumers) == 1 and consumers[0].kind in workloads.WINDOWED:
            consumer = consumers[0]
            if workloads.pad_fill(consumer) == op.attrs["zero_point"]:
                pad = workloads.window(consumer)[2]
        top, left, bottom, right = pad
        whole_shape = (shape[0] + top + bottom, shape[1] + left + right, shape[2])
        whole = self._dense(op.output, whole_shape)
        if any(pad):
            self._bordered[op.output] = whole
        offset = (top * whole.row + left) * whole.pitch
        self._views[op.output] = View(op.output, whole.buffer, offset, shape, whole.pitch, whole.row)
        workload = workloads.quantize_workload(self.isa, op, shape, pad)
        return [self._step(op.name, workload, {}, (), whole)], self._views[op.output]

    def _plane(self, op: Op) -> tuple[int, int, int]:
        return self.graph.tensors[op.output].shape

    def _concat(self, op: Op) -> tuple[list[Step], View]:
        output = self._place(op.output)
        steps, first = [], 0
        for name in op.inputs:
            shape = self.graph.tensors[name].shape
            if name not in self._slices:
                slot = View(op.output, output.buffer, output.offset + first, shape, output.pitch, output.row)
                workload = workloads.copy_workload(self.isa, shape, output.pitch)
                steps.append(self._step(f"{op.name}.copy{len(steps)}", workload, {}, (self._views[name],), slot))
            first += shape[2]
        return steps, output

    def _dequantize(self, op: Op) -> tuple[list[Step], View]:
        workload = workloads.dequantize_workload(self.isa, self.graph, op)
        source = self._views[op.inputs[0]]
        channels = source.shape[2]
        output = View(op.output, "", 0, (1, 1, channels), 4 * channels, 1, "float32")
        return [self._step(op.name, workload, op.constants, (source,), None)], output

    def _plain(self, op: Op) -> tuple[list[Step], View]:
        steps = []
        inputs = [self._views[name] for name in op.inputs]
        overwrites = self._overwrites(op)
        if overwrites:
            self._views[op.output] = replace(inputs[1], tensor=op.output)
        output = self._place(op.output)
        workload = workloads.op_workload(self.isa, self.graph, op, output.pitch)
        if overwrites:
            workload = workloads.in_place(workload)
        if op.kind in workloads.WINDOWED and any(workloads.window(op)[2]):
            source = inputs[0]
            unpadded = workloads.unpadded(workload, op)
            if source.tensor in self._bordered:
                inputs[0] = self._bordered[source.tensor]
            elif is_hand_shaped(unpadded):
                workload = unpadded
            else:
                inputs[0] = self._dense(f"{op.name}.padded", workloads.padded_shape(op, source.shape))
                pad = workloads.pad_workload(self.isa, op, source.shape)
                steps.append(self._step(f"{op.name}.pad", pad, op.constants, (source,), inputs[0]))
        steps.append(self._step(op.name, workload, op.constants, tuple(inputs), output))
        return steps, output

    def _overwrites(self, op: Op) -> bool:
        """Whether an operator's output takes the place of its residual: a buffer of its own that nobody reads later."""
        if op.kind != "conv2d" or len(op.inputs) != 2 or op.output in self._slices:
            return False
        source, residual = (self._views[name] for name in op.inputs)
        last = self.graph.consumers(op.inputs[1])[-1] is op
        alone = self._sizes[residual.buffer] == residual.nbytes and source.buffer != residual.buffer
        if not (last and alone and residual.shape == self._plane(op)):
            return False
        return is_hand_shaped(workloads.in_place(workloads.op_workload(self.isa, self.graph, op, residual.pitch)))
