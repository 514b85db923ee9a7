"""`shufflec eval --stages`: every stage of the digits network, on a virtual Pi and on QEMU's Cortex-M board."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from shufflec.cli.main import run_command_line
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.errors import ExitCode, ToolMissingError
from shufflec.models.checkpoint import bundled_checkpoint
from shufflec.profiling import open_stages
from shufflec.profiling.stages import BOARD, FLOAT, QDQ, REFERENCE
from shufflec.targets.target import load_target

pytestmark = pytest.mark.board


def run_json(capsys, *arguments: object, code: ExitCode = ExitCode.OK) -> dict:
    assert run_command_line(["eval", *map(str, arguments), "--data", "digits", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def columns(found: dict) -> dict[str, dict]:
    return {stage["name"]: stage for stage in found["stages"]}


def test_a_bundle_with_its_float_model_on_a_virtual_board(capsys, rasp4_bundle):
    found = run_json(capsys, rasp4_bundle.path, "--stages", "--float", bundled_checkpoint(8), "--images", 12)
    stages = columns(found)
    assert list(stages) == [FLOAT, QDQ, REFERENCE, BOARD]
    assert [stages[name]["images"] for name in stages] == [359, 359, 12, 12]
    # As README has them: what `compile` measured of the same network.
    assert (round(stages[FLOAT]["top1"], 4), round(stages[QDQ]["top1"], 4)) == (0.9805, 0.9777)
    assert stages[QDQ]["agreement"] >= 0.99
    assert stages[REFERENCE]["agreement"] == stages[BOARD]["agreement"] == 1.0
    assert found["bit_exact"] == {"images": 12, "equal": 12, "first_differing": None}
    assert stages[BOARD]["engine"] == "virtual Raspberry Pi 4 Model B"
    assert (found["groups"], found["scale"], found["published"]) == (8, 0.25, None)


def test_a_board_that_is_given_and_a_float_model_that_is_not(capsys, rasp4_bundle):
    with virtual_pi(load_target("rasp4")) as server:
        found = run_json(capsys, rasp4_bundle.path, "--stages", "--rpc", server.address, "--images", 3)
    stages = columns(found)
    assert stages[BOARD]["engine"] == f"device at {server.address}"
    assert "--float MODEL gives the float one" in stages[FLOAT]["missing"]
    assert found["bit_exact"]["equal"] == 3


def test_a_checkpoint_is_compiled_for_a_microcontroller(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    arguments = ["eval", str(bundled_checkpoint(8)), "--data", "digits", "--target", "cortex-m4", "--images", "20"]
    assert run_command_line(arguments) == ExitCode.OK
    text = capsys.readouterr().out
    rows = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    assert "20 of 20" in rows["logits equal in bits"]
    assert rows["images"].split()[-3:] == ["20", "of", "359"]
    assert rows["top-1 as on the left"].split()[-1] == "100.00%"
    assert "compiled code" in text and "cortex-m4" in text
    # The bundle was for this table alone.
    assert not (tmp_path / "latest-bundle").exists()


def test_without_an_emulator_the_last_column_says_why(capsys, rasp4_bundle, monkeypatch):
    def missing(*_, **__):
        raise ToolMissingError("qemu-aarch64", "run arm64 code", "apt-get install qemu-user")

    monkeypatch.setattr(open_stages, "open_device", missing)
    assert (
        run_command_line(["eval", str(rasp4_bundle.path), "--data", "digits", "--stages", "--images", "2"])
        == ExitCode.OK
    )
    text = " ".join(capsys.readouterr().out.split())
    assert "No compiled code: qemu-aarch64 is not installed; it is needed to run arm64 code" in text
    assert "No float: a bundle holds the quantized network alone" in text
    assert "Integer reference: 2 of 359 images, at equal distances" in text


def test_code_that_differs_is_an_error_behind_the_table(capsys, rasp4_bundle, monkeypatch):
    def wrong(network):
        return lambda x: network(x) + np.float32(0.25)

    true = open_stages.one_by_one
    monkeypatch.setattr(open_stages, "one_by_one", lambda predict: true(wrong(predict)))
    arguments = ["eval", str(rasp4_bundle.path), "--data", "digits", "--stages", "--images", "4"]
    assert run_command_line(arguments) == ExitCode.WRONG_RESULT
    output = capsys.readouterr()
    assert "0 of 4" in output.out
    assert "the compiled code differs from the integer reference on 4 of 4 images, the first is image 0" in output.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["BUNDLE", "--stages", "--target", "cortex-m4"], ExitCode.USAGE, "is for rasp4"),
        (["BUNDLE", "--stages", "--float", "G3"], ExitCode.BAD_INPUT, "it is another network"),
        (["BUNDLE", "--float", "G8"], ExitCode.USAGE, "--float"),
        (["G8", "--stages", "--float", "G8"], ExitCode.USAGE, "is a float model itself"),
        (["G8", "--stages", "--rpc", "127.0.0.1:1"], ExitCode.USAGE, "is for bundles"),
        (["none.safetensors", "--stages"], ExitCode.BAD_INPUT, "no such file"),
        (["BUNDLE", "--stages", "--rpc", "127.0.0.1:1"], ExitCode.DEVICE, "127.0.0.1:1"),
        (["G8", "--target", "nobody"], ExitCode.USAGE, "nobody"),
    ],
)
def test_wrong_options_are_one_line(capsys, rasp4_bundle, tmp_path, arguments, code, words):
    small = tmp_path / "small.npz"
    np.savez(small, images=np.zeros((20, 8, 8), np.uint8), labels=np.arange(20) % 10)
    shutil.copy(bundled_checkpoint(8), tmp_path / "g8.safetensors")
    places = {"BUNDLE": rasp4_bundle.path, "G8": tmp_path / "g8.safetensors", "G3": other_size(tmp_path)}
    given = [str(places.get(argument, argument)) for argument in arguments]
    assert run_command_line(["eval", *given, "--data", str(small)]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert words in output.err.strip().splitlines()[-1]
    assert "Traceback" not in output.err


def other_size(folder):
    """A network of ten classes for another input."""
    from shufflec.models.architecture import Architecture
    from shufflec.models.checkpoint import save_checkpoint
    from shufflec.models.random_weights import random_checkpoint

    return save_checkpoint(folder / "other.safetensors", random_checkpoint(Architecture(3, 0.25, "paper", 10, 64)))
