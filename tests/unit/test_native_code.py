"""Portable kernels and the generated program, compiled for this machine, against the NumPy reference."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi
from integer_graphs import random_input, random_operators, tiny_shufflenet
from native_network import FakePool, NativeNetwork, compile_natively, differing_layers

from shufflec.backends.layout import MAX_TASKS
from shufflec.ir.reference import predict


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    graph = tiny_shufflenet(seed=1)
    return graph, compile_natively(graph, tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("seed", [0, 1])
def test_every_operator_kind_of_any_shape_equals_the_reference(seed, tmp_path):
    graph = random_operators(seed)
    assert sum("pre_shift" in op.constants for op in graph.ops) >= 2
    network = compile_natively(graph, tmp_path)
    assert {layer.kind for layer in network.program.layers} == {op.kind for op in graph.ops}
    for input_seed in range(3):
        assert differing_layers(network, graph, random_input(graph, input_seed)) == []


def test_whole_network_equals_the_reference(tiny):
    graph, network = tiny
    for seed in range(5):
        x = random_input(graph, seed)
        assert np.array_equal(network.run(x), predict(graph, x))


def test_a_repeated_layer_gives_the_same_result(tiny):
    graph, network = tiny
    x = random_input(graph, 7)
    assert differing_layers(network, graph, x, repeats=3) == []
    assert np.array_equal(network.run(x), predict(graph, x))


def test_input_that_is_not_aligned(tiny):
    graph, network = tiny
    x = random_input(graph, 3)
    room = np.zeros(x.size + 16, np.float32)
    start = next(i for i in range(16) if room[i:].ctypes.data % 64 == 4)
    view = room[start : start + x.size].reshape(x.shape)
    view[:] = x
    out = tvm.runtime.empty(network.program.output_shape, "float32")
    network.module["run"](tvm_ffi.from_dlpack(view, require_alignment=4), out)
    assert np.array_equal(out.numpy(), predict(graph, x))


def test_inputs_beyond_the_range_saturate(tiny):
    graph, network = tiny
    x = random_input(graph, 3) * np.float32(1e30)
    x[0, 0, 0, :4] = np.inf, -np.inf, 3.4e38, -3.4e38
    with np.errstate(over="ignore"):
        assert np.array_equal(network.run(x), predict(graph, x))


@pytest.mark.parametrize("threads", [2, 4, MAX_TASKS + 5])
def test_results_do_not_depend_on_the_number_of_threads(threads, tiny, tmp_path):
    graph, original = tiny
    # A copy is a library of its own to the loader: it has not counted its threads yet.
    copy = Path(shutil.copy(original.library, tmp_path))
    network = NativeNetwork(original.program, copy)
    pool = FakePool(network.library, threads)
    try:
        assert network.module["threads"]() == threads
        x = random_input(graph, 5)
        assert np.array_equal(network.run(x), predict(graph, x))
        assert pool.launches > len(network.program.layers) // 2
    finally:
        pool.restore()


def test_layer_count(tiny):
    _, network = tiny
    assert network.module["layer_count"]() == len(network.program.layers)


def test_wrong_arguments_raise_and_say_what_was_expected(tiny):
    graph, network = tiny
    x = tvm.runtime.tensor(random_input(graph, 0))
    out = tvm.runtime.empty(network.program.output_shape, "float32")
    last = len(network.program.layers) - 1
    calls = [
        (("run", x), TypeError, "1 arguments, expected 2"),
        (("run", x, x), ValueError, r"output: expected a dense float32 CPU tensor of shape \(1, 11\)"),
        (("run", out, out), ValueError, r"input: .*\(1, 3, 37, 32\)"),
        (("run", 3, out), TypeError, "input"),
        (("set_input", tvm.runtime.empty((1, 3, 37, 32), "int32")), ValueError, "float32"),
        (("layer", -1), ValueError, f"from 0 to {last}"),
        (("layer", last + 1), ValueError, f"from 0 to {last}"),
        (("layer", 0.5), TypeError, "layer index"),
        (("get_output", x), ValueError, "get_output"),
        (("read_tensor", 0, x), ValueError, "int8"),
        (("layer_count", 1), TypeError, "expected 0"),
    ]
    for (name, *arguments), kind, message in calls:
        with pytest.raises(kind, match=message):
            network.module[name](*arguments)
