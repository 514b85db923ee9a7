"""`shufflec train` and `eval` as a user runs them; a run that is killed goes on."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode
from shufflec.models.checkpoint import load_checkpoint

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
        (["train", "--recipe", "mindcv"], ExitCode.USAGE, "--recipe mindcv: expected one of digits, megvii-v1"),
        (["train", "--recipe", "none.toml"], ExitCode.BAD_INPUT, "none.toml: no such file"),
        (["train", "--recipe", "mindcv-v1", "--lr", "0"], ExitCode.USAGE, "lr 0.0: expected 1e-08 to 100"),
        (["train", "--recipe", "megvii-v2", "--groups", "3"], ExitCode.USAGE, "--groups 3: ShuffleNetV2 has no groups"),
        (["train", "--groups", "3", "--device", "gpu"], ExitCode.USAGE, "--device gpu: expected one of auto"),
        (["train", "--groups", "3", "--amp", "half"], ExitCode.USAGE, "--amp half: expected one of auto"),
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


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    random, folder = np.random.RandomState(0), tmp_path_factory.mktemp("photos")
    for split, name, index in itertools.product(("train", "val"), ("dark", "light"), range(5)):
        height, width = random.randint(20, 50, 2)
        pixels = random.randint(0, 100, (height, width, 3)) + (100 if name == "light" else 0)
        path = folder / split / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (folder / "train" / "dark" / "3.png").write_bytes(b"no image")
    return folder


RECIPE = [
    "train",
    "--recipe",
    "mindcv-v1",
    "--scale",
    "0.25",
    "--input-size",
    "32",
    "--epochs",
    "1",
    "--batch-size",
    "4",
]


def test_train_after_a_recipe(photos, tmp_path, capsys):
    output = tmp_path / "model.safetensors"
    arguments = [*RECIPE, "--data", str(photos), "--ema", "0.9", "-o", str(output), "--workers", "1", "--json"]
    assert run_command_line(arguments) == ExitCode.OK
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    architecture = result["architecture"]
    assert (architecture["groups"], architecture["scale"], architecture["variant"]) == (3, 0.25, "mindcv")
    assert result["preprocessing"]["crop_fraction"] == 0.875
    recipe = result["recipe"]
    assert (recipe["recipe"], recipe["epochs"], recipe["lr"], recipe["lr_batch"]) == ("mindcv-v1", 1, 0.35, 512)
    assert (recipe["color_jitter"], recipe["ema"], recipe["data"]) == (0.4, 0.9, photos.name)
    assert captured.err.startswith(f"1 image of {photos} cannot be read and is left out: {photos}/train/dark/3.png")


def test_a_recipe_for_the_other_family_leaves_its_network_out(tmp_path, capsys):
    arguments = ["train", "--recipe", "megvii-v2", "--family", "v1", "--data", "digits"]
    assert run_command_line(arguments) == ExitCode.USAGE
    assert "--groups (none): ShuffleNetV1 needs" in capsys.readouterr().err


def test_two_processes_write_and_print_once(photos, tmp_path):
    output = tmp_path / "model.safetensors"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "shufflec.cli.main", *RECIPE, "--data", str(photos), "-o", str(output)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ShuffleNetV1 0.25x g=3 (mindcv)") == 1
    assert done.stdout.count(f"Wrote {output}") == 1
    assert done.stderr.count("1 image of") == 1
    assert load_checkpoint(output).recipe["processes"] == 2
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_the_other_processes_leave_it_to_the_first_to_speak(tmp_path, monkeypatch, capsys):
    arguments = ["train", "--groups", "3", "--data", str(tmp_path / "none")]
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert run_command_line(arguments) == ExitCode.BAD_INPUT
    assert capsys.readouterr() == ("", "")
    assert len(waits) == 1
    monkeypatch.setenv("RANK", "0")
    assert run_command_line(arguments) == ExitCode.BAD_INPUT
    assert "no such dataset" in capsys.readouterr().err


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
