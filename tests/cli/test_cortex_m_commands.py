"""compile, profile, run and eval of firmware, as a user types them."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode

pytestmark = pytest.mark.board


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(bundle, exported project)"""
    folder = tmp_path_factory.mktemp("m4")
    arguments = ["compile", "--target", "cortex-m4", "--groups", "8", "-o", str(folder / "bundle"), "--json"]
    assert run_command_line([*arguments, "--export", str(folder / "project")]) == ExitCode.OK
    return folder / "bundle", folder / "project"


def test_compile_writes_a_bundle_and_a_project(compiled):
    bundle, project = compiled
    assert {"model.onnx", "manifest.json", "lib", "src", "report.json", "report.html"} <= {
        p.name for p in bundle.iterdir()
    }
    assert (project / "CMakeLists.txt").is_file()
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["numerics"]["rule"] == "m-q31"
    assert manifest["target"]["flash_bytes"] == 1 << 20
    assert 100 < manifest["memory"]["stack_bytes"] < 600
    header = (bundle / "src" / "shufflec_model.h").read_text()
    assert '#define SHUFFLEC_INPUT_ORDER "RGB"' in header
    assert "#define SHUFFLEC_INPUT_MEAN {0.485f, 0.456f, 0.406f}" in header


def test_profile_counts_and_labels_what_is_estimated(compiled, capsys):
    assert run_command_line(["profile", str(compiled[0]), "--inputs", "1", "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["report"]["cost"]["kind"] == "counted"
    assert found["report"]["cost"]["milliseconds"] is None
    assert found["firmware"]["machine"] == "mps2-an386"
    assert found["firmware"]["ram_bytes"] == found["firmware"]["arena_bytes"] + found["firmware"]["stack_bytes"]
    assert found["report"]["stack_bytes"] == found["firmware"]["stack_bytes"]
    assert found["report"]["deepest_stack_bytes"] == found["firmware"]["deepest_stack_bytes"]
    assert found["report"]["stack_bytes"] <= found["report"]["deepest_stack_bytes"]
    assert run_command_line(["profile", str(compiled[0]), "--inputs", "1"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "an estimate, without memory wait states" in text
    assert "the deepest stack seen" in text
    assert "bytes at worst by the code" in text


def test_profile_compiles_the_bundled_model_for_a_target_and_then_takes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    bundles = []
    for said in ("Compiled shufflec-out/", "Profiling the newest bundle"):
        assert run_command_line(["profile", "--target", "cortex-m4", "--inputs", "1", "--json"]) == ExitCode.OK
        captured = capsys.readouterr()
        assert said in captured.err.replace("\n", "")
        bundles.append((tmp_path / json.loads(captured.out)["bundle"]).resolve())
    assert bundles[0] == bundles[1]


def test_run_on_the_emulated_board(compiled, tmp_path, capsys):
    image = tmp_path / "grey.png"
    Image.new("RGB", (40, 40), (90, 90, 90)).save(image)
    answers = []
    for options in ([], ["--target", "cortex-m4"]):
        assert run_command_line(["run", str(compiled[0]), str(image), "--json", *options]) == ExitCode.OK
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["images"] == answers[1]["images"]
    assert answers[1]["engine"] == "firmware on QEMU's mps2-an386 (cortex-m4)"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "BUNDLE", "IMAGE", "--target", "cortex-m7"], "is for cortex-m4"),
        (["run", "BUNDLE", "IMAGE", "--target", "cortex-m4", "--rpc", "127.0.0.1:1"], "give one of the two"),
        (["profile", "BUNDLE", "--rpc", "127.0.0.1:1"], "has no RPC server"),
        (["profile", "BUNDLE", "--target", "rasp4"], "is for cortex-m4"),
        (["compile", "--target", "rasp4", "--groups", "8", "--export", "out"], "is no Cortex-M target"),
        (["compile", "--target", "cortex-m4", "--export", "out", "--format", "make"], "cmake, arduino, zephyr"),
        (["compile", "--target", "cortex-m4", "--cc", "gcc"], "takes the packaged compiler"),
    ],
)
def test_wrong_options_are_one_line(compiled, arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png")
    places = {"BUNDLE": str(compiled[0]), "IMAGE": str(tmp_path / "image.png")}
    assert run_command_line([places.get(a, a) for a in arguments]) == ExitCode.USAGE
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error
    assert error.startswith("error: ")
