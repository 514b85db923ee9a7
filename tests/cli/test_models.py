"""`shufflec models`: the published figures, as a user sees them."""

from __future__ import annotations

import json

import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode


def test_table(capsys):
    assert run_command_line(["models"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "ShuffleNetV1 1x, 224x224, 1000 classes" in out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("paper")]
    expected = [(1, "142.5", "143"), (2, "140.0", "140"), (3, "136.5", "137"), (4, "133.3", "133"), (8, "136.8", "137")]
    assert [(int(row[1]), row[3], row[6]) for row in rows] == expected
    assert out.count("138 / 1.9") == 2
    assert max(len(line) for line in out.splitlines()) <= 80


def test_json_and_layers(capsys):
    options = ["--groups", "8", "--variant", "mindcv", "--scale", "0.25", "--input-size", "32x48", "--classes", "7"]
    assert run_command_line(["models", *options, "--layers", "--json"]) == ExitCode.OK
    (entry,) = json.loads(capsys.readouterr().out)["models"]
    assert entry["input_size"] == [32, 48]
    assert entry["shuffles"] == 16
    assert entry["published_mmacs"] is None
    assert entry["layers"][0]["output_shape"] == [8, 16, 24]
    assert sum(layer["macs"] for layer in entry["layers"]) == entry["macs"]
    assert run_command_line(["models", *options, "--layers"]) == ExitCode.OK
    assert "stage4.3.conv3" in capsys.readouterr().out


def test_v2_table(capsys):
    assert run_command_line(["models", "--family", "v2"]) == ExitCode.OK
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("torchvision")]
    assert [(row[1], row[5], row[6]) for row in rows][1] == ("1x", "2.279", "146")
    assert len(rows) == 4 and max(len(line) for line in out.splitlines()) <= 80
    assert run_command_line(["models", "--family", "v2", "--scale", "1", "--variant", "megvii", "--layers"]) == 0
    assert "stage2.1.branch2.conv3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--groups", "6"], "groups 6: expected one of 1, 2, 3, 4, 8"),
        (["--variant", "v2"], "variant v2"),
        (["--scale", "3"], "scale 3"),
        (["--input-size", "31"], "input size"),
        (["--layers"], "give --groups and --variant"),
        (["--family", "v2", "--layers"], "give --scale and --variant"),
        (["--family", "v2", "--groups", "3"], "ShuffleNetV2 has no groups"),
        (["--family", "v3"], "family v3"),
    ],
)
def test_wrong_options(capsys, options, message):
    assert run_command_line(["models", *options]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
