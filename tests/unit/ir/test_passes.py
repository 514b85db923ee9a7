"""Single passes: what is there before and after, and the verifier that guards the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from qdq_models import Style, shufflenet
from tvm import relax

from shufflec.ir.graph import Graph, shuffle_destination
from shufflec.ir.import_onnx import import_onnx
from shufflec.ir.passes.canonicalize import canonicalize
from shufflec.ir.passes.lowering.geometry import divisors, fitted_pad
from shufflec.ir.passes.recognise_channel_shuffle import count_shuffles, recognise_channel_shuffle, shuffle_rows
from shufflec.ir.passes.rewrite import bindings_of, node_name
from shufflec.ir.passes.shuffle_quantized import shuffle_quantized
from shufflec.ir.passes.verify_integer import InvalidModuleError, verify_graph
from shufflec.ir.pipeline import lower
from shufflec.ir.relax_ops import graph_from_module, module_from_graph


def operators(module) -> Counter:
    values = (binding.value for binding in bindings_of(module["main"]))
    return Counter(value.op.name.removeprefix("relax.") for value in values if isinstance(value, relax.Call))


def dtypes(module) -> set[str]:
    return {str(binding.var.ty.dtype.dtype) for binding in bindings_of(module["main"])}


@pytest.fixture(scope="module")
def imported():
    return import_onnx(shufflenet(3, "paper"))


@pytest.fixture(scope="module")
def lowered():
    return lower(shufflenet(3, "paper"))


def test_import_keeps_node_names_on_every_call(imported):
    names = {node_name(b.value) for b in bindings_of(imported["main"]) if isinstance(b.value, relax.Call)}
    assert "" not in names
    assert {"stem", "stage2.1.conv1", "stage4.3.add", "classifier"} <= names


def test_canonicalize_leaves_int8_and_float_and_no_constant_reshapes():
    before = import_onnx(shufflenet(3, "paper", style=Style("asymmetric")))
    after = canonicalize(before)
    assert "uint8" in dtypes(before) and dtypes(after) == {"int8", "float32"}
    assert operators(before)["reshape"] - operators(after)["reshape"] == operators(before)["nn.conv2d"]
    assert operators(before)["permute_dims"] - operators(after)["permute_dims"] == 1  # Gemm's weights
    assert operators(before)["quantize"] == operators(after)["quantize"]


def test_each_shuffle_becomes_one_take_on_int8(imported):
    before = canonicalize(imported)
    recognised = recognise_channel_shuffle(before)
    assert operators(before)["permute_dims"] == 15 and operators(before)["take"] == 0
    assert operators(recognised)["permute_dims"] == 0 and count_shuffles(recognised) == 15
    assert operators(recognised)["reshape"] == 1  # the classifier's flatten
    moved = shuffle_quantized(recognised)
    takes = [
        b for b in bindings_of(moved["main"]) if isinstance(b.value, relax.Call) and b.value.op.name == "relax.take"
    ]
    assert len(takes) == 15 and {str(b.var.ty.dtype.dtype) for b in takes} == {"int8"}


@pytest.mark.parametrize(("channels", "rows"), [(12, 3), (12, 4), (240, 8), (15, 3), (30, 10)])
def test_shuffle_rows_inverts_shuffle_destination(channels, rows):
    order = np.argsort(shuffle_destination(channels, rows))
    assert shuffle_rows(order) == rows
    matrix = np.arange(channels).reshape(rows, channels // rows)
    assert np.array_equal(order, matrix.T.reshape(-1))


def test_shuffle_rows_of_other_permutations():
    assert shuffle_rows(np.arange(6)) == 1
    assert shuffle_rows(np.arange(6)[::-1]) is None
    assert shuffle_rows(np.array([0, 2, 1, 3, 4, 5])) is None


def test_graph_and_module_are_two_forms_of_one_thing(lowered):
    again = graph_from_module(module_from_graph(lowered.graph))
    assert (again.tensors, again.input, again.output) == (lowered.graph.tensors, "input", "logits")
    for ours, theirs in zip(lowered.graph.ops, again.ops, strict=True):
        assert (ours.kind, ours.name, ours.inputs, ours.attrs) == (
            theirs.kind,
            theirs.name,
            theirs.inputs,
            theirs.attrs,
        )
        assert list(ours.constants) == list(theirs.constants)
        assert all(np.array_equal(ours.constants[name], theirs.constants[name]) for name in ours.constants)
    assert 'R.call_dps_packed("shufflec.conv2d"' in lowered.mod.script()


def test_lowering_is_deterministic(lowered):
    again = lower(shufflenet(3, "paper")).graph
    assert [op.attrs for op in again.ops] == [op.attrs for op in lowered.graph.ops]
    pairs = zip(again.ops, lowered.graph.ops, strict=True)
    assert all(a.constants[name].tobytes() == b.constants[name].tobytes() for a, b in pairs for name in a.constants)


def changed(graph: Graph, kind: str, **changes) -> Graph:
    """The graph with fields of its first operator of a kind replaced."""
    target = next(op for op in graph.ops if op.kind == kind)
    return replace(graph, ops=tuple(replace(op, **changes) if op is target else op for op in graph.ops))


def with_unread_tensor(graph: Graph) -> Graph:
    """The graph with its stem computed twice."""
    stem = replace(graph.ops[1], name="twice", output="twice")
    tensors = graph.tensors | {"twice": replace(graph.tensors["stem"], name="twice")}
    return replace(graph, tensors=tensors, ops=(*graph.ops[:2], stem, *graph.ops[2:]))


def test_verifier_accepts_what_lower_makes(lowered):
    verify_graph(lowered.graph)


@pytest.mark.parametrize(
    ("kind", "attrs", "message"),
    [
        ("conv2d", {"shift": 0}, "shift"),
        ("depthwise_conv2d", {"fraction": 9}, "fraction"),
        ("conv2d", {"clamp_min": 100, "clamp_max": 50}, "clamp"),
        ("max_pool2d", {"pad": (0, 0, 0, 0)}, "shape"),
        ("conv2d", {"groups": 2}, "groups"),
        ("conv2d", {"shuffle_rows": 7}, "groups"),
    ],
)
def test_verifier_finds_broken_attributes(lowered, kind, attrs, message):
    op = next(op for op in lowered.graph.ops if op.kind == kind)
    with pytest.raises(InvalidModuleError, match=message):
        verify_graph(changed(lowered.graph, kind, attrs=op.attrs | attrs))


def test_verifier_finds_broken_constants_and_types(lowered):
    op = next(op for op in lowered.graph.ops if op.kind == "conv2d")
    wide = op.constants | {"multiplier": op.constants["multiplier"].astype(np.int32)}
    with pytest.raises(InvalidModuleError, match="multiplier"):
        verify_graph(changed(lowered.graph, "conv2d", constants=wide))
    tensors = lowered.graph.tensors | {"stem": replace(lowered.graph.tensors["stem"], dtype="float32")}
    with pytest.raises(InvalidModuleError, match="float32"):
        verify_graph(replace(lowered.graph, tensors=tensors))
    with pytest.raises(InvalidModuleError, match="nothing reads"):
        verify_graph(with_unread_tensor(lowered.graph))


def test_fitted_pad_drops_rows_that_no_window_reads():
    assert fitted_pad((8, 8, 3), (4, 4), (3, 3), (2, 2), (1, 1, 1, 1)) == (1, 1, 0, 0)
    assert fitted_pad((9, 9, 3), (5, 5), (3, 3), (2, 2), (1, 1, 1, 1)) == (1, 1, 1, 1)
    assert fitted_pad((9, 8, 3), (4, 4), (2, 3), (2, 2), (0, 1, 0, 1)) == (0, 1, 0, 0)


def test_divisors_of_both_padding_rules():
    inside = divisors((8, 8), (4, 4), (3, 3), (2, 2), (0, 0, 1, 1), count_padding=False)
    assert inside.tolist() == [[9, 9, 9, 6]] * 3 + [[6, 6, 6, 4]]
    counted = divisors((8, 8), (4, 4), (3, 3), (2, 2), (1, 1, 1, 1), count_padding=True)
    assert (counted == 9).all()
    # ceil_mode: the last window hangs over the edge by one, which no rule counts.
    assert divisors((8, 8), (4, 4), (3, 3), (2, 2), (0, 0, 0, 0), count_padding=True)[3, 3] == 4
