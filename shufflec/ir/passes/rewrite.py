"""The one way that passes change a Relax function: walk its bindings in order and build it anew.

Every module between import and lowering is a single function `main` with one dataflow block, so a walk in order
sees each definition before its uses, and needs no visitor for control flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax
from tvm.ir.expr import GenericConst
from tvm_ffi import structural_equal

from shufflec.errors import UnsupportedModelError


class FunctionBuilder:
    """Collects bindings and makes them a module with one function `main` of one dataflow block.

    TVM's BlockBuilder prints a warning when an error ends the work half-way, as an unsupported model does.
    """

    def __init__(self, parameters: list[relax.Var]):
        self._parameters = parameters
        self._bindings: list[relax.VarBinding] = []
        self._typer = relax.BlockBuilder()

    def emit(self, call: relax.Call, hint: str, old: relax.Var | None = None) -> relax.Var:
        """Binds a call, whose arguments are variables and constants, to `old` if it has the type, or a new variable."""
        typed = call if isinstance(call.ty, relax.TensorType) else self._typer.normalize(call)
        fits = isinstance(old, relax.DataflowVar) and structural_equal(old.ty, typed.ty)
        var = old if fits else relax.DataflowVar(hint, typed.ty)
        self._bindings.append(relax.VarBinding(var, typed))
        return var

    def module(self, result: relax.Expr) -> tvm.IRModule:
        """The finished module; bindings that `result` does not need are dropped."""
        output = relax.Var("output", result.ty)
        self._bindings.append(relax.VarBinding(output, result))
        body = relax.SeqExpr([relax.DataflowBlock(self._bindings)], output)
        function = relax.Function(self._parameters, body, result.ty).with_attr("global_symbol", "main")
        return relax.transform.DeadCodeElimination()(tvm.IRModule({"main": function}))


@dataclass
class Scope:
    """What a rewriter may look at.

    var: the binding in the old function; readers: the calls of the old function that read a variable of it;
    emit(call) binds a new call before the one that is rewritten.
    """

    var: relax.Var
    definitions: dict[relax.Var, relax.Call]
    readers: dict[relax.Var, list[tuple[relax.Var, relax.Call]]]
    emit: Callable[[relax.Call], relax.Var]

    def producer(self, expr: relax.Expr, op: str) -> relax.Call | None:
        """The call of operator `op` ("relax.reshape") that defines a variable of the new function, or None."""
        call = self.definitions.get(expr) if isinstance(expr, relax.Var) else None
        return call if call is not None and is_op(call, op) else None


def rewrite_calls(module: tvm.IRModule, rewrite: Callable[[Scope, relax.Call], relax.Expr | None]) -> tvm.IRModule:
    """Builds `main` anew; `rewrite` gets each call, with its arguments already rewritten, and may replace it.

    It returns a call, a variable of the new function, a constant, or None to keep the call. Replacements inherit
    the node name. Unused bindings are dropped.
    """
    function = module["main"]
    builder = FunctionBuilder(list(function.params))
    renamed: dict[relax.Var, relax.Expr] = {}
    definitions: dict[relax.Var, relax.Call] = {}
    readers = _readers(function)
    for binding in bindings_of(function):
        value = _renamed(binding.value, renamed)
        name = node_name(value)

        def emit(
            call: relax.Call, old: relax.Var | None = None, name: str = name, hint: str = binding.var.name
        ) -> relax.Var:
            call = named(call, node_name(call) or name)
            var = builder.emit(call, hint, old)
            definitions[var] = call
            return var

        if isinstance(value, relax.Call):
            replaced = rewrite(Scope(binding.var, definitions, readers, emit), value)
            value = value if replaced is None else replaced
        new = emit(value, binding.var) if isinstance(value, relax.Call) else value
        if not new.same_as(binding.var):
            renamed[binding.var] = new
    return builder.module(_renamed(function.body.body, renamed))


def bindings_of(function: relax.Function) -> list[relax.VarBinding]:
    """The bindings of a function in order."""
    return [binding for block in function.body.blocks for binding in block.bindings]


def _readers(function: relax.Function) -> dict[relax.Var, list[tuple[relax.Var, relax.Call]]]:
    readers: dict[relax.Var, list[tuple[relax.Var, relax.Call]]] = {}
    for binding in bindings_of(function):
        if isinstance(binding.value, relax.Call):
            for var in _variables(binding.value.args):
                readers.setdefault(var, []).append((binding.var, binding.value))
    return readers


def _variables(items: Iterable[relax.Expr]) -> Iterator[relax.Var]:
    for item in items:
        if isinstance(item, relax.Var):
            yield item
        elif isinstance(item, relax.Tuple):
            yield from _variables(item.fields)


def _renamed(expr: relax.Expr, renamed: dict[relax.Var, relax.Expr]) -> relax.Expr:
    """The expression over the new function's variables; the same object where none changed."""
    if isinstance(expr, relax.Var):
        return renamed.get(expr, expr)
    if not isinstance(expr, (relax.Call, relax.Tuple)):
        return expr
    old = expr.args if isinstance(expr, relax.Call) else expr.fields
    new = [_renamed(item, renamed) for item in old]
    if all(a is b or a.same_as(b) for a, b in zip(old, new, strict=True)):
        return expr
    if isinstance(expr, relax.Tuple):
        return relax.Tuple(new)
    return relax.Call(expr.op, new, expr.attrs, expr.ty_args, expr.span)


def named(call: relax.Call, name: str) -> relax.Call:
    """The call with the name of its ONNX node, kept as the span's source; the same object if it has that name."""
    if node_name(call) == name:
        return call
    span = tvm.ir.Span(tvm.ir.SourceName(name), 0, 0, 0, 0)
    return relax.Call(call.op, call.args, call.attrs, call.ty_args, span)


def node_name(expr: relax.Expr) -> str:
    """The name of the ONNX node that an expression came from, "" when it has none."""
    return expr.span.source_name.name if expr.span is not None else ""


def is_op(expr: relax.Expr, name: str) -> bool:
    """Whether an expression is a call of the Relax operator `name`."""
    return isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op) and expr.op.name == name


def constant(expr: relax.Expr) -> np.ndarray | None:
    """The value of a constant expression, or None."""
    return expr.value.numpy() if isinstance(expr, GenericConst) else None


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """The static shape of a tensor expression."""
    return tuple(int(dim) for dim in expr.ty.shape)


def unsupported(name: str, message: str, hint: str = "") -> UnsupportedModelError:
    """An error that names the ONNX node at fault."""
    return UnsupportedModelError(f"node {name}: {message}", hint)
