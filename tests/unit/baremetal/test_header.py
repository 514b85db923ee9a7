"""What the C header says about images is enough to prepare them as the training did, to the last code."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from integer_graphs import GraphBuilder

from shufflec.backends.baremetal.layout import ALIGNMENT, lay_out
from shufflec.backends.baremetal.source import Interface, header
from shufflec.backends.planner import plan
from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.ir import reference
from shufflec.ir.rules import M
from shufflec.kernels.mcu.select import select

SIZE = (16, 24)


@pytest.fixture(scope="module")
def network():
    """(graph, program, plan) of the smallest network."""
    builder = GraphBuilder(1, *SIZE, M)
    graph = builder.finish(builder.dequantize(builder.dense(builder.global_avg_pool(builder.quantize()), 4)))
    program, fixed = lay_out(graph, "portable", select)
    return graph, program, plan(program.buffers.values(), ALIGNMENT, fixed)


def text_of(network, preprocessing, prefix="net"):
    graph, program, memory = network
    first = graph.ops[0].attrs
    scale, zero_point = float(np.float32(first["scale"])), int(first["zero_point"])
    return header(
        program, memory, Interface("net", prefix, scale, zero_point, 1.0, (1,) * 4, (1.0,) * 4, preprocessing)
    )


def macros(text: str, prefix: str = "NET") -> dict[str, object]:
    """Values of the header's #define lines."""
    found = {}
    for name, value in re.findall(rf"^#define {prefix}_(\w+) (.+)$", text, re.MULTILINE):
        numbers = [float(number) for number in re.findall(r"-?\d[\d.]*(?:e[-+]?\d+)?", value)]
        found[name] = value.strip('"') if value.startswith('"') else numbers if value.startswith("{") else numbers[0]
    return found


@pytest.mark.parametrize(
    "preprocessing",
    [
        variant_preprocessing("megvii", SIZE),
        variant_preprocessing("mindcv", SIZE),
        variant_preprocessing("paper", SIZE),
        Preprocessing(SIZE, resize=20, channel_order="BGR", mean=(0.1, 0.2, 0.3), std=(1e-5, 0.5, 0.75)),
    ],
    ids=["megvii", "mindcv", "paper", "another"],
)
def test_codes_by_the_header_are_those_of_the_network(network, preprocessing):
    graph = network[0]
    said = macros(text_of(network, preprocessing))
    # An image of the input's own size, so that neither scaling nor cutting matters.
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    expected = reference.quantize(graph.ops[0], replace(preprocessing, crop_fraction=1.0, resize=16).apply(image)[None])
    channels = image if said["INPUT_ORDER"] == "RGB" else image[:, :, ::-1]
    x = (channels.astype(np.float32) * said["INPUT_RANGE"] / 255 - said["INPUT_MEAN"]) / said["INPUT_STD"]
    codes = np.clip(np.round(x / said["INPUT_SCALE"]) + said["INPUT_ZERO_POINT"], -128, 127)
    distance = np.abs(codes - np.asarray(expected).reshape(codes.shape))
    # Single precision there, double here: a value between two codes may take the other one.
    assert distance.max() <= 1
    assert (distance == 0).mean() > 0.99
    assert (said["INPUT_HEIGHT"], said["INPUT_WIDTH"]) == SIZE


def test_scaling_and_cutting_are_said(network):
    said = text_of(network, variant_preprocessing("megvii", (224, 224)))
    assert macros(said)["INPUT_CROP"] == 0.875
    assert macros(said)["INPUT_RESIZE"] == 0
    assert "until it just covers 256 x 256 pixels (NET_INPUT_CROP of which are the input)" in said
    assert "in the order blue, green, red" in said
    resized = text_of(network, Preprocessing(SIZE, resize=20))
    assert (macros(resized)["INPUT_RESIZE"], macros(resized)["INPUT_CROP"]) == (20, 1.0)
    assert "until its shorter side has 20 pixels (NET_INPUT_RESIZE)" in resized
    assert "in the order red, green, blue" in resized


def test_without_a_description_nothing_is_made_up(network):
    assert "INPUT_MEAN" not in text_of(network, None)
