"""`shufflec quantize` as a user runs it."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import bundled_checkpoint, save_checkpoint
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import export_onnx
from shufflec.quantize.inspect import load_onnx, model_kind
from shufflec.quantize.model_info import read_model_info, write_model_info


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A two-class data set and an untrained network for it, as checkpoint, float ONNX and ONNX that says nothing."""
    place = tmp_path_factory.mktemp("quantize")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    np.savez(place / "set.npz", images=images, labels=np.arange(20) % 2, class_names=["dark", "bright"])
    checkpoint = random_checkpoint(Architecture(2, 0.25, "paper", 2, 32))
    checkpoint.class_names = ["dark", "bright"]
    checkpoint.random_weights = False
    checkpoint.recipe = {"data": "set.npz"}
    save_checkpoint(place / "model.safetensors", checkpoint)
    model = export_onnx(checkpoint)
    onnx.save(model, place / "float.onnx")
    del model.metadata_props[:]
    onnx.save(model, place / "bare.onnx")
    return place


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path_factory.getbasetemp() / "quantize-cache"))


def test_table_and_file(folder, tmp_path, capsys):
    output = tmp_path / "int8.onnx"
    arguments = ["quantize", str(folder / "model.safetensors"), "--data", str(folder / "set.npz"), "-o", str(output)]
    assert run_command_line(arguments) == ExitCode.OK
    captured = capsys.readouterr()
    assert "Quantized with 16 images of set.npz." in captured.out
    assert "Accuracy on 4 test images of set.npz" in captured.out
    assert "top-1" in captured.out and "points" in captured.out
    assert f"Wrote {output}" in captured.out
    assert captured.err == ""
    model = load_onnx(output)
    assert model_kind(model) == "qdq"
    accuracy = read_model_info(model)["accuracy"]
    assert accuracy["data"] == "set.npz" and 0 <= accuracy["int8_top1"] <= 1


def test_json_and_same_bytes_from_float_onnx(folder, tmp_path, capsys):
    files = []
    for source in ("model.safetensors", "float.onnx"):
        files.append(tmp_path / f"{source}.onnx")
        arguments = [
            "quantize",
            str(folder / source),
            "--data",
            str(folder / "set.npz"),
            "-o",
            str(files[-1]),
            "--json",
        ]
        assert run_command_line(arguments) == ExitCode.OK
        captured = capsys.readouterr()
        result = json.loads(captured.out)
        assert captured.err == ""
    assert result["output"] == str(files[-1])
    assert result["quantization"]["images"] == 16
    assert result["accuracy"]["images"] == 4
    assert result["random_weights"] is False and result["notes"] == []
    assert files[0].read_bytes() == files[1].read_bytes()


def test_model_that_says_nothing(folder, tmp_path, capsys):
    output = tmp_path / "int8.onnx"
    arguments = ["quantize", str(folder / "bare.onnx"), "--data", str(folder / "set.npz"), "-o", str(output)]
    assert run_command_line(arguments) == ExitCode.OK
    assert "(x - 0.485 0.456 0.406) / 0.229 0.224 0.225" in capsys.readouterr().err
    assert read_model_info(load_onnx(output))["class_names"] == ["dark", "bright"]
    arguments += ["--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--bgr"]
    assert run_command_line(arguments) == ExitCode.OK
    assert capsys.readouterr().err == ""
    preprocessing = read_model_info(load_onnx(output))["preprocessing"]
    assert preprocessing["mean"] == [0.5] * 3 and preprocessing["channel_order"] == "BGR"


def test_random_weights_need_no_data_and_show_no_accuracy(tmp_path, capsys):
    save_checkpoint(tmp_path / "random.safetensors", random_checkpoint(Architecture(2, 0.25, "paper", 2, 32)))
    output = tmp_path / "int8.onnx"
    assert run_command_line(["quantize", str(tmp_path / "random.safetensors"), "-o", str(output)]) == ExitCode.OK
    captured = capsys.readouterr()
    assert "The weights are random" in captured.err
    assert "Accuracy" not in captured.out
    assert run_command_line(["quantize", str(output), "-o", str(tmp_path / "again.onnx")]) == ExitCode.OK
    assert "was quantized already" in capsys.readouterr().out
    assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()


def sources(folder, tmp_path):
    good = (folder / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(good[: len(good) // 2])
    (tmp_path / "cut.onnx").write_bytes((folder / "float.onnx").read_bytes()[:5000])
    (tmp_path / "picture.onnx").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    model = load_onnx(folder / "float.onnx")
    next(node for node in model.graph.node if node.name == "stage2.1.relu1").op_type = "Sigmoid"
    onnx.save(model, tmp_path / "sigmoid.onnx")


@pytest.mark.parametrize(
    ("source", "options", "code", "message"),
    [
        ("model.safetensors", [], ExitCode.USAGE, "--data (none): a float model needs images to be quantized on"),
        ("none.onnx", [], ExitCode.BAD_INPUT, "none.onnx: no such file"),
        ("cut.safetensors", [], ExitCode.BAD_INPUT, "cut.safetensors: is truncated or corrupt"),
        ("cut.onnx", [], ExitCode.BAD_INPUT, "cut.onnx: is truncated, corrupt, or not an ONNX model"),
        ("picture.onnx", [], ExitCode.BAD_INPUT, "picture.onnx: is "),
        ("set.npz", [], ExitCode.BAD_INPUT, "set.npz: is neither a checkpoint (.safetensors, .pth, "),
        (
            "sigmoid.onnx",
            [],
            ExitCode.UNSUPPORTED,
            "Sigmoid node stage2.1.relu1 is not an operator that shufflec compiles",
        ),
        ("model.safetensors", ["--data", "nowhere"], ExitCode.BAD_INPUT, "nowhere: no such dataset"),
        ("model.safetensors", ["--data", "digits"], ExitCode.BAD_INPUT, "10 classes, the model has 2"),
        ("bare.onnx", ["--mean", "0.5,0.5"], ExitCode.USAGE, "--mean 0.5,0.5: expected three numbers"),
        ("bare.onnx", ["--std", "a,b,c"], ExitCode.USAGE, "--std a,b,c: expected three numbers"),
        ("model.safetensors", ["-o", "x.safetensors"], ExitCode.USAGE, "expected a name that ends in .onnx"),
        ("model.safetensors", ["--samples", "0"], ExitCode.USAGE, "samples"),
    ],
)
def test_one_clear_line(folder, tmp_path, capsys, source, options, code, message):
    sources(folder, tmp_path)
    path = folder / source if (folder / source).exists() else tmp_path / source
    output = tmp_path / "out.onnx"
    assert run_command_line(["quantize", str(path), "-o", str(output), *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err and captured.err.count("\n") == 1
    assert not output.exists()


def test_bundled_checkpoint_needs_no_data(tmp_path, capsys):
    output = tmp_path / "int8.onnx"
    arguments = ["quantize", str(bundled_checkpoint(8)), "--samples", "40", "-o", str(output), "--json"]
    assert run_command_line(arguments) == ExitCode.OK
    result = json.loads(capsys.readouterr().out)
    assert result["quantization"]["data"] == result["accuracy"]["data"] == "digits"
    assert result["accuracy"]["float_top1"] >= 0.97
    assert result["accuracy"]["int8_top1"] >= 0.95


def test_help_has_examples(capsys):
    assert run_command_line(["quantize", "--help"]) == ExitCode.OK
    assert "shufflec quantize model.safetensors --data" in capsys.readouterr().out


def test_description_of_another_model_is_refused(folder, tmp_path, capsys):
    model = load_onnx(folder / "float.onnx")
    write_model_info(model, {**read_model_info(model), "class_names": ["one"]})
    onnx.save(model, tmp_path / "other.onnx")
    arguments = [
        "quantize",
        str(tmp_path / "other.onnx"),
        "--data",
        str(folder / "set.npz"),
        "-o",
        str(tmp_path / "o.onnx"),
    ]
    assert run_command_line(arguments) == ExitCode.UNSUPPORTED
    assert "its description names 1 classes, it has 2 outputs" in capsys.readouterr().err
