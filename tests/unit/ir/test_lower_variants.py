"""Every group count, scale and variant becomes integer throughout, and no channel shuffle costs a copy."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from qdq_models import images, shufflenet

from shufflec.ir.compare import Comparison
from shufflec.ir.graph import Graph, Op
from shufflec.ir.passes.fold_channel_shuffle import fold_channel_shuffle
from shufflec.ir.passes.lower_to_integer import lower_to_integer
from shufflec.ir.passes.rewrite import bindings_of
from shufflec.ir.passes.verify_integer import verify_integer
from shufflec.ir.pipeline import lower, qdq_module
from shufflec.ir.reference import execute
from shufflec.ir.relax_ops import integer_kind
from shufflec.models.architecture import GROUPS, VARIANTS

GOLDEN = Path(__file__).parents[2] / "golden"
COMBINATIONS = [(groups, variant) for groups in GROUPS for variant in VARIANTS]
#: At scale 1 every group count and every variant, but not each with each: what they do to a graph is seen at 0.25.
WIDE = [(groups, VARIANTS[i % len(VARIANTS)]) for i, groups in enumerate(GROUPS)]


def expected_shuffles(groups: int, variant: str) -> int:
    if groups == 1:
        return 0
    return 15 if variant == "paper" else 16


@cache
def modules(groups: int, variant: str):
    """The integer module without and with the folding pass."""
    plain = lower_to_integer(qdq_module(shufflenet(groups, variant)))
    return plain, fold_channel_shuffle(plain)


def describe(graph: Graph) -> str:
    """One line an operator: kind, name, inputs, shape and the attributes that do not depend on the weights."""
    return "".join(_line(graph, op) + "\n" for op in graph.ops)


def _line(graph: Graph, op: Op) -> str:
    shown = ("groups", "kernel", "stride", "pad", "shuffle_rows", "rows", "clamp_min", "clamp_max")
    attrs = " ".join(f"{name}={op.attrs[name]}" for name in shown if name in op.attrs)
    shape = "x".join(map(str, graph.tensors[op.output].shape))
    return f"{op.kind} {op.name} <- {', '.join(op.inputs)} : {shape} {attrs}".rstrip()


@pytest.mark.parametrize(
    ("groups", "variant", "scale"), [(*one, 0.25) for one in COMBINATIONS] + [(*one, 1.0) for one in WIDE]
)
def test_no_float_between_quantize_and_dequantize(groups, variant, scale):
    found = expected_shuffles(groups, variant)
    if scale == 0.25:
        module = modules(groups, variant)[1]
    else:
        lowered = lower(shufflenet(groups, variant, scale))
        module = lowered.mod
        assert lowered.shuffle == {"found": found, "folded": found, "copies_left": 0}
    calls = [binding for binding in bindings_of(module["main"]) if not binding.var.same_as(module["main"].body.body)]
    kinds = [integer_kind(binding.value) for binding in calls]
    dtypes = [str(binding.var.ty.dtype.dtype) for binding in calls]
    assert None not in kinds and "channel_shuffle" not in kinds
    assert (kinds[0], kinds[-2:]) == ("quantize", ["dense", "dequantize"])
    assert set(dtypes[:-2]) == {"int8"} and dtypes[-2:] == ["int32", "float32"]


@pytest.mark.parametrize(("groups", "variant"), COMBINATIONS)
def test_folding_removes_every_copy_and_changes_no_bit(groups, variant):
    plain, folded = (verify_integer(module) for module in modules(groups, variant))
    count = expected_shuffles(groups, variant)
    kinds_before, kinds_after = ([op.kind for op in graph.ops] for graph in (plain, folded))
    assert kinds_before.count("channel_shuffle") == count
    assert kinds_after == [kind for kind in kinds_before if kind != "channel_shuffle"]
    image = images(1, seed=groups)[0]
    before, after = execute(plain, image), execute(folded, image)
    assert np.array_equal(before[plain.output], after[folded.output])
    unshuffled = [op.output for op in plain.ops if op.name.endswith(("relu2", "add", "concat", "conv2", "stem"))]
    assert unshuffled and all(np.array_equal(before[name], after[name]) for name in unshuffled if name in after)


def test_folded_shuffles_are_write_maps_or_permuted_weights():
    graph = verify_integer(modules(3, "mindcv")[1])
    rows = {op.name: op.attrs["shuffle_rows"] for op in graph.ops if op.kind == "conv2d"}
    widths = {op.name: graph.tensors[op.output].shape[-1] for op in graph.ops}
    # The first unit's conv1 has no groups: its filters are permuted instead.
    assert {name: row for name, row in rows.items() if row != 1} == {
        name: widths[name] // 3 for name in rows if name.endswith("conv1") and name != "stage2.0.conv1"
    }


@pytest.mark.parametrize(("groups", "variant"), [(3, "paper"), (8, "megvii"), (2, "mindcv")])
def test_op_list_is_the_golden_one(groups, variant):
    text = describe(verify_integer(modules(groups, variant)[1]))
    assert text == (GOLDEN / f"integer_ops_{variant}_g{groups}.txt").read_text()


@pytest.mark.parametrize(("groups", "variant"), [(1, "paper"), (3, "paper"), (8, "megvii"), (4, "mindcv")])
def test_every_operator_is_within_one_step_of_onnx_runtime(groups, variant):
    comparison = Comparison(shufflenet(groups, variant))
    for image in images(3, seed=5):
        differences = comparison.differences(image)
        assert len(differences) > 50
        assert max(item.largest for item in differences) <= 1
        assert np.mean([item.share for item in differences]) < 0.02


def test_lower_without_folding_keeps_the_copies():
    assert lower(shufflenet(2, "paper"), fold_shuffle=False).shuffle == {"found": 15, "folded": 0, "copies_left": 15}


def test_odd_input_sizes_lower_and_agree():
    comparison = Comparison(shufflenet(3, "mindcv", size=37))
    assert max(item.largest for item in comparison.differences(images(1, 37)[0])) <= 1
