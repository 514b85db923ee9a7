"""From the integer graph to kernel calls over one small arena.

- The input is int8 already (the application quantizes it, or its camera gives bytes), so there is no quantize layer.
- A stem with its max pool is one step that never has the stem's whole result.
- A convolution with a window reads a plane with a border; the producer writes inside, a `border` step writes the rest.
- Pixels start at multiples of 4 bytes, so that a core loads four channels at once.
- A concat is one buffer that its producers write slices of; a residual or a sum is written over its first input where
  nothing reads that any more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shufflec.backends.baremetal import workloads
from shufflec.backends.baremetal.workloads import Shape
from shufflec.backends.layout import slices_of_concats
from shufflec.backends.layout_state import LayoutState
from shufflec.backends.program import Program, Step, View
from shufflec.errors import UnsupportedModelError
from shufflec.ir.graph import Graph, Op
from shufflec.kernels.kernel import Kernel, Workload

PIXEL_ALIGNMENT = 4
ALIGNMENT = 16  # of buffers
_BORDERED = ("conv2d", "depthwise_conv2d")
_IN_PLACE = ("add", "requantize")


def lay_out(graph: Graph, isa: str, choose: Callable[[Workload], Kernel]) -> tuple[Program, dict[str, int]]:
    """Lays a graph of the rule m-q31 out. choose: the kernel of a workload.

    Also returns the offsets of the buffers that the int8 input (H, W, C) lies in; it begins at 0. The last layer writes
    the int32 logits.
    """
    builder = _Builder(graph, isa, choose)
    for op in graph.ops:
        builder.add(op)
    builder.keep_output()
    output_shape = graph.tensors[graph.output].shape
    shape = tuple(graph.tensors[graph.input].shape)
    program = Program(tuple(builder.layers), builder.buffers(), shape, (1, output_shape[-1]))
    return program, builder.fixed()


class _Builder(LayoutState):
    def __post_init__(self) -> None:
        super().__post_init__()
        views = {op.output for op in self.graph.ops if op.kind == "channel_slice"}  # nothing writes them: copied
        self._slices = {name: at for name, at in slices_of_concats(self.graph).items() if name not in views}
        self._pads: dict[str, tuple[int, int, int, int]] = {}
        self._fused = _stems(self.graph)
        self._shared: set[str] = set()
        _check_output(self.graph)

    def add(self, op: Op) -> None:
        """Appends the layer of one operator; some have none."""
        if op.kind == "quantize":
            self._input(op)
            return
        if op.kind == "channel_slice":
            self._take(op)
            return
        if op.kind == "dequantize" or op.output in self._fused:
            return  # the application's, or a part of the pool behind it
        if op.kind != "concat" and not workloads.is_known(op.kind):
            raise UnsupportedModelError(f"operator {op.kind} (layer {op.name}) has no kernel for Cortex-M cores")
        steps, output = self._concat(op) if op.kind == "concat" else self._plain(op)
        if not steps:
            return
        macs = self.graph.macs(op)
        if op.kind == "max_pool2d" and op.inputs[0] in self._fused:
            macs = self.graph.macs(self._fused[op.inputs[0]])
        self.append(op, steps, output, macs)

    def _take(self, op: Op) -> None:
        """Some channels of a tensor: a view of its buffer, which no operator may overwrite any more."""
        source = self._views[op.inputs[0]]
        shape = (*source.shape[:2], op.attrs["channels"])
        offset = source.offset + op.attrs["begin"]
        self._views[op.output] = View(op.output, source.buffer, offset, shape, source.pitch, source.row)
        self._shared.add(source.buffer)

    def _input(self, op: Op) -> None:
        """The input's place. Where a stem streams over it, the pool's rows are written over rows that were read: the
        beginning of the input becomes the pool's buffer, and only the rest of it is free again behind the stem."""
        height, width, channels = shape = self._shape(op.output)
        size, name = height * width * channels, op.output
        self._sizes[name] = size
        pool = next((self.graph.consumers(stem.output)[0] for stem in self._fused.values()), None)
        if pool is not None and not any(self._border(pool.output)) and pool.output not in self._slices:
            view = self._new(pool.output, *self._spec(pool.output))
            if _streams_over(self.graph, self._fused[pool.inputs[0]], pool, width * channels, view.row * view.pitch):
                taken = -(-self._sizes[pool.output] // ALIGNMENT) * ALIGNMENT
                del self._sizes[name]
                self._sizes[pool.output] = taken
                self._views[pool.output] = view
                name = pool.output
                if size > taken:
                    self._sizes[f"{op.output}.rest"] = size - taken
                    self._touch(f"{op.output}.rest")
            else:
                del self._sizes[pool.output]
        self._views[op.output] = View(op.output, name, 0, shape, channels, width)
        self._touch(name)

    def fixed(self) -> dict[str, int]:
        """Offsets of the pieces that the input lies in."""
        name = self.graph.ops[0].output
        first, rest = self._views[name].buffer, f"{name}.rest"
        return {first: 0} | ({rest: self._sizes[first]} if rest in self._sizes else {})

    def keep_output(self) -> None:
        """The logits stay until the end."""
        self._touched[self.layers[-1].output.buffer].append(len(self.layers) - 1)

    def _shape(self, tensor: str) -> Shape:
        return self.graph.tensors[tensor].shape

    def _new(self, tensor: str, shape: Shape, dtype: str = "int8") -> View:
        """A buffer of its own, with the border that the tensor's reader wants."""
        height, width, channels = shape
        top, left, bottom, right = self._border(tensor)
        item = 4 if dtype == "int32" else 1
        pitch = -(-channels // PIXEL_ALIGNMENT) * PIXEL_ALIGNMENT * item
        row = left + width + right
        self._sizes[tensor] = (top + height + bottom) * row * pitch
        if any((top, left, bottom, right)):
            self._pads[tensor] = (top, left, bottom, right)
        return View(tensor, tensor, (top * row + left) * pitch, shape, pitch, row, dtype)

    def _border(self, tensor: str) -> tuple[int, int, int, int]:
        """The border that the one convolution that reads a tensor with a border needs."""
        wanted = {
            workloads.window(op)[2]
            for op in self.graph.consumers(tensor)
            if op.kind in _BORDERED and op.output not in self._fused and any(workloads.window(op)[2])
        }
        return wanted.pop() if len(wanted) == 1 else (0, 0, 0, 0)

    def _place(self, op: Op) -> View:
        """Where an operator writes: a slice of a concat, over an input, or a buffer of its own."""
        tensor = op.output
        if tensor not in self._views:
            self._views[tensor] = self._slice(tensor) or self._over_input(op) or self._new(tensor, *self._spec(tensor))
        return self._views[tensor]

    def _spec(self, tensor: str) -> tuple[Shape, str]:
        spec = self.graph.tensors[tensor]
        return spec.shape, spec.dtype

    def _slice(self, tensor: str) -> View | None:
        if tensor not in self._slices:
            return None
        whole, first = self._slices[tensor]
        if whole not in self._views:
            self._views[whole] = self._new(whole, *self._spec(whole))
        outer = self._views[whole]
        shape = self._shape(tensor)
        return View(tensor, outer.buffer, outer.offset + first, shape, outer.pitch, outer.row)

    def _over_input(self, op: Op) -> View | None:
        """The place of the input that the output may overwrite, value by value, or None."""
        if op.kind in _IN_PLACE:
            name = op.inputs[0]
        elif op.kind == "conv2d" and len(op.inputs) == 2 and op.attrs["shuffle_rows"] == 1:
            name = op.inputs[1]
        else:
            return None
        old = self._views[name]
        last = self.graph.consumers(name)[-1].name == op.name and op.inputs.count(name) == 1
        whole = name not in self._slices and name != self.graph.ops[0].output
        if not last or not whole or old.buffer in {*self._pads, *self._shared} or any(self._border(op.output)):
            return None
        return View(op.output, old.buffer, old.offset, old.shape, old.pitch, old.row)

    def _concat(self, op: Op) -> tuple[list[Step], View]:
        output = self._place(op)
        steps, first = [], 0
        for name in op.inputs:
            shape = self._shape(name)
            if name not in self._slices:
                slot = View(op.output, output.buffer, output.offset + first, shape, output.pitch, output.row)
                source = self._views[name]
                workload = workloads.copy(self.isa, source, slot)
                steps.append(self._step(f"{op.name}.copy{len(steps)}", workload, {}, (source,), slot))
            first += shape[2]
        if any(self._pads.get(op.output, ())) and output.buffer == op.output:
            steps.append(self._fill(op, output))
        return steps, output

    def _plain(self, op: Op) -> tuple[list[Step], View]:
        steps: list[Step] = []
        stem = self._fused.get(op.inputs[0])
        inputs = [self._views[name] for name in (stem.inputs if stem else op.inputs)]
        if op.kind in _BORDERED and any(workloads.window(op)[2]):
            inputs[0] = self._with_border(op, inputs[0], steps)
        output = self._place(op)
        if any(self._pads.get(op.output, ())) and output.buffer == op.output:
            steps.append(self._fill(op, output))
        workload = workloads.of(self.isa, self.graph, op, stem, inputs, output)
        constants = dict((stem or op).constants)
        if len(op.inputs) == 2 and op.kind == "conv2d":
            constants["residual_multiplier"] = np.asarray(op.attrs["residual_multiplier"])
        steps.append(self._step(op.name, workload, constants, tuple(inputs), output))
        return steps, output

    def _with_border(self, op: Op, view: View, steps: list[Step]) -> View:
        """The view of a plane with its border, copied there first where the producer did not write one."""
        pad = workloads.window(op)[2]
        top, left, bottom, right = pad
        if self._pads.get(view.tensor) != pad or view.buffer != view.tensor:
            height, width, channels = view.shape
            name = f"{op.name}.padded"
            pitch = -(-channels // PIXEL_ALIGNMENT) * PIXEL_ALIGNMENT
            row = left + width + right
            self._sizes[name] = (top + height + bottom) * row * pitch
            inner = View(view.tensor, name, (top * row + left) * pitch, view.shape, pitch, row)
            steps.append(self._fill(op, inner, pad, op.constants["pad_value"]))
            steps.append(self._step(f"{op.name}.copy", workloads.copy(self.isa, view, inner), {}, (view,), inner))
            view = inner
        return View(view.tensor, view.buffer, view.offset - (top * view.row + left) * view.pitch, *_rest(view))

    def _fill(self, op: Op, inner: View, pad: tuple | None = None, values: np.ndarray | None = None) -> Step:
        """The step that writes the border around a view."""
        if pad is None:
            pad = self._pads[op.output]
            (reader,) = [r for r in self.graph.consumers(op.output) if r.kind in _BORDERED and any(r.attrs["pad"])][:1]
            values = reader.constants["pad_value"]
        constants = {"pad_value": values, "sizes": workloads.border_sizes(inner, pad)}
        whole = View(inner.tensor, inner.buffer, 0, *_rest(inner))
        return self._step(f"{inner.tensor}.border", workloads.border(self.isa), constants, (), whole)


def _check_output(graph: Graph) -> None:
    """Raises UnsupportedModelError for logits that are no int32 sums: the firmware's interface is made for those."""
    if graph.tensors[graph.ops[-1].inputs[0]].dtype != "int32":
        name = graph.ops[-1].inputs[0]
        raise UnsupportedModelError(
            f"{name} has a quantizer behind it, which Cortex-M targets do not support", "take the last one out"
        )


def _streams_over(graph: Graph, stem: Op, pool: Op, in_line: int, out_line: int) -> bool:
    """Whether each row of the pool ends before the input rows that are still to be read. in_line, out_line: bytes."""
    (pool_h, _), (step, _), pool_top = pool.attrs["kernel"], pool.attrs["stride"], pool.attrs["pad"][0]
    stride, top = stem.attrs["stride"][0], stem.attrs["pad"][0]
    height = graph.tensors[pool.output].shape[0]
    for y in range(height):
        next_row = ((y + 1) * step - pool_top + pool_h - step) * stride - top
        if y + 1 < height and (y + 1) * out_line > max(next_row, 0) * in_line:
            return False
    return height * out_line <= graph.tensors[stem.inputs[0]].shape[0] * in_line


def _rest(view: View) -> tuple[Shape, int, int, str]:
    return view.shape, view.pitch, view.row, view.dtype


def _stems(graph: Graph) -> dict[str, Op]:
    """Windowed convolutions, by tensor, whose only reader is a max pool: one step does both."""
    found = {}
    for op in graph.ops:
        readers = graph.consumers(op.output)
        single = len(readers) == 1 and readers[0].kind == "max_pool2d"
        if op.kind == "conv2d" and single and op.inputs[0] == graph.ops[0].output and len(op.inputs) == 1:
            uniform = len(np.unique(op.constants["pad_value"])) == 1
            if uniform and op.attrs["groups"] == 1 and op.attrs["shuffle_rows"] == 1:
                found[op.output] = op
    return found
