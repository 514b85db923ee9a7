"""ONNX operators as torch functions, for a batch of any size: those that a network of integer islands is made of.

Each of `OPERATORS` takes a node and its constant inputs by position and returns a function of its tensors. What the
constants do not hold (weights, biases) are tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import torch
from torch.nn import functional

from shufflec.errors import UnsupportedModelError
from shufflec.quantize.onnx_graph import attribute

Function = Callable[..., torch.Tensor]
Constants = Mapping[int, np.ndarray]


def operator(node: onnx.NodeProto, constants: Constants) -> Function:
    """The function of one node.

    Raises UnsupportedModelError for an operator, or a form of one, that cannot be trained.
    """
    make = OPERATORS.get(node.op_type)
    if make is None:
        raise cannot_train(node, "there is no torch function for it")
    return make(node, constants)


def cannot_train(node: onnx.NodeProto, reason: str) -> UnsupportedModelError:
    """The error of a node that training cannot take."""
    return UnsupportedModelError(
        f"{node.op_type} node {node.name or node.output[0]} cannot be trained: {reason}", "quantize with --method ptq"
    )


def _conv(node: onnx.NodeProto, constants: Constants) -> Function:
    before, inside = _padding(node)
    stride, dilation = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    groups = attribute(node, "group", 1)

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        x = functional.pad(x, before) if any(before) else x
        return functional.conv2d(x, weight, bias, stride, inside, dilation, groups)

    return run


def _gemm(node: onnx.NodeProto, constants: Constants) -> Function:
    if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0 or attribute(node, "transA", 0):
        raise cannot_train(node, "it has factors, or a transposed input")
    transposed = attribute(node, "transB", 0)

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return functional.linear(x, weight if transposed else weight.t(), bias)

    return run


def _matmul(node: onnx.NodeProto, constants: Constants) -> Function:
    return torch.matmul


def _max_pool(node: onnx.NodeProto, constants: Constants) -> Function:
    before, inside = _padding(node)
    _check_pool(node)
    kernel, stride = attribute(node, "kernel_shape", None), attribute(node, "strides", [1, 1])

    def run(x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, before, value=-torch.inf) if any(before) else x
        return functional.max_pool2d(x, kernel, stride, inside)

    return run


def _average_pool(node: onnx.NodeProto, constants: Constants) -> Function:
    pads = attribute(node, "pads", [0, 0, 0, 0])
    _check_pool(node)
    kernel, stride = attribute(node, "kernel_shape", None), attribute(node, "strides", [1, 1])
    counts_padding = bool(attribute(node, "count_include_pad", 0))
    around = [pads[1], pads[3], pads[0], pads[2]]

    def run(x: torch.Tensor) -> torch.Tensor:
        sums = functional.avg_pool2d(functional.pad(x, around), kernel, stride, divisor_override=1)
        if counts_padding:
            return sums / (kernel[0] * kernel[1])
        ones = functional.pad(torch.ones_like(x[:1, :1]), around)
        return sums / functional.avg_pool2d(ones, kernel, stride, divisor_override=1)

    return run


def _reshape(node: onnx.NodeProto, constants: Constants) -> Function:
    shape = _constant(node, constants, 1).tolist()
    if len(shape) < 2 or shape[0] not in (-1, 0, 1) or 0 in shape[1:]:
        raise cannot_train(node, f"its shape {shape} does not begin with the batch")

    def run(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], *shape[1:])

    return run


def _transpose(node: onnx.NodeProto, constants: Constants) -> Function:
    order = attribute(node, "perm", None)
    if order is None or order[0] != 0:
        raise cannot_train(node, "it moves the batch")
    return lambda x: x.permute(order)


def _flatten(node: onnx.NodeProto, constants: Constants) -> Function:
    if attribute(node, "axis", 1) != 1:
        raise cannot_train(node, "it joins the batch with other axes")
    return lambda x: torch.flatten(x, 1)


def _slice(node: onnx.NodeProto, constants: Constants) -> Function:
    begins, ends = (_constant(node, constants, index).tolist() for index in (1, 2))
    axes = _constant(node, constants, 3).tolist() if len(node.input) > 3 else list(range(len(begins)))
    steps = _constant(node, constants, 4).tolist() if len(node.input) > 4 else [1] * len(begins)
    if any(step < 1 for step in steps) or 0 in axes:
        raise cannot_train(node, "it runs backwards, or over the batch")

    def run(x: torch.Tensor) -> torch.Tensor:
        chosen = [slice(None)] * x.ndim
        for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
            chosen[axis] = slice(begin, end, step)
        return x[tuple(chosen)]

    return run


def _concat(node: onnx.NodeProto, constants: Constants) -> Function:
    axis = attribute(node, "axis", 1)
    return lambda *parts: torch.cat(parts, axis)


def _clip(node: onnx.NodeProto, constants: Constants) -> Function:
    low, high = (float(constants[index]) if index in constants else None for index in (1, 2))
    return lambda x: torch.clamp(x, low, high)


def _constant(node: onnx.NodeProto, constants: Constants, index: int) -> np.ndarray:
    if index not in constants:
        raise cannot_train(node, "its shape is computed at run time")
    return constants[index]


def _check_pool(node: onnx.NodeProto) -> None:
    if attribute(node, "ceil_mode", 0) or any(d != 1 for d in attribute(node, "dilations", [1])):
        raise cannot_train(node, "it has ceil_mode or dilations")


def _padding(node: onnx.NodeProto) -> tuple[list[int], list[int]]:
    """Padding as torch's `pad` takes it, for what is not alike on both sides, and that which an operator takes."""
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID", "NOTSET", "VALID"):
        raise cannot_train(node, "its padding is computed at run time")
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    if (top, left) == (bottom, right):
        return [0, 0, 0, 0], [top, left]
    return [left, right, top, bottom], [0, 0]


OPERATORS: dict[str, Callable[[onnx.NodeProto, Constants], Function]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda node, constants: lambda x: x.mean((2, 3), keepdim=True),
    "Relu": lambda node, constants: torch.relu,
    "Clip": _clip,
    "Add": lambda node, constants: torch.add,
    "Concat": _concat,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Identity": lambda node, constants: lambda x: x,
    "Slice": _slice,
}
