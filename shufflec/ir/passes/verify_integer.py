"""The verifier at the end of the pipeline: what the later stages rely on.

    quantize(float32) -> integer operators over int8 (int32 behind `dense`) -> dequantize -> float32

Checks operators, dtypes, shapes against an operator's own arithmetic, constants and attribute ranges.
"""

from __future__ import annotations

import numpy as np
import tvm

from shufflec.ir.graph import Graph, Op
from shufflec.ir.numerics import MAX_FRACTION, MAX_SHIFT
from shufflec.ir.numerics_m import MAX_DIGITS, MAX_LEFT_SHIFT, MAX_SCALE_SHIFT, RESIDUAL_SHIFT
from shufflec.ir.relax_ops import graph_from_module

_WINDOWED = ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d")
_CONSTANT_TYPES = {
    "weight": "int8", "pad_value": "int8", "multiplier": "int16", "bias": "int16", "accumulator_bias": "int32",
    "scale": "float32", "pre_shift": "int8",
}  # fmt: skip
_RANGES = {
    "shift": (1, MAX_SHIFT), "fraction": (1, MAX_FRACTION), "left_shift": (0, MAX_LEFT_SHIFT),
    "digits": (0, MAX_DIGITS), "lift": (0, RESIDUAL_SHIFT), "scale_shift": (1, MAX_SCALE_SHIFT),
}  # fmt: skip


class InvalidModuleError(AssertionError):
    """A lowered module that breaks a rule of the integer graph: a bug in a pass."""


def verify_integer(module: tvm.IRModule) -> Graph:
    """Reads the graph off a lowered module and checks it. Raises InvalidModuleError with the operator at fault."""
    try:
        graph = graph_from_module(module)
    except ValueError as error:
        raise InvalidModuleError(str(error)) from error
    verify_graph(graph)
    return graph


def verify_graph(graph: Graph) -> None:
    """Checks every operator of an integer graph."""
    _expect(len(graph.ops) > 1 and graph.ops[0].kind == "quantize", "graph", "does not begin with quantize")
    _expect(graph.ops[-1].kind == "dequantize", "graph", "does not end in dequantize")
    _expect(graph.ops[-1].output == graph.output, "graph", "does not return what dequantize makes")
    for op in graph.ops:
        _check_types(graph, op)
        _check_shape(graph, op)
        _check_numbers(op)
        if op.output != graph.output:
            _expect(bool(graph.consumers(op.output)), op.name, "computes a tensor that nothing reads")


def _check_types(graph: Graph, op: Op) -> None:
    expected = {"dense": "int32", "dequantize": "float32"}.get(op.kind, "int8")
    found = graph.tensors[op.output].dtype
    _expect(found == expected, op.name, f"makes {found}, expected {expected}")
    sources = {"quantize": ("float32",), "dequantize": ("int8", "int32")}.get(op.kind, ("int8",))
    for name in op.inputs:
        _expect(graph.tensors[name].dtype in sources, op.name, f"reads {graph.tensors[name].dtype}")
    for name, value in op.constants.items():
        wanted = "int32" if name == "multiplier" and "digits" in op.attrs else _CONSTANT_TYPES[name]
        _expect(str(value.dtype) == wanted, op.name, f"has {name} of type {value.dtype}")


def _check_shape(graph: Graph, op: Op) -> None:
    shapes = [graph.tensors[name].shape for name in op.inputs]
    found = graph.tensors[op.output].shape
    if op.kind in _WINDOWED:
        kernel = op.attrs.get("kernel") or op.constants["weight"].shape[1:3]
        top, left, bottom, right = op.attrs["pad"]
        padded = shapes[0][0] + top + bottom, shapes[0][1] + left + right
        plane = tuple((size - k) // s + 1 for size, k, s in zip(padded, kernel, op.attrs["stride"], strict=True))
        channels = op.constants["weight"].shape[0] if "weight" in op.constants else shapes[0][2]
        expected = (*plane, channels)
        if len(shapes) > 1:
            _expect(shapes[1] == found, op.name, f"has a residual of shape {shapes[1]}")
    elif op.kind == "concat":
        expected = (*shapes[0][:2], sum(shape[2] for shape in shapes))
    elif op.kind == "channel_slice":
        begin, channels = op.attrs["begin"], op.attrs["channels"]
        _expect(begin >= 0 and 0 < channels <= shapes[0][2] - begin, op.name, f"slices {channels} of {shapes[0][2]}")
        expected = (*shapes[0][:2], channels)
    elif op.kind == "global_avg_pool":
        expected = (1, 1, shapes[0][2])
    elif op.kind == "dense":
        expected = (1, 1, op.constants["weight"].shape[0])
    elif op.kind == "quantize":
        expected = (*shapes[0][2:], shapes[0][1])
    elif op.kind == "dequantize":
        expected = (1, shapes[0][2])
    else:
        _expect(len(set(shapes)) == 1, op.name, f"reads tensors of shapes {shapes}")
        expected = shapes[0]
    _expect(found == expected, op.name, f"has shape {found}, its operator makes {expected}")
    if op.kind == "conv2d":
        groups = op.attrs["groups"]
        depth = op.constants["weight"].shape[3]
        whole = depth * groups == shapes[0][2] and found[2] % groups == 0 and found[2] % op.attrs["shuffle_rows"] == 0
        _expect(whole, op.name, f"has {groups} groups of {depth} for {shapes[0][2]} channels")


def _check_numbers(op: Op) -> None:
    attrs = op.attrs
    for name, (low, high) in _RANGES.items():
        _expect(name not in attrs or low <= attrs[name] <= high, op.name, f"has {name} {attrs.get(name)}")
    if "clamp_min" in attrs:
        _expect(-128 <= attrs["clamp_min"] <= attrs["clamp_max"] <= 127, op.name, "has an empty clamp")
    for name in ("multiplier", "scale"):
        if name in op.constants:
            _expect(bool(np.all(op.constants[name] >= 0)), op.name, f"has a negative {name}")


def _expect(condition: bool, name: str, message: str) -> None:
    if not condition:
        raise InvalidModuleError(f"{name} {message}")
