"""How a graph is laid out: pads, concats in place, workloads."""

from __future__ import annotations

import pytest
from integer_graphs import GraphBuilder, tiny_shufflenet

from shufflec.backends.layout import MAX_TASKS, lay_out, slices_of_concats
from shufflec.backends.planner import plan
from shufflec.kernels.kernel import Kernel, Packed, Workload


def no_code(workload: Workload, scratch: int = 0, tiles: int = 1) -> Kernel:
    return Kernel(workload, (), "none", None, tiles, scratch, lambda constants: Packed())


def finish(b: GraphBuilder, x: str):
    return b.finish(b.dequantize(b.dense(b.global_avg_pool(x), 3)))


def kinds(program) -> list[list[str]]:
    return [[step.kernel.workload.kind for step in layer.steps] for layer in program.layers]


def test_quantize_writes_the_border_of_the_first_convolution():
    b = GraphBuilder(0, 10, 12)
    x = b.conv2d(b.quantize(), 8, kernel=(3, 3), stride=(2, 2), pad=(1, 2, 0, 1))
    program = lay_out(finish(b, x), "portable", no_code)
    quantize, conv = program.layers[:2]
    assert kinds(program)[:2] == [["quantize"], ["conv2d"]]
    assert quantize.steps[0].kernel.workload["pad"] == (1, 2, 0, 1)
    assert conv.steps[0].inputs[0].shape == (11, 15, 3)
    # The layer's own output is the plane inside the border.
    assert quantize.output.shape == (10, 12, 3)
    assert quantize.output.offset == (1 * 15 + 2) * 3
    assert (quantize.output.pitch, quantize.output.row) == (3, 15)


def test_a_border_of_another_value_needs_a_pad():
    b = GraphBuilder(0, 10, 12)
    x = b.conv2d(b.quantize(), 8, kernel=(3, 3), pad=(1, 1, 1, 1), pad_value=5)
    assert kinds(lay_out(finish(b, x), "portable", no_code))[:2] == [["quantize"], ["pad", "conv2d"]]


def test_pad_carries_one_value_or_one_a_channel():
    b = GraphBuilder(0, 10, 12)
    x = b.conv2d(b.quantize(), 8)
    x = b.depthwise(b.depthwise(x, per_channel=False), per_channel=True)
    program = lay_out(finish(b, b.max_pool(x)), "portable", no_code)
    pads = [s.kernel.workload["value"] for s in program.steps if s.kernel.workload.kind == "pad"]
    assert pads == [3, None, -128]


def test_hand_shaped_kernels_make_their_border_themselves():
    b = GraphBuilder(0, 10, 12)
    x = b.conv2d(b.quantize(), 8)
    x = b.depthwise(b.depthwise(x, per_channel=False), per_channel=True)
    program = lay_out(finish(b, b.max_pool(x)), "neon", no_code)
    assert "pad" not in [step.kernel.workload.kind for step in program.steps]
    windowed = [s for s in program.steps if s.kernel.workload.kind in ("depthwise_conv2d", "max_pool2d")]
    assert [s.kernel.workload["fill"] for s in windowed] == [3, None, -128]
    for step in windowed:
        workload = step.kernel.workload
        assert step.inputs[0].shape == (workload["in_height"], workload["in_width"], 8)
        assert any(workload["pad"])


def test_concat_is_written_in_place():
    b = GraphBuilder(0, 8, 8)
    x = b.conv2d(b.quantize(), 8)
    graph = finish(b, b.concat(b.max_pool(x), b.conv2d(x, 5, stride=(2, 2))))
    program = lay_out(graph, "portable", no_code)
    assert "concat" not in [layer.kind for layer in program.layers]
    pool, conv = program.layers[2:4]
    assert pool.output.buffer == conv.output.buffer
    assert (pool.output.offset, conv.output.offset) == (0, 8)
    assert (pool.output.pitch, conv.output.pitch) == (13, 13)
    assert conv.steps[0].kernel.workload["out_pitch"] == 13


def test_concat_copies_what_has_another_reader_and_what_is_listed_twice():
    b = GraphBuilder(0, 8, 8)
    x = b.conv2d(b.quantize(), 8)
    y = b.conv2d(x, 8)
    graph = finish(b, b.concat(x, y, y))
    assert slices_of_concats(graph) == {}
    program = lay_out(graph, "portable", no_code)
    assert kinds(program)[3] == ["copy", "copy", "copy"]
    assert [s.output.offset for s in program.layers[3].steps] == [0, 8, 16]


def test_concat_of_a_concat():
    b = GraphBuilder(0, 8, 8)
    x = b.conv2d(b.quantize(), 8)
    inner = b.concat(b.conv2d(x, 4), b.conv2d(x, 3))
    graph = finish(b, b.concat(inner, b.conv2d(x, 2)))
    program = lay_out(graph, "portable", no_code)
    assert kinds(program)[-4:] == [["copy"], ["global_avg_pool"], ["dense"], ["dequantize"]]


def residual_block(b: GraphBuilder, x: str) -> str:
    return b.conv2d(b.conv2d(x, 16, groups=2), 32, groups=2, residual=x)


def test_the_last_reader_of_a_residual_writes_over_it():
    b = GraphBuilder(0, 8, 8)
    x = b.conv2d(b.quantize(), 32)
    y = residual_block(b, x)
    program = lay_out(finish(b, y), "neon", no_code)
    first, second = program.layers[1].output, program.layers[3].output
    assert second.buffer == first.buffer and second.tensor != first.tensor
    assert dict(program.layers[3].steps[0].kernel.workload.params)["in_place"]
    assert not any("in_place" in dict(s.kernel.workload.params) for s in program.steps if s.name != "layer3.conv2d")


@pytest.mark.parametrize("isa", ["neon", "portable"])
def test_a_residual_that_is_read_later_or_by_plain_loops_is_kept(isa):
    b = GraphBuilder(0, 8, 8)
    x = b.conv2d(b.quantize(), 32)
    y = residual_block(b, x)
    if isa == "neon":
        y = b.concat(y, b.max_pool(x, stride=(1, 1)))
    program = lay_out(finish(b, y), isa, no_code)
    conv = program.layers[3]
    assert conv.output.buffer != conv.steps[0].inputs[1].buffer


@pytest.mark.parametrize(("tiles", "threads"), [(3, 3), (100, MAX_TASKS)])
def test_every_thread_has_its_scratch(tiles, threads):
    graph = tiny_shufflenet(0)
    program = lay_out(graph, "neon", lambda workload: no_code(workload, 100, tiles))
    memory = plan(program.buffers.values())
    for index, layer in enumerate(program.layers):
        live = {p.buffer.name for p in memory.live(index)}
        for step in layer.steps:
            assert program.buffers[step.scratch].nbytes == 128 * threads
            assert step.scratch in live


@pytest.mark.parametrize("isa", ["neon", "dotprod"])
def test_the_stem_and_its_pool_are_the_pools_layer(isa):
    b = GraphBuilder(0, 32, 40)
    graph = finish(b, b.max_pool(b.conv2d(b.quantize(), 24, kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1))))
    program = lay_out(graph, isa, no_code)
    quantize, pool = program.layers[:2]
    stem = graph.ops[1]
    assert (pool.name, pool.kind, pool.output.shape) == (graph.ops[2].name, "max_pool2d", (8, 10, 24))
    assert pool.macs == graph.macs(stem) > 0
    (step,) = pool.steps
    workload = step.kernel.workload
    assert (workload.kind, workload["mid_height"], workload["mid_width"]) == ("stem_pool", 16, 20)
    assert step.inputs[0].buffer == quantize.output.buffer and step.inputs[0].shape == (34, 42, 3)
    assert stem.output not in program.buffers


@pytest.mark.parametrize("reason", ["plain loops", "another reader", "another window", "a multiplier below zero"])
def test_a_stem_stays_alone_where_no_kernel_does_both(reason):
    b = GraphBuilder(0, 32, 40)
    stem = b.conv2d(b.quantize(), 24, kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1))
    x = b.max_pool(stem, stride=(1, 1) if reason == "another window" else (2, 2))
    if reason == "another reader":
        x = b.concat(x, b.conv2d(stem, 8, stride=(2, 2)))
    graph = finish(b, x)
    if reason == "a multiplier below zero":
        graph.ops[1].constants["multiplier"][3] = -1
    program = lay_out(graph, "portable" if reason == "plain loops" else "neon", no_code)
    assert [layer.kind for layer in program.layers][:3] == ["quantize", "conv2d", "max_pool2d"]


def test_a_border_of_another_value_in_front_of_a_stem_and_its_pool():
    b = GraphBuilder(0, 32, 40)
    x = b.conv2d(b.quantize(), 24, kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1), pad_value=5)
    assert kinds(lay_out(finish(b, b.max_pool(x)), "neon", no_code))[1] == ["pad", "stem_pool"]


def test_pointwise_workload_has_no_window():
    b = GraphBuilder(0, 8, 8)
    x = b.conv2d(b.quantize(), 8)
    x = b.conv2d(x, 12, groups=4, rows=4)
    workload = lay_out(finish(b, x), "neon", no_code).layers[2].steps[0].kernel.workload
    assert workload.isa == "neon"
    assert not {"kernel", "stride", "in_height", "in_width"} & set(dict(workload.params))


def test_layers_are_named_after_the_operators_and_count_their_work():
    graph = tiny_shufflenet(0)
    program = lay_out(graph, "portable", no_code)
    ops = {op.name: op for op in graph.ops}
    for layer in program.layers:
        assert layer.output.tensor == ops[layer.name].output
        assert layer.macs == graph.macs(ops[layer.name])
    assert sum(layer.macs for layer in program.layers) == sum(map(graph.macs, graph.ops))
