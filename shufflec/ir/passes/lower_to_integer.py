"""Lowers every island DequantizeLinear .. QuantizeLinear to integer operators over NHWC int8 tensors.

    before   float NCHW operators between R.dequantize and R.quantize
    after    R.call_dps_packed("shufflec.<kind>", ..) only; one float input, one float output

A walk over the bindings with an abstract value for each: nothing is emitted for a float operator until the
QuantizeLinear that ends its island tells the grid of the result (lowering/values.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from shufflec.ir.graph import Graph, TensorSpec
from shufflec.ir.numerics import RequantRangeError
from shufflec.ir.passes.lowering import classifier, concatenation, convolution, pooling, weighted_sum
from shufflec.ir.passes.lowering.values import Emitter, Grid, Value, Weights
from shufflec.ir.passes.lowering.weighted_sum import Dequantized
from shufflec.ir.passes.recognise_channel_shuffle import shuffle_rows
from shufflec.ir.passes.rewrite import bindings_of, constant, node_name, shape_of, unsupported
from shufflec.ir.relax_ops import module_from_graph
from shufflec.ir.rules import A64, Rule


@dataclass(frozen=True)
class _FloatInput:
    """The network's input, which only a QuantizeLinear may read."""

    tensor: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Codes:
    """An int8 tensor whose meaning the next DequantizeLinear gives. shape: (H, W, C)."""

    tensor: str
    shape: tuple[int, int, int]
    name: str


def lower_to_integer(module: tvm.IRModule, rule: Rule = A64) -> tvm.IRModule:
    """Raises UnsupportedModelError, naming the node, for anything that has no integer form. rule: rounds."""
    return module_from_graph(lower_to_graph(module, rule)[0])


def lower_to_graph(module: tvm.IRModule, rule: Rule = A64) -> tuple[Graph, dict[str, str]]:
    """The integer graph, and the node name of the QuantizeLinear that made a tensor, for those that one made."""
    function = module["main"]
    (source,) = function.params
    spec = TensorSpec(source.name, shape_of(source), str(source.ty.dtype.dtype))
    emitter = Emitter({spec.name: spec}, rule=rule)
    walk = _Walk(emitter, {source: _FloatInput(spec.name, spec.shape)})
    for binding in bindings_of(function):
        walk.bind(binding)
    result = classifier.emit_output(emitter, "logits", walk.result(function.body.body))
    return Graph(emitter.tensors, tuple(emitter.ops), spec.name, result, rule.name), walk.origins


@dataclass
class _Walk:
    """The walk's state: what each variable of the old function stands for."""

    emitter: Emitter
    values: dict[relax.Var, object]
    origins: dict[str, str] = field(default_factory=dict)

    def bind(self, binding: relax.VarBinding) -> None:
        value = binding.value
        if not isinstance(value, relax.Call):
            self.values[binding.var] = self._value(value)
            return
        name = node_name(value) or binding.var.name
        operator = value.op.name if isinstance(value.op, tvm.ir.Op) else str(value.op)
        rule = _RULES.get(operator)
        if rule is None:
            raise unsupported(name, f"operator {operator.removeprefix('relax.')} has no integer form")
        self.values[binding.var] = rule(self, name, value)

    def result(self, expr: relax.Expr) -> Value:
        """What the function returns."""
        return self._float(expr, "output")

    def _value(self, expr: relax.Expr) -> object:
        if isinstance(expr, relax.Var):
            return self.values[expr]
        value = constant(expr)
        return [self._value(item) for item in expr.fields] if value is None else value

    def _float(self, expr: relax.Expr, name: str) -> Value:
        """A value of the float domain: not the network's input, codes or a constant."""
        value = self._value(expr)
        if isinstance(value, (_FloatInput, _Codes, Weights, np.ndarray)):
            kind = "the float input" if isinstance(value, _FloatInput) else "a tensor without DequantizeLinear"
            raise unsupported(name, f"reads {kind}, expected a quantized tensor", "quantize with: shufflec quantize")
        return value

    def quantize(self, name: str, call: relax.Call) -> _Codes:
        grid = Grid.of(constant(call.args[1]), constant(call.args[2]))
        if np.any(grid.scale <= 0) or not np.all(np.isfinite(grid.scale)):
            raise unsupported(name, "has a scale that is not positive and finite")
        source = self._value(call.args[0])
        if isinstance(source, _FloatInput):
            _, channels, height, width = source.shape
            scale, zero_point = grid.scalar(name)
            attrs = {"scale": scale, "zero_point": zero_point}
            shape = (height, width, channels)
            tensor = self.emitter.emit("quantize", "quantize", [source.tensor], shape, attrs)
            self.origins[tensor] = name
            return _Codes(tensor, shape, tensor)
        value = self._float(call.args[0], name)
        try:
            tensor = value.requantized(self.emitter, grid)
        except RequantRangeError as error:
            raise unsupported(value.name, f"its scales cannot be lowered to integers: {error}") from error
        self.origins[tensor] = name
        return _Codes(tensor, value.shape, value.name)

    def dequantize(self, name: str, call: relax.Call) -> object:
        codes, scale, zero_point = (constant(item) for item in call.args)
        if codes is not None:
            if np.any(zero_point):
                raise unsupported(name, "dequantizes weights with a zero point, expected symmetric weights")
            return Weights(codes, scale.astype(np.float64), int(call.attrs.axis) % max(codes.ndim, 1))
        source = self._value(call.args[0])
        if not isinstance(source, _Codes):
            raise unsupported(name, "reads a tensor that no QuantizeLinear made")
        return Dequantized(source.name, source.shape, source.tensor, Grid.of(scale, zero_point))

    def take(self, name: str, call: relax.Call) -> _Codes:
        source = self._value(call.args[0])
        if not isinstance(source, _Codes):
            raise unsupported(name, "shuffles a float tensor, expected a quantizer before or behind it")
        attrs = {"rows": shuffle_rows(constant(call.args[1]))}
        tensor = self.emitter.emit("channel_shuffle", name, [source.tensor], source.shape, attrs)
        return _Codes(tensor, source.shape, name)

    def slice(self, name: str, call: relax.Call) -> _Codes:
        source = self._value(call.args[0])
        axes, begin, end, stride = ([int(item.value) for item in part.fields] for part in call.args[1:5])
        if not isinstance(source, _Codes) or axes not in ([1], [-3]) or stride != [1]:
            raise unsupported(name, "is no slice of the channels of a quantized tensor")
        height, width, channels = source.shape
        first, last = (min(item[0] + channels * (item[0] < 0), channels) for item in (begin, end))
        shape, attrs = (height, width, last - first), {"begin": first, "channels": last - first}
        tensor = self.emitter.emit("channel_slice", name, [source.tensor], shape, attrs)
        return _Codes(tensor, shape, name)

    def conv2d(self, name: str, call: relax.Call) -> Value:
        return convolution.convolve(name, call, self._float(call.args[0], name), self._value(call.args[1]))

    def matmul(self, name: str, call: relax.Call) -> Value:
        return classifier.classify(name, self._float(call.args[0], name), self._value(call.args[1]))

    def add(self, name: str, call: relax.Call) -> Value:
        a, b = (self._value(item) for item in call.args)
        if isinstance(a, np.ndarray):
            a, b = b, a
        if isinstance(b, np.ndarray):
            return self._add_bias(name, a, b)
        a, b = (self._float(item, name) for item in call.args)
        if isinstance(a, Dequantized) and isinstance(b, Dequantized):
            return weighted_sum.add(name, a, b)
        if isinstance(a, convolution.Convolution) and isinstance(b, Dequantized):
            return a.plus(b)
        if isinstance(b, convolution.Convolution) and isinstance(a, Dequantized):
            return b.plus(a)
        raise unsupported(name, "adds two float tensors, expected at least one with a quantizer of its own")

    def _add_bias(self, name: str, value: object, bias: np.ndarray) -> Value:
        if not isinstance(value, (convolution.Convolution, classifier.Classifier)):
            raise unsupported(name, "adds a constant to something else than a convolution or fully connected layer")
        channels = value.shape[2]
        per_channel = bias.ravel()
        if bias.size not in (1, channels) or max(bias.shape, default=1) != bias.size:
            raise unsupported(name, f"adds a constant of shape {bias.shape}, expected one value for each channel")
        return value.plus_bias(np.broadcast_to(per_channel, (channels,)).astype(np.float64))

    def relu(self, name: str, call: relax.Call) -> Value:
        return self._float(call.args[0], name).clamped(0.0, np.inf)

    def clip(self, name: str, call: relax.Call) -> Value:
        low, high = (float(item.value) for item in call.args[1:])
        return self._float(call.args[0], name).clamped(low, high)

    def max_pool(self, name: str, call: relax.Call) -> Value:
        return pooling.max_pool(name, call, self._float(call.args[0], name))

    def average_pool(self, name: str, call: relax.Call) -> Value:
        return pooling.average_pool(name, call, self._float(call.args[0], name))

    def mean(self, name: str, call: relax.Call) -> Value:
        return pooling.global_average(name, self._float(call.args[0], name))

    def concat(self, name: str, call: relax.Call) -> Value:
        return concatenation.concatenate(name, call, [self._float(item, name) for item in call.args[0].fields])

    def reshape(self, name: str, call: relax.Call) -> object:
        """Only between [1, C, 1, 1] and [1, C], which are one thing here."""
        value = self._value(call.args[0])
        shape = shape_of(call.args[0])
        result = tuple(int(dim) for dim in call.args[1].values)
        if (
            isinstance(value, (_FloatInput, np.ndarray, Weights))
            or shape[2:] not in ((), (1, 1))
            or result[:2] != shape[:2]
        ):
            raise unsupported(name, f"reshapes {list(shape)} to {list(result)}, which is not supported")
        return value


_RULES = {
    "relax.quantize": _Walk.quantize,
    "relax.dequantize": _Walk.dequantize,
    "relax.take": _Walk.take,
    "relax.strided_slice": _Walk.slice,
    "relax.nn.conv2d": _Walk.conv2d,
    "relax.matmul": _Walk.matmul,
    "relax.add": _Walk.add,
    "relax.nn.relu": _Walk.relu,
    "relax.clip": _Walk.clip,
    "relax.nn.max_pool2d": _Walk.max_pool,
    "relax.nn.avg_pool2d": _Walk.average_pool,
    "relax.mean": _Walk.mean,
    "relax.concat": _Walk.concat,
    "relax.reshape": _Walk.reshape,
}
