"""`shufflec compile` as a user types it, for this machine, where no emulator is needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from shufflec.backends import compile as compiling
from shufflec.backends.bundle import latest_bundle, open_bundle
from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode, ToolMissingError
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import load_checkpoint, save_checkpoint
from shufflec.models.random_weights import random_checkpoint
from shufflec.profiling import open_device
from shufflec.quantize.prepare import load_float

SMALL = ["--random-weights", "--groups", "2", "--scale", "0.25", "--input-size", "32", "--classes", "7"]


def run(*arguments: object) -> ExitCode:
    return run_command_line(["compile", "--target", "host", *map(str, arguments)])


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def one_error(capsys, code: ExitCode, expected: ExitCode) -> str:
    """The one line on stderr of a command that must fail; notes in front of it are allowed."""
    captured = capsys.readouterr()
    assert code == expected, captured.err
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compiled") / "bundle"
    assert run(*SMALL, "--no-verify", "-o", folder) == ExitCode.OK
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    architecture = Architecture(groups=2, scale=0.25, classes=7, input_size=32)
    path = tmp_path_factory.mktemp("checkpoint") / "mine.safetensors"
    return save_checkpoint(path, random_checkpoint(architecture))


def test_compiles_checks_and_says_what_is_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*SMALL) == ExitCode.OK
    captured = capsys.readouterr()
    text = " ".join(captured.out.split())
    assert "15 found, 15 folded away, 0 copies left" in text
    assert "every layer equals the integer reference, bit for bit, for 2 inputs on this machine" in text
    assert "RANDOM WEIGHTS" in text
    assert "Random weights" in captured.err
    place = Path("shufflec-out") / "shufflenet_v1_g2_x0.25_random-host"
    assert captured.out.rstrip().endswith(f"Next: shufflec profile {place}")
    opened = open_bundle(place)
    assert opened.random_weights
    assert opened.architecture.groups == 2
    assert latest_bundle() == place.resolve()


def test_json_is_all_that_is_on_stdout(tmp_path, capsys):
    assert run(*SMALL, "--no-verify", "--json", "-o", tmp_path / "b") == ExitCode.OK
    result = json.loads(capsys.readouterr().out)
    assert result["bundle"] == str(tmp_path / "b")
    assert result["shuffle"] == {"found": 15, "folded": 15, "copies_left": 0}
    assert result["check"] == "not checked: --no-verify"
    assert result["arena_bytes"] > 0 and result["code_bytes"] > 0 and result["macs"] > 0
    assert result["random_weights"] is True
    assert set(result["seconds"]) >= {"quantizing", "lowering to integers", "linking"}


def test_the_same_command_gives_the_same_bytes(bundle, tmp_path):
    assert run(*SMALL, "--no-verify", "-o", tmp_path / "again") == ExitCode.OK
    assert contents_of(tmp_path / "again") == contents_of(bundle)


def test_a_qdq_model_gives_the_same_code(bundle, tmp_path):
    assert run(bundle / "model.onnx", "--no-verify", "-o", tmp_path / "again") == ExitCode.OK
    again, first = open_bundle(tmp_path / "again"), open_bundle(bundle)
    assert again.library_path.read_bytes() == first.library_path.read_bytes()
    assert again.name == "model"
    assert again.random_weights


def test_without_folding_the_copies_stay_and_the_result_is_right(tmp_path, capsys):
    assert run(*SMALL, "--no-fold-shuffle", "--json", "-o", tmp_path / "b") == ExitCode.OK
    result = json.loads(capsys.readouterr().out)
    assert result["shuffle"] == {"found": 15, "folded": 0, "copies_left": 15}
    assert result["check"].startswith("every layer equals the integer reference")
    assert open_bundle(tmp_path / "b").manifest.contents.fold_shuffle is False


def test_wrong_code_is_named_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    pack = compiling.pack_constants

    def corrupted(program, plan):
        blob, offsets = pack(program, plan)
        wrong = bytearray(blob)
        names = [step.name for step in program.steps]
        first = offsets[names.index("stage3.2.conv1")][0]
        for at in range(first, first + 200):  # a single weight may vanish in the rounding
            wrong[at] ^= 0x40
        return bytes(wrong), offsets

    monkeypatch.setattr(compiling, "pack_constants", corrupted)
    message = one_error(capsys, run(*SMALL, "-o", tmp_path / "b"), ExitCode.WRONG_RESULT)
    assert "stage3.2.conv1" in message
    assert list(tmp_path.iterdir()) == []


def test_without_an_emulator_it_compiles_and_says_so(tmp_path, capsys, monkeypatch):
    def missing(*arguments, **options):
        raise ToolMissingError("qemu-aarch64", "run a virtual board", "apt-get install qemu-user")

    monkeypatch.setattr(open_device, "open_device", missing)
    assert run(*SMALL, "--json", "-o", tmp_path / "b") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["check"].startswith("not checked: qemu-aarch64 is not installed")
    open_bundle(tmp_path / "b")


def test_the_bundled_checkpoint_is_the_default(tmp_path, capsys):
    assert run("--groups", 8, "--no-verify", "--json", "-o", tmp_path / "b") == ExitCode.OK
    captured = capsys.readouterr()
    assert "No MODEL given" in captured.err
    result = json.loads(captured.out)
    assert result["name"] == "shufflenet_v1_g8_x0.25_digits"
    assert result["random_weights"] is False
    accuracy = result["accuracy"]
    assert accuracy["float_top1"] >= 0.97
    assert accuracy["int8_top1"] >= accuracy["float_top1"] - 0.005


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--target", "rasp9"], ExitCode.USAGE, "unknown target; known targets: aarch64, corstone-300, cortex-m0plus"),
        (["--groups", "5"], ExitCode.USAGE, "groups 5: expected one of 1, 2, 3, 4, 8"),
        (["--groups", "8", "--scale", "0.5"], ExitCode.BAD_INPUT, "scale 0.25 instead of 0.5"),
        (["--groups", "8", "--variant", "megvii"], ExitCode.BAD_INPUT, "variant paper instead of megvii"),
        (["--random-weights", "--input-size", "17"], ExitCode.USAGE, "input size"),
        (["--random-weights", "--groups", "7"], ExitCode.USAGE, "groups 7"),
        (["no-such.safetensors"], ExitCode.BAD_INPUT, "no-such.safetensors: no such file"),
        (["no-such.onnx"], ExitCode.BAD_INPUT, "no-such.onnx: no such file"),
        ([*SMALL, "--cc", "no-such-compiler"], ExitCode.USAGE, "--cc no-such-compiler: no such program"),
    ],
)
def test_bad_options(arguments, code, message, tmp_path, capsys):
    place = tmp_path / "b"
    assert message in one_error(capsys, run(*arguments, "--no-verify", "-o", place), code)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_other_classes_says_which_keys_differ(checkpoint, tmp_path, capsys):
    message = one_error(capsys, run(checkpoint, "--classes", 10, "-o", tmp_path / "b"), ExitCode.BAD_INPUT)
    assert "classes 7 instead of 10" in message
    assert "[7, 192] instead of [10, 192]" in message


def test_weights_are_given_or_random_but_not_both(checkpoint, tmp_path, capsys):
    code = run(checkpoint, "--random-weights", "-o", tmp_path / "b")
    assert "mine.safetensors: has weights of its own" in one_error(capsys, code, ExitCode.USAGE)


def test_an_onnx_model_has_its_own_architecture(bundle, tmp_path, capsys):
    code = run(bundle / "model.onnx", "--groups", 8, "-o", tmp_path / "b")
    assert "--groups 8" in one_error(capsys, code, ExitCode.USAGE)


def test_a_float_model_needs_images(checkpoint, tmp_path, capsys):
    model = load_float(checkpoint).model
    del model.metadata_props[:]
    path = tmp_path / "float.onnx"
    onnx.save(model, path)
    message = one_error(capsys, run(path, "-o", tmp_path / "b"), ExitCode.USAGE)
    assert "--data" in message and "needs images" in message


def test_a_float_model_with_images(checkpoint, tmp_path, capsys):
    model = load_float(checkpoint).model
    del model.metadata_props[:]
    path = tmp_path / "float.onnx"
    onnx.save(model, path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (14, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(14) % 7
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    code = run(path, "--data", tmp_path / "set.npz", "--no-verify", "--json", "-o", tmp_path / "b")
    captured = capsys.readouterr()
    assert code == ExitCode.OK, captured.err
    assert json.loads(captured.out)["accuracy"]["images"] == 14
    assert open_bundle(tmp_path / "b").architecture == load_checkpoint(checkpoint).architecture


def test_a_folder_of_the_users_is_never_replaced(bundle, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    message = one_error(capsys, run(*SMALL, "-o", tmp_path), ExitCode.BAD_INPUT)
    assert "is there and is not a bundle" in message
    assert contents_of(tmp_path) == {"thesis.txt": b"years of work"}
