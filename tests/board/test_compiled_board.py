"""Compiled random graphs on virtual boards: every layer equals the reference, with one thread and with four."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from shufflec.backends.compile import build_library
from shufflec.devices.session import connect
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.ir.graph import Graph
from shufflec.ir.passes.route_channels import route_channels
from shufflec.ir.reference import execute, predict
from shufflec.ir.relax_ops import graph_from_module, module_from_graph
from shufflec.profiling.remote_network import RemoteNetwork
from shufflec.targets.target import load_target

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from integer_graphs import GraphBuilder, random_input, random_operators, shufflenet_v2_stage, tiny_shufflenet

pytestmark = pytest.mark.board


def unfolded_shuffles() -> Graph:
    """Shuffles that are copies: by tables that the kernel packs, and interleaved."""
    b = GraphBuilder(6, 12, 12)
    x = b.shuffle(b.conv2d(b.quantize(), 24), 8)
    x = b.shuffle(b.conv2d(x, 96), 3)
    return b.finish(b.dequantize(b.dense(b.global_avg_pool(x), 3)))


def routed(graph: Graph) -> Graph:
    """The graph with every channel written where it is read."""
    return graph_from_module(route_channels(module_from_graph(graph)))


GRAPHS = {
    "operators": random_operators(3),
    "groups 3": tiny_shufflenet(4, groups=3),
    "groups 8": tiny_shufflenet(5, groups=8, height=45, width=64),
    "unfolded shuffles": unfolded_shuffles(),
    "ShuffleNetV2": routed(shufflenet_v2_stage(7, 44, 3, True)),
    "ShuffleNetV2, copies": shufflenet_v2_stage(8, 20, 2, False),
}


@pytest.fixture(scope="module", params=["rasp4", "rasp5"])
def libraries(request, tmp_path_factory):
    """(target, name of a graph -> what RemoteNetwork reads of a bundle)."""
    target = load_target(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    return target, {name: _bundle(graph, target, folder / f"g{i}.so") for i, (name, graph) in enumerate(GRAPHS.items())}


def _bundle(graph: Graph, target, path: Path) -> SimpleNamespace:
    code = build_library(graph, target)
    path.write_bytes(code.library)
    layers = [
        SimpleNamespace(
            name=layer.name,
            tensor=layer.output.tensor,
            output_shape=layer.output.shape,
            output_dtype=layer.output.dtype,
        )
        for layer in code.program.layers
    ]
    shapes = {"input_shape": graph.tensors[graph.input].shape, "output_shape": code.program.output_shape}
    return SimpleNamespace(library_path=path, layers=layers, **shapes)


@pytest.mark.parametrize("threads", [1, 4])
def test_every_layer_equals_the_reference(libraries, threads):
    target, bundles = libraries
    with virtual_pi(target, threads=threads) as pi, connect(pi.address) as session:
        for name, graph in GRAPHS.items():
            bundle = bundles[name]
            network = RemoteNetwork(bundle, session)
            assert network.module["threads"]() == threads
            for seed in range(2):
                x = random_input(graph, seed)
                assert np.array_equal(network.run(x), predict(graph, x)), name
            expected = execute(graph, x)
            outputs = zip(bundle.layers, network.layer_outputs(x), strict=True)
            wrong = [layer.name for layer, value in outputs if value.tobytes() != expected[layer.tensor].tobytes()]
            assert wrong == [], name
