"""The integer operators of ir/graph.py as calls in a Relax module, and the way back.

    y = R.call_dps_packed("shufflec.conv2d", (x, weight, pad_value, multiplier, bias, accumulator_bias),
                          out_ty=R.Tensor((H, W, C), "int8"))      # attributes: DictAttrs of the call

Inputs come first, then the constants, whose names are the attribute `constants`. The attribute `name` is the
operator's name in reports; TVM's own variable names cannot hold a dot.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from shufflec.ir.graph import KINDS, Graph, Op, TensorSpec
from shufflec.ir.passes.rewrite import FunctionBuilder, bindings_of, constant, is_op, shape_of

PREFIX = "shufflec."
RULE_ATTRIBUTE = "shufflec.rule"


def integer_call(op: Op, inputs: list[relax.Expr], spec: TensorSpec) -> relax.Call:
    """The Relax call of one operator. inputs: the expressions for op.inputs; spec: its output tensor."""
    constants = [relax.const(np.ascontiguousarray(value)) for value in op.constants.values()]
    return relax.Call(
        tvm.ir.Op.get("relax.call_dps_packed"),
        [relax.ExternFunc(PREFIX + op.kind), relax.Tuple([*inputs, *constants])],
        tvm.ir.make_node("ir.DictAttrs", name=op.name, constants=tuple(op.constants), **op.attrs),
        [relax.TensorType(spec.shape, spec.dtype)],
    )


def integer_kind(expr: relax.Expr) -> str | None:
    """The operator kind of a call made by `integer_call`, None for any other expression."""
    if not is_op(expr, "relax.call_dps_packed") or not isinstance(expr.args[0], relax.ExternFunc):
        return None
    symbol = str(expr.args[0].global_symbol)
    kind = symbol.removeprefix(PREFIX)
    return kind if symbol.startswith(PREFIX) and kind in KINDS else None


def module_from_graph(graph: Graph) -> tvm.IRModule:
    """The Relax module of an integer graph: one function `main`, one binding an operator."""
    source = graph.tensors[graph.input]
    parameter = relax.Var(identifier(source.name), relax.TensorType(source.shape, source.dtype))
    builder = FunctionBuilder([parameter])
    values: dict[str, relax.Expr] = {graph.input: parameter}
    for op in graph.ops:
        call = integer_call(op, [values[name] for name in op.inputs], graph.tensors[op.output])
        values[op.output] = builder.emit(call, identifier(op.name))
    return builder.module(values[graph.output]).with_attr(RULE_ATTRIBUTE, graph.rule)


def graph_from_module(module: tvm.IRModule) -> Graph:
    """Reads the integer graph off a lowered module; tensors are named after the operator that makes them.

    Raises ValueError for a module that holds anything but integer operators.
    """
    function = module["main"]
    (parameter,) = function.params
    tensors = {parameter.name: TensorSpec(parameter.name, shape_of(parameter), str(parameter.ty.dtype.dtype))}
    names: dict[relax.Var, str] = {parameter: parameter.name}
    ops = []
    for binding in bindings_of(function):
        if isinstance(binding.value, relax.Var):
            names[binding.var] = names[binding.value]
            continue
        op = _read_call(binding.value, names)
        if op.output in tensors:
            raise ValueError(f"two tensors are named {op.output}")
        names[binding.var] = op.output
        tensors[op.output] = TensorSpec(op.output, shape_of(binding.var), str(binding.var.ty.dtype.dtype))
        ops.append(op)
    return Graph(tensors, tuple(ops), parameter.name, names[function.body.body], str(module.attrs[RULE_ATTRIBUTE]))


def _read_call(call: relax.Expr, names: dict[relax.Var, str]) -> Op:
    kind = integer_kind(call)
    if kind is None:
        raise ValueError(f"not an integer operator: {str(call).splitlines()[0]}")
    fields = list(call.args[1].fields)
    attrs = {str(key): _plain(call.attrs[key]) for key in sorted(map(str, call.attrs.keys()))}
    name, constant_names = attrs.pop("name"), attrs.pop("constants")
    count = len(fields) - len(constant_names)
    constants = {key: constant(value) for key, value in zip(constant_names, fields[count:], strict=True)}
    return Op(kind, name, tuple(names[value] for value in fields[:count]), name, attrs, constants)


def _plain(value: object) -> int | float | str | tuple:
    """An attribute as plain Python: TVM wraps sequences and strings."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    return tuple(_plain(item) for item in value)


def identifier(name: str) -> str:
    """A name as TVM's printer can show it."""
    return "".join(char if char.isalnum() else "_" for char in name)
