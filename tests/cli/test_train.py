"""`shufflec train` and `eval` as a user runs them; a run that is killed goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode

# A test run in the background of a shell inherits an ignored SIGINT; a user's terminal does not.
_MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from shufflec.cli.main import main
main()
"""
OPTIONS = ["--groups", "2", "--input-size", "32", "--batch-size", "8", "--shift", "0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    random = np.random.RandomState(0)
    images = random.randint(0, 60, (40, 16, 16)).astype(np.uint8)
    images[1::2] += 150
    path = tmp_path_factory.mktemp("data") / "light.npz"
    np.savez(path, images=images, labels=np.arange(40) % 2, class_names=["dark", "bright"])
    return path


@pytest.fixture(scope="module")
def trained(data) -> Path:
    output = data.with_name("model.safetensors")
    arguments = ["train", *OPTIONS, "--data", str(data), "--epochs", "2", "-o", str(output)]
    assert run_command_line(arguments) == ExitCode.OK
    return output


def test_train_prints_what_it_reached(data, tmp_path, capsys):
    output = tmp_path / "model.safetensors"
    arguments = ["train", *OPTIONS, "--data", str(data), "--epochs", "2", "-o", str(output)]
    assert run_command_line(arguments) == ExitCode.OK
    captured = capsys.readouterr()
    assert "ShuffleNetV1 0.25x g=2 (paper), 32x32, 2 classes" in captured.out
    assert "on 8 held-out images" in captured.out
    assert f"Wrote {output}" in captured.out
    assert captured.err.startswith("epoch 1/2: loss ")
    assert output.exists()


def test_train_json(data, trained, tmp_path, capsys):
    output = tmp_path / "again.safetensors"
    arguments = ["train", *OPTIONS, "--data", str(data), "--epochs", "2", "-o", str(output), "--json"]
    assert run_command_line(arguments) == ExitCode.OK
    result = json.loads(capsys.readouterr().out)
    assert result["metrics"]["count"] == 8
    assert result["class_names"] == ["dark", "bright"]
    assert result["architecture"]["groups"] == 2
    assert result["recipe"]["data"] == "light.npz"
    assert output.read_bytes() == trained.read_bytes()


def test_eval_prints_a_confusion_matrix(data, trained, capsys):
    assert run_command_line(["eval", str(trained), "--data", str(data)]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "(float, torch)" in out
    assert "8 test images" in out
    assert "Confusion: true class down, predicted class across" in out
    assert "bright" in out


def test_eval_json(data, trained, capsys):
    assert run_command_line(["eval", str(trained), "--data", str(data), "--split", "train", "--json"]) == ExitCode.OK
    result = json.loads(capsys.readouterr().out)
    assert result["count"] == 32
    assert np.sum(result["confusion"]) == 32
    assert result["engine"] == "float, torch"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--groups", "5"], ExitCode.USAGE, "groups 5: expected one of 1, 2, 3, 4, 8"),
        (["train", "--groups", "3", "--variant", "v2"], ExitCode.USAGE, "variant v2"),
        (["train", "--groups", "3", "--input-size", "3x"], ExitCode.USAGE, "--input-size 3x"),
        (["train", "--groups", "3", "--input-size", "16"], ExitCode.USAGE, "input size"),
        (["train", "--groups", "3", "--epochs", "0"], ExitCode.USAGE, "epochs 0"),
        (["train", "--groups", "3", "-o", "model.pt"], ExitCode.USAGE, "--output model.pt"),
        (["train", "--groups", "3", "--resume", "-o", "none.safetensors"], ExitCode.USAGE, "--resume"),
        (["train", "--groups", "3", "--data", "none"], ExitCode.BAD_INPUT, "none: no such dataset"),
        (["train"], ExitCode.USAGE, "--groups"),
        (["eval", "none.safetensors", "--data", "digits"], ExitCode.BAD_INPUT, "none.safetensors: no such file"),
        (["eval", "none.onnx", "--data", "digits"], ExitCode.BAD_INPUT, "none.onnx: no such file"),
        (["eval", "none", "--data", "digits"], ExitCode.BAD_INPUT, "none: no such file"),
        (["eval", "a.onnx", "--data", "digits", "--rpc", "h:1"], ExitCode.USAGE, "--rpc h:1: is for bundles"),
        (["eval", "MODEL", "--data", "digits"], ExitCode.BAD_INPUT, "10 classes, the model has 2"),
        (["eval", "MODEL", "--data", "digits", "--split", "val"], ExitCode.USAGE, "split val"),
    ],
)
def test_bad_input_is_one_line(trained, tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    arguments = [str(trained) if argument == "MODEL" else argument for argument in arguments]
    assert run_command_line(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output(data, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / "model.safetensors"
    arguments = ["train", *OPTIONS, "--data", str(data), "--epochs", "1", "-o", str(output)]
    assert run_command_line(arguments) == ExitCode.NO_SPACE
    assert str(output.parent) in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_killed_run_goes_on_to_the_same_bytes(data, tmp_path, how, code):
    arguments = [*OPTIONS, "--data", str(data), "--epochs", "12", "--seed", "3"]
    stopped, whole = tmp_path / "stopped.safetensors", tmp_path / "whole.safetensors"
    command = [sys.executable, "-c", _MAIN, "train", *arguments]
    with subprocess.Popen(
        [*command, "-o", str(stopped)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        state = tmp_path / "stopped.safetensors.training"
        while not state.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        os.kill(process.pid, how)
        error = process.communicate()[1]
        assert process.returncode == code
    assert not stopped.exists()
    if how == signal.SIGINT:
        assert "The same command goes on" in error
        assert "Traceback" not in error
    assert run_command_line(["train", *arguments, "--resume", "-o", str(stopped)]) == ExitCode.OK
    assert run_command_line(["train", *arguments, "-o", str(whole)]) == ExitCode.OK
    assert stopped.read_bytes() == whole.read_bytes()
    leftovers = [path.name for path in tmp_path.iterdir() if not path.name.endswith(".partial")]
    assert sorted(leftovers) == ["stopped.safetensors", "whole.safetensors"]
