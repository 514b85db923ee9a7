"""What quantize_model makes of whole networks: integer islands everywhere, the same bytes every time, no noise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import pytest
from quantized import float_model, images, quantized

from shufflec.errors import OptionError
from shufflec.models.architecture import Architecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.export import export_onnx
from shufflec.quantize.islands import check_islands
from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.ptq import quantize_model

CASES = [(1, "paper"), (3, "paper"), (8, "paper"), (3, "megvii"), (3, "mindcv")]


@pytest.mark.parametrize(("groups", "variant"), CASES)
def test_every_path_is_integer(groups, variant):
    model = quantized(groups, variant)
    onnx.checker.check_model(model, full_check=True)
    check_islands(model)
    counts = Counter(node.op_type for node in model.graph.node)
    # One Q each: input, stem, stem.pool, 3 a unit (relu1, dw, result), global pool.
    assert counts["QuantizeLinear"] == 3 + 3 * 16 + 1
    assert counts["DequantizeLinear"] == counts["QuantizeLinear"] + 50
    assert counts["Conv"] == 49 and not {"Mul", "Sub", "Cast"} & set(counts)
    assert model.graph.node[-1].op_type == "Gemm"


@pytest.mark.parametrize(("groups", "variant"), CASES)
def test_residual_branch_and_concat_have_one_quantizer(groups, variant):
    editor = GraphEditor(quantized(groups, variant).graph)
    adds = [node for node in editor.graph.node if node.op_type == "Add"]
    assert len(adds) == 13
    for add in adds:
        assert [editor.producers[name].op_type for name in add.input] == ["DequantizeLinear", "Conv"]
        relu = editor.only_consumer(add.output[0])
        assert relu.op_type == "Relu" and editor.only_consumer(relu.output[0]).op_type == "QuantizeLinear"
    concats = [node for node in editor.graph.node if node.op_type == "Concat"]
    assert len(concats) == 3
    for concat in concats:
        assert [editor.producers[name].op_type for name in concat.input] == ["AveragePool", "Relu"]
        assert editor.only_consumer(concat.output[0]).op_type == "QuantizeLinear"


@pytest.mark.parametrize(("groups", "variant"), CASES)
def test_weights_and_zero_points(groups, variant):
    editor = GraphEditor(quantized(groups, variant).graph)
    for node in editor.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not editor.constant(node.input[2]).any()
        if node.op_type in ("Conv", "Gemm"):
            dequantize = editor.producers[node.input[1]]
            weight, scale = editor.constant(dequantize.input[0]), editor.constant(dequantize.input[1])
            assert weight.dtype == np.int8 and scale.shape == (weight.shape[0],)
            reach = abs(weight.astype(int)).reshape(len(weight), -1).max(1)
            # Each channel uses its own whole range; -128 is never used.
            assert (reach == 127).all()
            assert editor.constant(node.input[2]).dtype == np.float32
        if node.name.endswith(".relu1"):
            quantize = editor.only_consumer(node.output[0])
            assert editor.constant(quantize.input[1]).ndim == 1


@pytest.mark.parametrize(("groups", "variant"), CASES)
def test_close_to_float(groups, variant):
    inputs = images(4)
    before = predictor(float_model(groups, variant))(inputs)
    after = predictor(quantized(groups, variant))(inputs)
    assert ((before - after) ** 2).mean() < 0.1 * before.var()


def test_same_input_same_bytes_and_a_quiet_console(capfd):
    progress = []
    model = float_model(3, "paper")
    before = model.SerializeToString()
    again = quantize_model(model, (batch for batch in np.split(images(4), 2)), lambda *step: progress.append(step))
    assert again.SerializeToString() == quantized(3, "paper").SerializeToString()
    assert model.SerializeToString() == before
    assert progress[-1] == (4, 4) and all(done <= total == 4 for done, total in progress)
    assert capfd.readouterr() == ("", "")


def test_metadata_is_kept():
    assert quantized(3, "paper").metadata_props == float_model(3, "paper").metadata_props


def test_no_telemetry(tmp_path):
    """NNCF's would write a client id to the home folder and open a connection; pytest itself switches it off."""
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('opened a socket')\n"
        "socket.socket.connect = refuse\n"
        "from shufflec.quantize.ptq import load_nncf\n"
        "nncf = load_nncf()\n"
        "from unittest.mock import MagicMock\n"
        "from nncf.telemetry import telemetry\n"
        "assert isinstance(telemetry, MagicMock) or telemetry is MagicMock, telemetry\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not [path for path in tmp_path.rglob("*") if "telemetry" in path.name or "intel" in path.name]


@pytest.mark.parametrize(
    ("calibration", "message"),
    [([], "of 0 images"), ([np.zeros((2, 3, 16, 16))], r"of shape \(1, 3, 16, 16\): the model takes \(1, 3, 32, 32\)")],
)
def test_unusable_calibration(calibration, message):
    with pytest.raises(OptionError, match=message):
        quantize_model(float_model(3, "paper"), calibration)


def test_a_network_that_never_fires_still_quantizes():
    """A layer that is 0 on every image has no range; its scale must still be one that integers can carry."""
    checkpoint = random_checkpoint(Architecture(2, 0.25, "paper", 10, 32))
    checkpoint.state["stage2.1.bn1.bias"].fill_(-1.0)
    checkpoint.state["stage2.1.bn1.running_mean"].fill_(0.0)
    checkpoint.state["stage2.1.conv1.weight"].fill_(0.0)
    editor = GraphEditor(quantize_model(export_onnx(checkpoint), [images(2)]).graph)
    scale = editor.constant(editor.only_consumer("stage2.1.relu1").input[1])
    assert (scale == 1 / 128).all()
