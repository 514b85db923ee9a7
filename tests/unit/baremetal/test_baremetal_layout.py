"""Where tensors of firmware lie: over the input, in place, inside of borders, and within what a board has."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from integer_graphs import GraphBuilder, tiny_shufflenet

from shufflec.backends.baremetal.budget import Need, check_budget, peak_layer, resized
from shufflec.backends.baremetal.layout import ALIGNMENT, lay_out
from shufflec.backends.planner import plan
from shufflec.errors import UnsupportedModelError
from shufflec.ir.passes.verify_integer import verify_graph
from shufflec.ir.rules import M
from shufflec.kernels.mcu.select import select
from shufflec.targets.target import load_target


def planned(graph, isa="portable"):
    program, fixed = lay_out(graph, isa, select)
    return program, plan(program.buffers.values(), ALIGNMENT, fixed)


def network(height=64, width=64):
    b = GraphBuilder(1, height, width, M)
    x = b.conv2d(b.quantize(), 24, kernel=(3, 3), stride=(2, 2), pad=(1, 1, 0, 0))
    x = b.max_pool(x, pad=(1, 1, 0, 0))
    y = b.depthwise(b.conv2d(x, 12), per_channel=False)
    x = b.conv2d(y, 24, residual=x)
    x = b.add(x, b.conv2d(x, 24))
    return b.finish(b.dequantize(b.dense(b.global_avg_pool(x), 10)))


def test_the_stem_is_never_whole_and_its_pool_lies_over_the_input():
    program, memory = planned(network())
    first = program.layers[0]
    assert [step.kernel.workload.kind for step in first.steps] == ["stem_pool"]
    assert first.steps[0].inputs[0].buffer == first.output.buffer
    assert memory.offset(first.output.buffer) == 0
    # The input's 12,288 bytes with three rows of the stem, not 24,576 bytes of it.
    assert memory.live(0)[-1].end <= 12_288 + 3 * 32 * 24 + 2 * ALIGNMENT


def test_residuals_and_sums_are_written_over_their_input():
    program, _ = planned(network())
    by_kind = {layer.name: layer for layer in program.layers}
    add = next(layer for layer in program.layers if layer.kind == "add")
    assert add.output.buffer == add.steps[-1].inputs[0].buffer
    convs = [layer for layer in by_kind.values() if len(layer.steps[-1].inputs) == 2 and layer.kind == "conv2d"]
    assert convs
    assert all(layer.output.buffer == layer.steps[-1].inputs[1].buffer for layer in convs)


def test_the_producer_writes_inside_of_the_border():
    program, _ = planned(network())
    index = next(i for i, layer in enumerate(program.layers) if layer.kind == "depthwise_conv2d")
    producer, reader = program.layers[index - 1], program.layers[index]
    assert [step.kernel.workload.kind for step in producer.steps] == ["border", "conv2d"]
    assert [step.kernel.workload.kind for step in reader.steps] == ["depthwise_conv2d"]
    assert producer.output.row == producer.output.shape[1] + 2


def test_live_buffers_never_overlap():
    program, memory = planned(tiny_shufflenet(seed=3, rule=M))
    for layer in range(len(program.layers)):
        placements = memory.live(layer)
        for a, b in pairwise(placements):
            assert a.end <= b.offset, (layer, a.buffer.name, b.buffer.name)


def test_a_network_too_large_for_the_ram_names_layer_and_input():
    graph = network(96, 96)
    program, memory = planned(graph)
    board = replace(load_target("cortex-m4"), ram_bytes=20_000)
    need = Need(memory.peak_bytes + 300, 50_000)
    with pytest.raises(UnsupportedModelError) as caught:
        check_budget(graph, board, program, memory, need, select)
    error = caught.value
    assert f"{need.ram_bytes - 20_000:,} more" in error.message
    assert peak_layer(program, memory)[0] in error.message
    assert "--input-size 64" in error.hint
    _, smaller = planned(resized(graph, 64, 64))
    assert smaller.peak_bytes + 300 <= 20_000


def test_a_network_too_large_for_the_flash_says_what_share_would_fit():
    graph = network()
    program, memory = planned(graph)
    board = replace(load_target("cortex-m4"), flash_bytes=1500)
    need = Need(1000, program.weight_bytes + 1000)
    with pytest.raises(UnsupportedModelError, match="bytes of flash, the network needs") as caught:
        check_budget(graph, board, program, memory, need, select)
    assert f"{500 / program.weight_bytes:.0%}" in caught.value.hint


def test_what_fits_is_not_refused():
    graph = network()
    program, memory = planned(graph)
    board = load_target("cortex-m4")
    check_budget(graph, board, program, memory, Need(board.ram_bytes, board.flash_bytes), select)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 32), (45, 96)])
def test_a_resized_graph_is_a_valid_one(height, width):
    graph = resized(tiny_shufflenet(seed=2, height=64, width=64, rule=M), height, width)
    verify_graph(graph)
    assert graph.tensors[graph.input].shape == (1, 3, height, width)


def test_one_function_serves_layers_of_one_shape():
    program, _ = planned(network())
    borders = {step.kernel.workload for step in program.steps if step.kernel.workload.kind == "border"}
    assert len(borders) == 1
    assert all(np.asarray(step.packed.requant).size == 8 for step in program.steps if step.name.endswith("border"))


def test_a_channel_slice_is_a_view_that_nothing_overwrites():
    b = GraphBuilder(2, 16, 16, M)
    x = b.conv2d(b.quantize(), 16)
    part = b.emit("channel_slice", (x,), (16, 16, 8), {"begin": 8, "channels": 8})
    y = b.add(x, x)
    z = b.concat(b.conv2d(part, 8), b.requantize(y))
    program, _ = planned(b.finish(b.dequantize(b.dense(b.global_avg_pool(z), 4))))
    reader = next(layer for layer in program.layers if layer.steps[-1].inputs[0].tensor == part)
    source = reader.steps[-1].inputs[0]
    assert (source.buffer, source.offset, source.shape, source.pitch) == (x, 8, (16, 16, 8), 16)
    assert next(layer for layer in program.layers if layer.kind == "add").output.buffer != x


def test_an_operator_without_a_kernel_is_named():
    b = GraphBuilder(2, 16, 16, M)
    x = b.emit("transpose", (b.quantize(),), (16, 16, 3))
    with pytest.raises(UnsupportedModelError, match=r"transpose \(layer layer1.transpose\) has no kernel"):
        planned(b.finish(b.dequantize(b.dense(b.global_avg_pool(x), 4))))


def test_quantized_logits_are_refused():
    b = GraphBuilder(2, 16, 16, M)
    graph = b.finish(b.dequantize(b.global_avg_pool(b.quantize())))
    with pytest.raises(UnsupportedModelError, match="has a quantizer behind it"):
        planned(graph)
