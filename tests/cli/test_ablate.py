"""`shufflec ablate` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode

OPTIONS = ["--groups", "1,2", "--input-size", "32", "--batch-size", "8", "--shift", "0", "--epochs", "1"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    images = np.random.RandomState(0).randint(0, 60, (25, 16, 16)).astype(np.uint8)
    images[1::2] += 150
    path = tmp_path / "light.npz"
    np.savez(path, images=images, labels=np.arange(25) % 2)
    return path


def test_ablate_writes_three_files_and_says_what_it_found(data, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["ablate", *OPTIONS, "--data", str(data), "--seeds", "2", "-o", str(out)]
    assert run_command_line(arguments) == ExitCode.OK
    captured = capsys.readouterr()
    assert "6 trainings of ShuffleNetV1 0.25x (paper), 32x32, on light.npz" in captured.out
    assert "With and without channel shuffle" in captured.out
    assert "g=2 against g=1:" in captured.out
    assert captured.err.splitlines() == [
        "1/6 g=1, seed 0",
        "2/6 g=2, shuffle, seed 0",
        "3/6 g=2, no shuffle, seed 0",
        "4/6 g=1, seed 1",
        "5/6 g=2, shuffle, seed 1",
        "6/6 g=2, no shuffle, seed 1",
    ]
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(files) == {"ablation.json", "ablation.md", "ablation.html"}
    assert str(tmp_path).encode() not in b"".join(files.values())

    assert run_command_line([*arguments, "--json"]) == ExitCode.OK
    captured = capsys.readouterr()
    assert captured.err == ""  # nothing was trained again
    assert json.loads(captured.out)["seeds"] == [0, 1]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files


def test_shuffle_on_alone_has_no_table_of_it(data, tmp_path, capsys):
    arguments = ["ablate", *OPTIONS, "--data", str(data), "--seeds", "1", "--shuffle", "on", "-o", str(tmp_path / "o")]
    assert run_command_line([*arguments, "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert report["shuffle_on_against_off"] == []
    assert [arm["shuffle"] for arm in report["arms"]] == [None, True]


def test_a_killed_ablation_goes_on(data, tmp_path, cache):
    arguments = ["ablate", *OPTIONS[:-1], "12", "--data", str(data), "--seeds", "1", "--shuffle", "on", "-o"]
    command = [sys.executable, "-m", "shufflec.cli.main", *arguments, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (
            list(cache.glob("bench/rows/*.json")) and list(cache.glob("bench/trainings/*.training"))
        ):
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -9
    assert not (tmp_path / "out").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr.splitlines() == ["2/2 g=2, shuffle, seed 0"]
    assert (tmp_path / "out" / "ablation.json").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--groups", "1,5"], ExitCode.USAGE, "--groups 5: expected some of 1, 2, 3, 4, 8"),
        (["--groups", ""], ExitCode.USAGE, "--groups (none)"),
        (["--shuffle", "yes"], ExitCode.USAGE, "--shuffle yes: expected on, off"),
        (["--seeds", "0"], ExitCode.USAGE, "seeds 0"),
        (["--scale", "9"], ExitCode.USAGE, "scale 9"),
        (["--epochs", "0"], ExitCode.USAGE, "epochs 0"),
        (["--data", "none"], ExitCode.BAD_INPUT, "none: no such dataset"),
        (["--recipe", "none"], ExitCode.USAGE, "--recipe none: expected one of digits"),
        (["--variant", "v2"], ExitCode.USAGE, "variant v2"),
    ],
)
def test_bad_options_are_one_line(tmp_path, monkeypatch, capsys, options, code, message):
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["ablate", *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "reports").exists()
