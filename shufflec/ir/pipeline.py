"""The one ordered list of passes from a QDQ model to the integer graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx
import tvm

from shufflec.ir.graph import Graph
from shufflec.ir.import_onnx import import_onnx
from shufflec.ir.passes.canonicalize import canonicalize
from shufflec.ir.passes.fold_channel_shuffle import count_copies, fold_channel_shuffle
from shufflec.ir.passes.lower_to_integer import lower_to_integer
from shufflec.ir.passes.recognise_channel_shuffle import count_shuffles, recognise_channel_shuffle
from shufflec.ir.passes.route_channels import route_channels
from shufflec.ir.passes.shuffle_quantized import shuffle_quantized
from shufflec.ir.passes.verify_integer import verify_integer
from shufflec.ir.rules import A64, Rule

Pass = Callable[[tvm.IRModule], tvm.IRModule]

QDQ_PASSES: tuple[Pass, ...] = (
    canonicalize,
    recognise_channel_shuffle,  # reads the plain reshapes that canonicalize leaves
    shuffle_quantized,  # and concatenations, which wait for each other
)
FOLDING_PASSES: tuple[Pass, ...] = (fold_channel_shuffle, route_channels)


@dataclass(frozen=True)
class IntegerModule:
    """A lowered network: the Relax module, the integer graph read off it, and {found, folded, copies_left}."""

    mod: tvm.IRModule
    graph: Graph
    shuffle: dict[str, int]


def lower(model: onnx.ModelProto, fold_shuffle: bool = True, rule: Rule = A64) -> IntegerModule:
    """Lowers a QDQ model to integers, rounded by `rule`. With fold_shuffle=False every channel shuffle stays a copy.

    Raises UnsupportedModelError, naming the node, for a model that cannot become integer throughout.
    """
    module = qdq_module(model)
    found = count_shuffles(module)
    module = lower_to_integer(module, rule)
    for step in FOLDING_PASSES if fold_shuffle else ():
        module = step(module)
    graph = verify_integer(module)
    copies = count_copies(graph)
    return IntegerModule(module, graph, {"found": found, "folded": found - copies, "copies_left": copies})


def qdq_module(model: onnx.ModelProto) -> tvm.IRModule:
    """The imported model with one form for each thing, ready for lower_to_integer; still float and executable."""
    module = import_onnx(model)
    for step in QDQ_PASSES:
        module = step(module)
    return module
