"""A ShuffleNetV2 as float ONNX nodes, named like this:

stem, stem.relu, stem.pool
stage2.1.shuffle.*         megvii, at the start of a unit of stride 1
stage2.1.split             where the stride is 1: `.passing` and `.taken`
stage2.0.branch1.dw, .conv2, .relu2                    where the stride is 2
stage2.0.branch2.conv1, .relu1, .dw, .conv2, .relu2
stage2.0.concat, stage2.0.shuffle.*                    the shuffle: torchvision
last, last.relu, global_pool, flatten, classifier
"""

from __future__ import annotations

import numpy as np

from shufflec.models.architecture_v2 import ArchitectureV2, UnitV2
from shufflec.quantize.graph_builder import GraphBuilder, halved


def add_layers_v2(graph: GraphBuilder, arch: ArchitectureV2, x: str, output: str) -> None:
    """Adds every node from the tensor `x` to the tensor `output`."""
    size = halved(halved(arch.input_size))
    x = graph.conv("stem", x, "stem.conv", "stem.bn")
    x = graph.op("Relu", "stem.relu", x)
    x = graph.op("MaxPool", "stem.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for unit in arch.units():
        x = _add_unit(graph, arch, unit, x, size)
        size = halved(size) if unit.stride == 2 else size
    x = graph.conv("last", x, "last.conv", "last.bn")
    x = graph.op("GlobalAveragePool", "global_pool", graph.op("Relu", "last.relu", x))
    graph.classifier(x, output, arch.classifier_bias, arch.classes)


def _add_unit(graph: GraphBuilder, arch: ArchitectureV2, unit: UnitV2, x: str, size: tuple[int, int]) -> str:
    name, channels = unit.name, unit.branch_channels
    at_end = arch.variant == "torchvision"
    after = halved(size) if unit.stride == 2 else size
    if unit.stride == 2:
        y = graph.conv(f"{name}.branch1.dw", x, f"{name}.branch1.conv2", f"{name}.branch1.bn2")
        y = graph.conv(f"{name}.branch1.conv2", y, f"{name}.branch1.conv3", f"{name}.branch1.bn3")
        beside, taken = graph.op("Relu", f"{name}.branch1.relu2", y), x
    else:
        if not at_end:
            x = graph.shuffle(f"{name}.shuffle", x, channels, 2 * channels, size)
        sizes = graph.constant(f"{name}.split.sizes", np.array([channels, channels], np.int64))
        beside, taken = graph.split(f"{name}.split", x, sizes, (f"{name}.passing", f"{name}.taken"))
    y = graph.conv(f"{name}.branch2.conv1", taken, f"{name}.branch2.conv1", f"{name}.branch2.bn1")
    y = graph.op("Relu", f"{name}.branch2.relu1", y)
    y = graph.conv(f"{name}.branch2.dw", y, f"{name}.branch2.conv2", f"{name}.branch2.bn2")
    y = graph.conv(f"{name}.branch2.conv2", y, f"{name}.branch2.conv3", f"{name}.branch2.bn3")
    y = graph.op("Relu", f"{name}.branch2.relu2", y)
    x = graph.op("Concat", f"{name}.concat", beside, y, axis=1)
    return graph.shuffle(f"{name}.shuffle", x, 2, 2 * channels, after) if at_end else x
