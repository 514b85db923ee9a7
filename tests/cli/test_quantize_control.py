"""`shufflec quantize --method`: accuracy control as a user runs it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from quantize.tiny_network import SIZE, tiny_network

from shufflec.cli.main import run_command_line
from shufflec.data.preprocessing import variant_preprocessing
from shufflec.errors import ExitCode
from shufflec.ir.pipeline import lower
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import save_checkpoint
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.inspect import load_onnx
from shufflec.quantize.model_info import read_model_info
from shufflec.quantize.qat import training


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two float ONNX whose rounding costs accuracy, for one channel is much larger than the others, and a data set.

    Their logits are the same, and the labels are what they say, so their top-1 is 100 %.
    """
    place = tmp_path_factory.mktemp("tiny")
    images = np.random.default_rng(1).integers(0, 256, (200, SIZE, SIZE, 3), dtype=np.uint8)
    # What is assumed of an ONNX file that does not say, but for `controlled`'s options.
    preprocessing = replace(variant_preprocessing("paper", (SIZE, SIZE)), mean=(0.5,) * 3, std=(0.1,) * 3)
    inputs = np.stack([preprocessing.apply(image) for image in images])
    centre = predictor(tiny_network())(inputs).mean(0)
    for name, outlier in (("bad.onnx", 64.0), ("worse.onnx", 4096.0)):
        model = tiny_network(outlier=outlier)
        bias = next(item for item in model.graph.initializer if item.name == "classifier.bias")
        # No class is likelier than another by itself.
        bias.CopyFrom(onnx.numpy_helper.from_array(-centre, bias.name))
        onnx.save(model, place / name)
    labels = predictor(model)(inputs).argmax(1)
    assert np.bincount(labels).min() > 20
    np.savez(place / "set.npz", images=images, labels=labels, class_names=["a", "b", "c"])
    return place


def controlled(tiny, output, *options, model="bad.onnx"):
    """Exit code of a search on a tiny network."""
    stated = ["--mean", "0.5,0.5,0.5", "--std", "0.1,0.1,0.1", "--data", str(tiny / "set.npz"), "--samples", "16"]
    return run_command_line(["quantize", str(tiny / model), *stated, "-o", str(output), *options])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path_factory.getbasetemp() / "quantize-cache"))


def test_search_that_finds_nothing_writes_the_best_and_says_so(tiny, tmp_path, capsys):
    output = tmp_path / "best.onnx"
    options = ["--method", "ptq", "--max-drop", "0", "--json"]
    assert controlled(tiny, output, *options, model="worse.onnx") == ExitCode.UNSUPPORTED
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    search = result["search"]
    assert search["met"] is False and search["float_top1"] == 1.0 and search["max_drop"] == 0
    assert "neither calibrated on nor trained on" in search["decided_on"]
    tried = [trial["method"] for trial in search["tried"]]
    assert tried[0] == "ptq" and len(tried) >= 7 and not any(name.startswith("qat") for name in tried)
    best = max((trial for trial in search["tried"] if trial["drop"] is not None), key=lambda trial: trial["top1"])
    chosen = next(trial for trial in search["tried"] if trial["method"] == search["chosen"])
    assert chosen["top1"] == best["top1"] and chosen["drop"] > 0 and chosen["seconds"] >= 0
    assert captured.err.count("\n") == 1
    assert f"no way keeps top-1 within 0 points: {search['chosen']}, the best, loses" in captured.err
    assert "it was written all the same" in captured.err
    quantization = read_model_info(load_onnx(output))["quantization"]
    assert quantization["met"] is False and quantization["drop"] == pytest.approx(chosen["drop"], abs=1e-5)
    assert quantization["settings"] == chosen["settings"] and quantization["method"] == "post-training"
    assert len(result["worst_layers"]) == 3
    assert set(result["worst_layers"]) <= {row["layer"] for row in result["layers"]}


def test_training_recovers_and_compiles(tiny, tmp_path, capsys):
    """The search's table; the model lowers to integers, and says how it was made."""
    output = tmp_path / "qat.onnx"
    options = ["--max-drop", "6", "--epochs", "6", "--decide-on", "test"]
    assert controlled(tiny, output, "--method", "qat", *options, "--json") == ExitCode.OK
    tried = json.loads(capsys.readouterr().out)["search"]["tried"]
    assert [(trial["method"], trial["met"]) for trial in tried] == [("ptq", False), ("qat", True)]
    model = load_onnx(output)
    info = read_model_info(model)
    assert info["quantization"]["method"] == "quantization-aware training"
    assert info["quantization"]["training"]["epochs"] == 6 and info["quantization"]["decided_on"].startswith("40 ")
    drop = 100 * (info["accuracy"]["float_top1"] - info["accuracy"]["int8_top1"])
    assert info["quantization"]["drop"] == pytest.approx(drop, abs=1e-5)
    lower(model)
    assert not list(tmp_path.glob("*.training"))
    # The same command gives the same bytes.
    assert controlled(tiny, tmp_path / "again.onnx", "--method", "qat", *options) == ExitCode.OK
    assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()
    shown = capsys.readouterr().out
    assert "Tried, decided on 40 images of the test split, which the accuracy is of as well" in shown
    assert "chosen" in shown and "Layers that lose most by themselves: " in shown
    assert "Training has moved what they carry away from float." in " ".join(shown.split())


def test_interrupted_training_leaves_no_model_and_goes_on(tiny, tmp_path, capsys, monkeypatch):
    output = tmp_path / "model.onnx"
    options = ["--method", "qat", "--max-drop", "100", "--epochs", "2"]
    real = training.save_state

    def interrupt(path, run, state):
        real(path, run, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_state", interrupt)
    assert controlled(tiny, output, *options) == ExitCode.INTERRUPTED
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx.training"]
    monkeypatch.undo()
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    assert controlled(tiny, output, *options) == ExitCode.OK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "model.onnx"]


def test_every_layers_error(tiny, tmp_path, capsys):
    assert controlled(tiny, tmp_path / "int8.onnx", "--sensitivity") == ExitCode.OK
    shown = capsys.readouterr().out
    assert "Output of each layer against float (SQNR)" in shown and "b.conv2" in shown and " dB" in shown
    again = ["quantize", str(tmp_path / "int8.onnx"), "-o", str(tmp_path / "x.onnx"), "--sensitivity"]
    assert run_command_line(again) == ExitCode.USAGE
    assert "was quantized already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "best"], "--method best: expected one of ptq, qat, auto"),
        (["--max-drop", "-1"], "--max-drop -1.0: expected 0 to 100 points of top-1"),
        (["--method", "ptq", "--decide-on", "luck"], "--decide-on luck: expected one of validation, test"),
    ],
)
def test_wrong_wishes(tiny, tmp_path, capsys, options, message):
    assert controlled(tiny, tmp_path / "x.onnx", *options) == ExitCode.USAGE
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_random_weights_have_no_accuracy_to_keep(tmp_path, capsys):
    save_checkpoint(tmp_path / "random.safetensors", random_checkpoint(Architecture(2, 0.25, "paper", 2, 32)))
    arguments = ["quantize", str(tmp_path / "random.safetensors"), "-o", str(tmp_path / "x.onnx"), "--method", "auto"]
    assert run_command_line(arguments) == ExitCode.USAGE
    assert "the weights are random: there is no accuracy to keep" in capsys.readouterr().err


def test_help_says_what_cannot_be_had(capsys):
    assert run_command_line(["quantize", "--help"]) == ExitCode.OK
    shown = " ".join(capsys.readouterr().out.split())
    assert "exit code is 4" in shown and "no target keeps single layers at int16 or float" in shown
