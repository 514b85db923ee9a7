"""run, profile and eval as a user types them, with a virtual Pi behind --rpc."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shufflec.cli.main import run_command_line
from shufflec.data.datasets import open_dataset
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.errors import ExitCode
from shufflec.files import cache_dir
from shufflec.reports.schema import read_report
from shufflec.targets.target import load_target

pytestmark = pytest.mark.board
DIGITS = 12


@pytest.fixture(scope="module")
def pi():
    with virtual_pi(load_target("rasp4")) as server:
        yield server


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """An .npz of some held-out digits, and each of them as a PNG beside it."""
    folder = tmp_path_factory.mktemp("digits")
    dataset = open_dataset("digits", "test").spread(DIGITS)
    images = [dataset.image(i) for i in range(DIGITS)]
    labels = np.array([dataset.label(i) for i in range(DIGITS)])
    stacked = np.stack(images)
    np.savez(folder / "set.npz", x_train=stacked, y_train=labels, x_test=stacked, y_test=labels)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def run_json(capsys, *arguments: object) -> dict:
    """Runs a command with --json, which must succeed and print one object to stdout."""
    code = run_command_line([*map(str, arguments), "--json"])
    output = capsys.readouterr()
    assert code == ExitCode.OK, output.err
    return json.loads(output.out)


def fails(capsys, *arguments: object) -> tuple[ExitCode, str]:
    """Exit code and the one line on stderr of a command that must fail without output."""
    code = run_command_line([*map(str, arguments)])
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    return code, output.err


def test_run_gives_the_same_scores_on_the_device_and_without(capsys, rasp4_bundle, pi, digits):
    images = [digits / f"{i}.png" for i in range(3)]
    here = run_json(capsys, "run", rasp4_bundle.path, *images, "--top", 2)
    there = run_json(capsys, "run", rasp4_bundle.path, *images, "--top", 2, "--rpc", pi.address)
    assert here["images"] == there["images"]
    assert here["engine"] == "integer reference"
    assert pi.address in there["engine"]
    first = here["images"][0]
    assert first["image"] == str(images[0])
    assert len(first["top"]) == 2
    assert first["top"][0]["score"] >= first["top"][1]["score"] > 0


def test_run_recognises_the_digits(capsys, rasp4_bundle, digits):
    assert run_command_line(["run", str(rasp4_bundle.path), *[str(digits / f"{i}.png") for i in range(DIGITS)]]) == 0
    text = capsys.readouterr().out
    assert "Computed by: integer reference" in text
    labels = np.load(digits / "set.npz")["y_test"]
    rows = [line.split() for line in text.splitlines() if ".png" in line]
    right = sum(row[1] == rasp4_bundle.class_names[label] for row, label in zip(rows, labels, strict=True))
    assert right >= DIGITS - 1


def test_eval_of_a_bundle_agrees_on_the_device_and_without(capsys, rasp4_bundle, pi, digits):
    here = run_json(capsys, "eval", rasp4_bundle.path, "--data", digits / "set.npz")
    there = run_json(capsys, "eval", rasp4_bundle.path, "--data", digits / "set.npz", "--rpc", pi.address)
    assert here["confusion"] == there["confusion"]
    assert (here["top1"], here["top5"], here["count"]) == (there["top1"], there["top5"], DIGITS)
    assert here["top1"] >= (DIGITS - 1) / DIGITS
    assert here["engine"] == "int8, integer reference"


def test_profile_takes_the_newest_bundle_and_writes_both_reports(capsys, rasp4_bundle, pi, tmp_path):
    (cache_dir() / "latest-bundle").write_text(str(rasp4_bundle.path))
    result = run_json(capsys, "profile", "--rpc", pi.address, "--inputs", 1, "-o", tmp_path)
    assert result["bundle"] == str(rasp4_bundle.path)
    assert [Path(file).name for file in result["files"]] == ["report.json", "report.html"]
    report = read_report(tmp_path / "report.json")
    assert json.loads(report.to_json()) == result["report"]
    assert report.cost.kind == "estimated"
    assert "<!doctype html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_profile_at_half_the_clock_doubles_what_the_core_computes(capsys, rasp4_bundle, tmp_path):
    options = ("--inputs", 1, "-o", tmp_path)
    full = run_json(capsys, "profile", rasp4_bundle.path, *options)["report"]
    half = run_json(capsys, "profile", rasp4_bundle.path, "--clock", "900MHz", *options)["report"]
    assert (full["target"]["clock_hz"], half["target"]["clock_hz"]) == (1_800_000_000, 900_000_000)
    assert half["cost"]["instructions"] == full["cost"]["instructions"]
    ratio = half["cost"]["estimate"]["compute_ms"] / full["cost"]["estimate"]["compute_ms"]
    assert ratio == pytest.approx(2, rel=1e-3)


def test_profile_prints_every_layer_and_where_the_reports_are(capsys, rasp4_bundle, pi, tmp_path):
    code = run_command_line(
        ["profile", str(rasp4_bundle.path), "--rpc", pi.address, "--inputs", "1", "-o", str(tmp_path)]
    )
    text = capsys.readouterr().out
    assert code == ExitCode.OK
    assert all(layer.name in text for layer in rasp4_bundle.layers)
    assert "bit for bit, equal to the NumPy integer reference" in text
    assert str(tmp_path / "report.html") in text


def test_an_unreachable_board_is_one_line_and_writes_nothing(capsys, rasp4_bundle, tmp_path):
    code, line = fails(capsys, "profile", rasp4_bundle.path, "--rpc", "127.0.0.1:1", "-o", tmp_path / "out")
    assert code == ExitCode.DEVICE
    assert "127.0.0.1:1" in line
    assert not (tmp_path / "out").exists()


def test_a_changed_bundle_is_refused(capsys, rasp4_bundle, tmp_path):
    copy = shutil.copytree(rasp4_bundle.path, tmp_path / "copy")
    library = copy / rasp4_bundle.manifest.contents.library
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)
    for command in (["profile", copy], ["run", copy, "x.png"], ["eval", copy, "--data", "digits"]):
        code, line = fails(capsys, *command)
        assert code == ExitCode.BAD_INPUT
        assert "SHA-256" in line


def test_run_refuses_what_is_not_an_image(capsys, rasp4_bundle, tmp_path):
    (tmp_path / "x.png").write_text("no image")
    code, line = fails(capsys, "run", rasp4_bundle.path, tmp_path / "x.png")
    assert code == ExitCode.BAD_INPUT
    assert "x.png" in line


def test_profile_with_more_threads_than_the_board_has(capsys, rasp4_bundle, tmp_path):
    code, line = fails(capsys, "profile", rasp4_bundle.path, "--threads", 64, "-o", tmp_path / "out")
    assert code == ExitCode.USAGE
    assert "--threads 64" in line
