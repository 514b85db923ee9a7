"""`shufflec models`: the published figures, as a user sees them."""

from __future__ import annotations

import json

import pytest

from shufflec.bench import network_costs
from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode
from shufflec.reports.network_costs import NetworkCost, NetworkCosts, read_costs


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
        (["--compare", "--layers"], "--layers"),
        (["--compare", "--scale", "0.3"], "--compare scale 0.3: no such network was published"),
        (["--compare", "-o", "x"], "--output x: needs --measure"),
        (["--compare", "--targets", "rasp9"], "rasp9: unknown target"),
        (["--measure"], "--measure : needs --compare"),
        (["--targets", "rasp4"], "--targets rasp4: needs --compare"),
    ],
)
def test_wrong_options(capsys, options, message):
    assert run_command_line(["models", *options]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_compare_fits_100_columns(capsys):
    assert run_command_line(["models", "--compare"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any("\u2026" in line for line in lines)  # no figure is cut off
    row = next(line.split() for line in lines if line.startswith(" paper") and line.split()[1:3] == ["1x", "3"])
    assert row[3:7] == ["136.5", "137", "1.87", "67.4"] and row[-1] == "37.8"
    assert sum("V2 " in line for line in lines) == 8


def test_compare_json(capsys):
    assert run_command_line(["models", "--compare", "--family", "v2", "--json", "--targets", "rasp5"]) == ExitCode.OK
    models = json.loads(capsys.readouterr().out)["models"]
    assert [(entry["variant"], entry["scale"]) for entry in models][:2] == [("torchvision", 0.5), ("torchvision", 1.0)]
    assert models[1]["published"]["top1"] == 0.69362
    assert list(models[1]["measured"]) == ["rasp5"]


def test_measured_figures_are_written_beside_earlier_ones(capsys, monkeypatch, tmp_path):
    def measure(networks, targets, progress):
        progress("one", 0, 1)
        return NetworkCosts(tuple(NetworkCost(arch, target.name, target.core, 10_000_000 * arch.groups, 5.0)
                                  for arch in networks for target in targets), {"shufflec": "0"})  # fmt: skip

    monkeypatch.setattr(network_costs, "measure_costs", measure)
    options = ["models", "--compare", "--family", "v1", "--variant", "paper", "--scale", "1", "--targets", "rasp4"]
    for groups in ("3", "8"):
        arguments = [*options, "--groups", groups, "--measure", "--add", "-o", str(tmp_path)]
        assert run_command_line(arguments) == ExitCode.OK
    captured = capsys.readouterr()
    assert captured.err == "1/1 one\n" * 2
    assert "80.0" in captured.out and f"Wrote {tmp_path}" in captured.out
    written = read_costs(tmp_path / "models.json")
    assert [cost.instructions for cost in written.costs] == [30_000_000, 80_000_000]
    assert (tmp_path / "models.md").read_text().count("| paper | 1x |") == 2
    assert run_command_line([*options, "--groups", "1", "--measure", "-o", str(tmp_path)]) == ExitCode.OK
    assert len(read_costs(tmp_path / "models.json").costs) == 1
