"""A checkpoint as a float ONNX model, built node by node.

torch's own exporters name nodes after their internals and change between releases; the graph here follows the
`Unit` list of the architecture, so that a layer has the same name in ONNX, in the integer graph and in reports
(ShuffleNetV1; export_v2.py has V2's):

    stem, stem.relu, stem.pool
    stage2.0.conv1, .relu1     1x1, grouped (the first unit's is not)
    stage2.0.dw                3x3 depthwise
    stage2.0.shuffle.split, .transpose, .merge     behind .relu1 (paper, mindcv) or .dw (megvii)
    stage2.0.conv2             1x1, grouped
    stage2.0.pool, .relu2, .concat     where the stride is 2;     .add, .relu2     elsewhere
    global_pool, flatten, classifier

Batch norm is folded into the convolution before it. A node's output has the node's name.
"""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper

from shufflec import __version__
from shufflec.models.architecture import Architecture, Unit
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.checkpoint import Checkpoint
from shufflec.quantize.export_v2 import add_layers_v2
from shufflec.quantize.graph_builder import GraphBuilder, halved
from shufflec.quantize.model_info import read_model_info, write_model_info

__all__ = ["INPUT", "OPSET", "OUTPUT", "export_onnx", "read_model_info", "write_model_info"]

OPSET = 17
IR_VERSION = 8  # the one that belongs to opset 17
INPUT, OUTPUT = "input", "logits"


def export_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """The network as ONNX: `input` float32 [1, 3, H, W] -> `logits` float32 [1, classes].

    The batch is 1 throughout, as in the compiled network. Equal checkpoints give equal bytes. Raises OptionError when
    the weights do not fit the architecture.
    """
    arch = checkpoint.architecture
    network = checkpoint.build()
    graph = GraphBuilder(network)
    with torch.no_grad():
        if isinstance(arch, ArchitectureV2):
            add_layers_v2(graph, arch, INPUT, OUTPUT)
        else:
            _add_layers(graph, arch)
    proto = helper.make_graph(
        graph.nodes,
        arch.family,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, *arch.input_size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, arch.classes])],
        graph.initializers,
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="shufflec",
        producer_version=__version__,
    )
    write_model_info(model, _describe(checkpoint))
    onnx.checker.check_model(model, full_check=True)
    return model


def _describe(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "architecture": checkpoint.architecture.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "class_names": list(checkpoint.class_names),
        "random_weights": checkpoint.random_weights,
        "recipe": checkpoint.recipe,
        "metrics": checkpoint.metrics,
        "seed": checkpoint.seed,
    }


def _add_layers(graph: GraphBuilder, arch: Architecture) -> None:
    size = halved(arch.input_size)
    x = graph.conv("stem", INPUT, "stem.conv", "stem.bn")
    x = graph.op("Relu", "stem.relu", x)
    x = graph.op("MaxPool", "stem.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=list(arch.pool_padding(*size)))
    size = halved(size)
    for unit in arch.units():
        x = _add_unit(graph, arch, unit, x, size)
        size = halved(size) if unit.stride == 2 else size
    x = graph.op("GlobalAveragePool", "global_pool", x)
    graph.classifier(x, OUTPUT, arch.classifier_bias, arch.classes)


def _add_unit(graph: GraphBuilder, arch: Architecture, unit: Unit, x: str, size: tuple[int, int]) -> str:
    name, mid = unit.name, unit.mid_channels
    rows = unit.groups if arch.variant == "paper" else mid // unit.groups
    after_depthwise = arch.variant == "megvii"
    y = graph.conv(f"{name}.conv1", x, f"{name}.conv1", f"{name}.bn1")
    y = graph.op("Relu", f"{name}.relu1", y)
    if unit.shuffle and not after_depthwise:
        y = graph.shuffle(f"{name}.shuffle", y, rows, mid, size)
    y = graph.conv(f"{name}.dw", y, f"{name}.conv2", f"{name}.bn2")
    if unit.shuffle and after_depthwise:
        y = graph.shuffle(f"{name}.shuffle", y, rows, mid, halved(size) if unit.stride == 2 else size)
    y = graph.conv(f"{name}.conv2", y, f"{name}.conv3", f"{name}.bn3")
    if unit.stride == 1:
        return graph.op("Relu", f"{name}.relu2", graph.op("Add", f"{name}.add", x, y))
    y = graph.op("Relu", f"{name}.relu2", y)
    pool = graph.op(
        "AveragePool",
        f"{name}.pool",
        x,
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=list(arch.pool_padding(*size)),
        count_include_pad=int(arch.pool_counts_padding),
    )
    return graph.op("Concat", f"{name}.concat", pool, y, axis=1)
