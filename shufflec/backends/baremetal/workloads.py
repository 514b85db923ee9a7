"""From an operator and the places of its tensors to the workload of a Cortex-M kernel.

Numbers that differ from layer to layer but not the code (a residual's multiplier, for one) are packed as constants, so
that layers of one shape share one function.
"""

from __future__ import annotations

import numpy as np

from shufflec.backends.program import View
from shufflec.backends.workloads import window
from shufflec.ir.graph import Graph, Op
from shufflec.kernels.kernel import Workload

Shape = tuple[int, int, int]
RULE = ("left_shift", "digits", "lift", "clamp_min", "clamp_max")

__all__ = ["Shape", "border", "border_sizes", "copy", "is_known", "of", "window"]


def is_known(kind: str) -> bool:
    """Whether there are kernels for an operator kind."""
    return kind in _BUILDERS


def of(isa: str, graph: Graph, op: Op, stem: Op | None, inputs: list[View], output: View) -> Workload:
    """The workload of an operator. stem: the convolution that a max pool has in front of it in the same step.

    inputs: views of its inputs, a bordered one from its first border byte on; output: where it writes.
    """
    if stem is not None:
        return Workload.of("stem_pool", isa, **_stem(graph, stem, op, inputs), **_plane(output))
    return Workload.of(op.kind, isa, **_BUILDERS[op.kind](op, inputs, output))


def copy(isa: str, source: View, slot: View) -> Workload:
    """A copy from view to view."""
    return Workload.of("copy", isa, **_plane(slot), **_source(source))


def border(isa: str) -> Workload:
    """The border around a view; its sizes are constants, see `border_sizes`."""
    return Workload.of("border", isa)


def border_sizes(inner: View, pad: tuple[int, int, int, int]) -> np.ndarray:
    """int16: top, left, bottom, right, height, width, channels and pitch."""
    return np.array([*pad, *inner.shape, inner.pitch], np.int16)


def _plane(view: View) -> dict:
    height, width, channels = view.shape
    return {"height": height, "width": width, "channels": channels, "out_pitch": view.pitch, "out_row": view.row}


def _source(view: View) -> dict:
    return {"in_pitch": view.pitch, "in_row": view.row}


def _rule(op: Op) -> dict:
    return {name: op.attrs[name] for name in RULE}


def _stem(graph: Graph, stem: Op, pool: Op, inputs: list[View]) -> dict:
    kernel, stride, pad = window(stem)
    mid = graph.tensors[stem.output].shape
    in_height, in_width, in_channels = inputs[0].shape
    return _rule(stem) | {
        "kernel": kernel, "stride": stride, "pad": pad, "pad_value": int(stem.constants["pad_value"][0]),
        "pool_kernel": pool.attrs["kernel"], "pool_stride": pool.attrs["stride"], "pool_pad": pool.attrs["pad"],
        "mid_height": mid[0], "mid_width": mid[1], "in_height": in_height, "in_width": in_width,
        "in_channels": in_channels, "out_channels": mid[2],
    }  # fmt: skip


def _conv2d(op: Op, inputs: list[View], output: View) -> dict:
    kernel, stride, _ = window(op)
    params = {} if (kernel, stride) == ((1, 1), (1, 1)) else {"kernel": kernel, "stride": stride}
    params |= _plane(output) | _source(inputs[0]) | _rule(op)
    del params["channels"]
    params |= {
        "in_channels": inputs[0].shape[2], "out_channels": output.shape[2], "groups": op.attrs["groups"],
        "shuffle_rows": op.attrs["shuffle_rows"], "residual": len(inputs) == 2,
    }  # fmt: skip
    if len(inputs) == 2:
        params |= {"residual_pitch": inputs[1].pitch, "residual_row": inputs[1].row}
    return params


def _depthwise(op: Op, inputs: list[View], output: View) -> dict:
    kernel, stride, _ = window(op)
    return _plane(output) | _source(inputs[0]) | _rule(op) | {"kernel": kernel, "stride": stride} | _room(output)


def _room(output: View) -> dict:
    """Whether bytes between the last channel and the next pixel are the tensor's own, to be written as one likes."""
    own = output.buffer == output.tensor
    return {"padded_pixels": own}


def _pool(op: Op, inputs: list[View], output: View) -> dict:
    kernel, stride, pad = window(op)
    height, width, _ = inputs[0].shape
    where = {"kernel": kernel, "stride": stride, "pad": pad, "in_height": height, "in_width": width}
    return _plane(output) | _source(inputs[0]) | where | _room(output)


def _avg_pool(op: Op, inputs: list[View], output: View) -> dict:
    names = ("zero_point", "out_zero_point", "scale_shift", "clamp_min", "clamp_max")
    uniform = len(np.unique(op.constants["multiplier"])) == 1
    return _pool(op, inputs, output) | {name: op.attrs[name] for name in names} | {"uniform": uniform}


def _global_avg_pool(op: Op, inputs: list[View], output: View) -> dict:
    height, width, channels = inputs[0].shape
    plane = {"height": height, "width": width, "channels": channels, "zero_point": op.attrs["zero_point"]}
    return plane | _source(inputs[0]) | _rule(op)


def _dense(op: Op, inputs: list[View], output: View) -> dict:
    return {"in_channels": inputs[0].shape[2], "out_channels": output.shape[2]}


def _weighted_sum(op: Op, inputs: list[View], output: View) -> dict:
    names = ("multipliers", "bias", "scale_shift", "clamp_min", "clamp_max")
    params = _plane(output) | _source(inputs[0]) | {name: op.attrs[name] for name in names}
    if len(inputs) == 2:
        params |= {"second_pitch": inputs[1].pitch, "second_row": inputs[1].row}
    return params


def _channel_shuffle(op: Op, inputs: list[View], output: View) -> dict:
    return _plane(output) | _source(inputs[0]) | {"rows": op.attrs["rows"]}


_BUILDERS = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "max_pool2d": _pool,
    "avg_pool2d": _avg_pool,
    "global_avg_pool": _global_avg_pool,
    "dense": _dense,
    "add": _weighted_sum,
    "requantize": _weighted_sum,
    "channel_shuffle": _channel_shuffle,
}
