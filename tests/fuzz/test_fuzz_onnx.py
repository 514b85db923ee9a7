"""A model file may hold anything: it is taken, or refused with one of our errors."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from shufflec.errors import ShufflecError
from shufflec.quantize.inspect import load_onnx
from shufflec.quantize.prepare import load_float, prepare_model

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "quantize"))
from quantized import copied, float_model, quantized

# The start of a file is structure; most of the rest is weights.
PLACES = st.one_of(st.integers(0, 40_000), st.floats(0, 0.999))


def damaged(data: bytes, changes) -> bytes:
    changed = bytearray(data)
    for place, value in changes:
        index = int(place * len(data)) if isinstance(place, float) else min(place, len(data) - 1)
        changed[index] = value
    return bytes(changed)


def accept_or_refuse(read, data: bytes, path: Path) -> None:
    path.write_bytes(data)
    try:
        read(path)
    except ShufflecError as error:
        assert "\n" not in str(error)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_bytes(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "fuzz.onnx"
    accept_or_refuse(prepare_model, damaged(quantized(3, "paper").SerializeToString(), changes), path)
    accept_or_refuse(load_float, damaged(float_model(3, "paper").SerializeToString(), changes), path)


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, data):
    accept_or_refuse(load_onnx, data, tmp_path_factory.getbasetemp() / "fuzz.onnx")


@settings(max_examples=60, deadline=None)
@given(
    index=st.integers(0, 400),
    change=st.sampled_from(["drop", "op_type", "input", "twice", "attribute", "unnamed"]),
    other=st.integers(0, 400),
)
def test_rewired_graphs(tmp_path_factory, index, change, other):
    model = copied(quantized(3, "paper"))
    nodes = model.graph.node
    node, donor = nodes[index % len(nodes)], nodes[other % len(nodes)]
    if change == "drop":
        nodes.remove(node)
    elif change == "op_type":
        node.op_type = donor.op_type
    elif change == "input":
        node.input[0] = donor.output[0]
    elif change == "twice":
        nodes.add().CopyFrom(donor)
    elif change == "unnamed":
        node.name = ""
    elif node.attribute:
        del node.attribute[0]
    path = tmp_path_factory.getbasetemp() / "fuzz.onnx"
    accept_or_refuse(prepare_model, model.SerializeToString(), path)
    assert isinstance(model, onnx.ModelProto)
