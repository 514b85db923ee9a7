"""compare as a user types it: the shipped network on virtual boards and on this machine."""

from __future__ import annotations

import json
import shutil

import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode

pytestmark = pytest.mark.board


@pytest.fixture
def copy(rasp4_bundle, tmp_path):
    shutil.copytree(rasp4_bundle.path, tmp_path / "copy")
    return tmp_path / "copy"


def run_json(capsys, *arguments: object) -> dict:
    code = run_command_line(["compare", *map(str, arguments), "--json"])
    output = capsys.readouterr()
    assert code == ExitCode.OK, output.err
    return json.loads(output.out)


def test_a_copy_is_the_same_code_and_takes_the_same_time(capsys, rasp4_bundle, copy, tmp_path):
    report = run_json(capsys, rasp4_bundle.path, copy, "-o", tmp_path / "out", "--clock", "1.5GHz")
    a, b = report["sides"]
    assert a["milliseconds"] == b["milliseconds"] > 0
    assert a["clock_hz"] == 1_500_000_000
    assert report["changes"][0]["verdict"] == "same code"
    assert all(layer["figures"][0] == layer["figures"][1] for layer in report["layers"])
    assert all(layer["verdicts"] == ["same code"] for layer in report["layers"])
    assert len(report["layers"]) == len(rasp4_bundle.layers)
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert sorted(files) == ["compare.html", "compare.json"]
    assert json.loads(files["compare.json"])["layers"] == report["layers"]


def test_another_board_and_a_measured_one(capsys, rasp4_bundle, host_bundle):
    report = run_json(capsys, rasp4_bundle.path, host_bundle.path)
    assert [side["kind"] for side in report["sides"]] == ["estimated", "measured"]
    (change,) = report["changes"]
    assert change["basis"] == "different boards: their errors are independent"
    assert change["low"] < change["time_ratio"] < change["high"]
    assert change["instruction_ratio"] is None


@pytest.fixture(scope="module")
def profiled(rasp4_bundle, tmp_path_factory):
    path = shutil.copytree(rasp4_bundle.path, tmp_path_factory.mktemp("stored") / "profiled")
    assert run_command_line(["profile", str(path), "--clock", "1.2GHz"]) == ExitCode.OK
    return path


def test_stored_profiles_are_those_that_profile_wrote(capsys, profiled, tmp_path):
    report = run_json(capsys, profiled, shutil.copytree(profiled, tmp_path / "other"), "--stored")
    stored = json.loads((profiled / "report.json").read_text())
    assert report["sides"][0]["milliseconds"] == stored["cost"]["milliseconds"]
    assert report["sides"][0]["clock_hz"] == 1_200_000_000
    assert report["sides"][0]["uncertainty_percent"] == stored["cost"]["uncertainty_percent"]
    assert report["changes"][0]["verdict"] == "same code"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda report: report | {"cost": None}, "report.json: holds no profile"),
        (lambda report: report | {"code_bytes": 1}, "report.json: is not of this bundle's code"),
        (lambda report: report | {"layers": report["layers"][::-1]}, "is not of this bundle's code"),
        (lambda report: {}, "report.json: not a report"),
    ],
)
def test_stored_profiles_of_something_else_are_refused(capsys, profiled, rasp4_bundle, tmp_path, change, words):
    path = shutil.copytree(profiled, tmp_path / "other") / "report.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    code = run_command_line(["compare", str(path.parent), str(rasp4_bundle.path), "--stored"])
    output = capsys.readouterr()
    assert code == ExitCode.BAD_INPUT
    assert output.out == "" and words in output.err
