"""ShuffleNetV2's slices, concatenations and shuffles become offsets: nothing copied, no bit changed, or left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from integer_graphs import GraphBuilder, shufflenet_v2_stage

from shufflec.ir.graph import Graph
from shufflec.ir.passes.route_channels import route_channels
from shufflec.ir.passes.verify_integer import verify_integer
from shufflec.ir.pipeline import lower
from shufflec.ir.reference import execute
from shufflec.ir.relax_ops import module_from_graph
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import export_onnx
from shufflec.quantize.ptq import quantize_model


def _ended(g: GraphBuilder, x: str) -> Graph:
    return g.finish(g.dequantize(g.dense(g.global_avg_pool(g.conv2d(x, 8)), 5)))


def _both(graph: Graph) -> tuple[Graph, Graph]:
    module = module_from_graph(graph)
    return verify_integer(module), verify_integer(route_channels(module))


def _kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


@pytest.mark.parametrize("at_end", [True, False], ids=["torchvision", "megvii"])
@pytest.mark.parametrize(("channels", "units"), [(8, 1), (10, 3), (24, 3), (58, 2), (44, 7)])
def test_nothing_is_moved_and_no_bit_changes(channels, units, at_end):
    before, after = _both(shufflenet_v2_stage(channels + units, channels, units, at_end))
    assert "channel_slice" in _kinds(before)
    assert not {"channel_slice", "channel_shuffle"} & set(_kinds(after))
    for seed in range(2):
        x = np.random.default_rng(seed).normal(size=before.tensors[before.input].shape).astype(np.float32)
        assert np.array_equal(execute(before, x)[before.output], execute(after, x)[after.output])


def test_every_concatenation_is_written_in_place_and_no_work_is_added():
    before, after = _both(shufflenet_v2_stage(3, 24, 7, True))
    for op in after.ops:
        if op.kind == "concat":
            assert all(len(after.consumers(name)) == 1 for name in op.inputs)
    assert sum(map(after.macs, after.ops)) == sum(map(before.macs, before.ops))


def test_a_convolution_is_cut_by_who_reads_it():
    _, after = _both(shufflenet_v2_stage(3, 24, 3, True))
    # The half that a unit makes is read by the next unit (half of it), by the one after that (a quarter), ...
    widths = [after.tensors[op.output].shape[2] for op in after.ops if ".part" in op.name]
    assert sorted(widths, reverse=True) == [6, 6, 6, 6, 6, 3, 3, 3, 3, 2, 2, 1, 1]


def test_a_channel_with_two_readers_leaves_everything_as_it_is():
    g = GraphBuilder(5, 8, 8)
    x = g.conv2d(g.quantize(), 8)
    a, b = g.slice(x, 0, 4), g.slice(x, 2, 4)
    graph = _ended(g, g.concat(g.conv2d(a, 4), g.conv2d(b, 4)))
    before, after = _both(graph)
    assert _kinds(after) == _kinds(before)


def test_a_maker_that_cannot_be_cut_leaves_everything_as_it_is():
    g = GraphBuilder(6, 8, 8)
    x = g.max_pool(g.conv2d(g.quantize(), 8))
    graph = _ended(g, g.concat(g.conv2d(g.slice(x, 0, 4), 4), g.conv2d(g.slice(x, 4, 4), 4)))
    before, after = _both(graph)
    assert _kinds(after) == _kinds(before)


def test_a_network_without_slices_keeps_its_concatenations():
    g = GraphBuilder(7, 8, 8)
    x = g.conv2d(g.quantize(), 8)
    module = module_from_graph(_ended(g, g.concat(g.conv2d(x, 4), g.conv2d(x, 4))))
    assert route_channels(module).same_as(module)


@pytest.fixture(scope="module")
def network():
    images = [np.random.default_rng(i).normal(size=(1, 3, 32, 32)).astype(np.float32) for i in range(2)]
    return quantize_model(export_onnx(random_checkpoint(ArchitectureV2(0.5, "torchvision", 10, 32))), images)


def test_a_quantized_network_has_one_grid_a_stage_and_no_copy_left(network):
    lowered, plain = lower(network), lower(network, fold_shuffle=False)
    assert lowered.shuffle == {"found": 16, "folded": 16, "copies_left": 0}
    assert not set(_kinds(lowered.graph)) & {"channel_slice", "channel_shuffle", "requantize"}
    x = np.random.default_rng(4).normal(size=(1, 3, 32, 32)).astype(np.float32)
    assert np.array_equal(execute(lowered.graph, x)[lowered.graph.output], execute(plain.graph, x)[plain.graph.output])


def test_a_slice_out_of_range_is_a_bug_that_the_verifier_names():
    graph = shufflenet_v2_stage(3, 8, 1, True)
    ops = [replace(op, attrs=op.attrs | {"begin": 7}) if op.kind == "channel_slice" else op for op in graph.ops]
    wrong = replace(graph, ops=tuple(ops))
    with pytest.raises(AssertionError, match="slices 4 of 8"):
        verify_integer(module_from_graph(wrong))
