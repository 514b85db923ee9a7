"""Convolutions that were cut by who reads them are one kernel call, whose parts go where the memory plan says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from integer_graphs import GraphBuilder, shufflenet_v2_stage

from shufflec.backends.constants import pack_constants, placed_constants
from shufflec.backends.layout import lay_out, slices_of_concats
from shufflec.backends.pieces import joined_pieces
from shufflec.backends.planner import plan
from shufflec.ir.graph import Graph
from shufflec.ir.passes.route_channels import route_channels
from shufflec.ir.reference import conv2d, execute
from shufflec.ir.relax_ops import graph_from_module, module_from_graph
from shufflec.kernels.a64 import pointwise_conv2d, pointwise_parts
from shufflec.kernels.kernel import Kernel, Workload
from shufflec.kernels.records import Record, Records, record_key, toolchain
from shufflec.kernels.select import Selection, select
from shufflec.tuning.case import make_case
from shufflec.tuning.tasks import extract_tasks


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_from_module(route_channels(module_from_graph(shufflenet_v2_stage(3, 24, 3, True))))


def _joined(graph: Graph) -> dict:
    return joined_pieces(graph, slices_of_concats(graph))


def test_the_pieces_of_a_convolution_are_found(graph):
    found = _joined(graph)
    # Both of the unit of stride 2, and those of the units behind it but for the last one's, which has one reader.
    assert [joined.channels for joined in found.values()] == [(6, 3, 1, 2), (6, 3, 2, 1), (6, 3, 3), (6, 6)]
    for first, joined in found.items():
        assert first == f"{joined.op.name}.part0"
        assert joined.pieces == tuple(op for op in graph.ops if op.name.startswith(f"{joined.op.name}.part"))


def test_together_they_compute_what_each_does_alone(graph):
    x = np.random.default_rng(0).normal(size=graph.tensors[graph.input].shape).astype(np.float32)
    values = execute(graph, x)
    for joined in _joined(graph).values():
        whole = conv2d(joined.op, values[joined.op.inputs[0]])
        assert np.array_equal(whole, np.concatenate([values[piece.output] for piece in joined.pieces], axis=2))


def _changed(graph: Graph, name: str, **attrs: object) -> Graph:
    return replace(graph, ops=tuple(replace(op, attrs=op.attrs | attrs) if op.name == name else op for op in graph.ops))


def test_what_differs_in_more_than_its_channels_stays_apart(graph):
    first = next(iter(_joined(graph)))
    assert first not in _joined(_changed(graph, first, clamp_min=-77))
    assert first not in _joined(_changed(graph, first, groups=2))
    assert not joined_pieces(graph, ())
    b = GraphBuilder(1, 6, 6)
    x = b.conv2d(b.quantize(), 8)
    windows = b.concat(b.conv2d(x, 3, kernel=(3, 3), pad=(1, 1, 1, 1)), b.conv2d(x, 5, kernel=(3, 3), pad=(1, 1, 1, 1)))
    assert not _joined(b.finish(b.dequantize(b.dense(b.global_avg_pool(windows), 3))))


@pytest.mark.parametrize("isa", ["neon", "dotprod"])
def test_one_layer_writes_every_part_where_the_plan_puts_it(graph, isa):
    program = lay_out(graph, isa, select)
    steps = [step for step in program.steps if step.targets]
    assert [step.kernel.family for step in steps] == [pointwise_parts.NAME] * 4
    names = [layer.name for layer in program.layers]
    assert not [name for name in names if ".part" in name] and len(set(names)) == len(names)
    assert sum(layer.macs for layer in program.layers) == sum(map(graph.macs, graph.ops))
    memory = plan(program.buffers.values())
    for step in steps:
        wanted = [memory.offset(view.buffer) + view.offset for view in step.targets]
        assert len(set(wanted)) == len(wanted) == len(step.kernel.workload["parts"])
        assert placed_constants(step, memory)[2][-len(wanted) :].tolist() == wanted
        assert not step.constants[2][-len(wanted) :].any()
    blob, offsets = pack_constants(program, memory)
    for step, (_, _, at) in zip(program.steps, offsets, strict=True):
        expected = placed_constants(step, memory)[2].tobytes()
        assert blob[at : at + len(expected)] == expected


def test_every_buffer_lives_while_it_is_written_or_read(graph):
    program = lay_out(graph, "neon", select)
    for number, layer in enumerate(program.layers):
        for view in [view for step in layer.steps for view in (*step.inputs, *step.targets)]:
            assert program.buffers[view.buffer].first <= number <= program.buffers[view.buffer].last


def test_no_more_memory_than_piece_by_piece(graph, monkeypatch):
    together = plan(lay_out(graph, "neon", select).buffers.values())
    monkeypatch.setattr("shufflec.backends.layout.joined_pieces", lambda graph, slices: {})
    alone = lay_out(graph, "neon", select)
    assert sum(".part" in layer.name for layer in alone.layers) == 13
    scratch = max(buffer.nbytes for name, buffer in alone.buffers.items() if name.endswith(".scratch"))
    assert together.peak_bytes <= plan(alone.buffers.values()).peak_bytes + scratch


def test_plain_loops_have_no_such_kernel(graph):
    program = lay_out(graph, "portable", select)
    assert not [step for step in program.steps if step.targets]
    assert sum(".part" in layer.name for layer in program.layers) == 13


def _workload(**more: object) -> Workload:
    params = {
        "height": 6, "width": 5, "in_channels": 40, "out_channels": 24, "groups": 1, "out_pitch": 24, "out_row": 5,
        "residual_multiplier": 0, "accumulator_bias": True, "shuffle_rows": 1, "full_range_weights": False,
        "shift": 4, "fraction": 5, "clamp_min": -128, "clamp_max": 127, "parts": ((12, 30), (7, 12), (5, 48)),
    }  # fmt: skip
    return Workload.of("conv2d", "neon", **(params | more))


def test_a_record_of_the_plain_convolution_holds(graph):
    workload = _workload()
    plain, family = pointwise_parts.tuned_as(workload)
    assert family == pointwise_conv2d.NAME
    assert dict(plain.params).items() <= (dict(workload.params) | {"out_pitch": 48}).items()
    tiling = pointwise_conv2d.tilings(plain)[3]
    tools = toolchain()
    record = Record(record_key(plain), "rasp4", family, dict(tiling), tools.tvm, tools.llvm, "estimated", 5, 9)
    records = Records()
    records.add([record], "some.jsonl", "rasp4")
    selection = Selection(records)
    assert selection(workload).tiling == tiling != select(workload).tiling
    assert selection.tuned == {workload: "some.jsonl"}


def test_what_a_plain_kernel_does_is_not_asked_of_this_family():
    assert pointwise_parts.accepts(_workload())
    assert not pointwise_conv2d.accepts(_workload())
    for more in ({"groups": 2}, {"shuffle_rows": 3}, {"residual_multiplier": 9}, {"out_row": 7}, {"in_height": 8}):
        assert not pointwise_parts.accepts(_workload(**more)), more


def test_the_whole_convolution_is_tuned(graph):
    names = {joined.op.name for joined in _joined(graph).values()}
    tasks = [task for task in extract_tasks(graph, "neon") if names & set(task.layers)]
    assert names <= {name for task in tasks for name in task.layers}
    for task in tasks:
        assert "parts" not in dict(task.workload.params)
        case = make_case(task)
        assert case.expected.shape[2] == task.workload["out_channels"] == len(task.op.constants["weight"])


def test_the_kernel_builds_for_every_tiling():
    for tiling in pointwise_parts.tilings(_workload()):
        kernel = pointwise_parts.build(_workload(), tiling)
        assert isinstance(kernel, Kernel) and kernel.scratch_bytes >= 24
