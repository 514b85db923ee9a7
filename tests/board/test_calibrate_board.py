"""board calibrate on a virtual Pi whose true parameters are known, and a board that goes away."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest

from shufflec.cli.main import run_command_line
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.errors import ExitCode
from shufflec.models.architecture import Architecture
from shufflec.profiling import calibrate_measure, calibrate_progress, calibrate_set
from shufflec.profiling.calibrate import starting_target
from shufflec.profiling.calibrate_set import Recipe, build_networks
from shufflec.profiling.inputs import seeded_inputs
from shufflec.profiling.open_device import open_device
from shufflec.profiling.profile import profile_bundle
from shufflec.targets.target import load_target

pytestmark = pytest.mark.board
RASP4 = load_target("rasp4")
CLOCK = 1_500_000_000
TRUE = replace(RASP4, clock_hz=CLOCK, time=replace(RASP4.time, scale=1.2, store_miss_ns=50.0, dram_line_ns=9.0))
LAYERS = ("quantize", "stem.pool", "stage2.0.dw", "stage2.0.pool", "classifier")
RECIPES = (
    Recipe("g8 32x32", Architecture(8, 0.25, classes=10, input_size=(32, 32))),
    Recipe("g3 320x320", Architecture(3, 0.25, classes=10, input_size=(320, 320)), LAYERS),
)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return build_networks(starting_target(load_target("rasp4")), tmp_path_factory.mktemp("networks"), RECIPES)


@pytest.fixture(autouse=True)
def few_networks(monkeypatch, tmp_path, networks):
    monkeypatch.setattr(calibrate_set, "build_networks", lambda target, folder, progress: networks)
    monkeypatch.chdir(tmp_path)


def test_a_boards_true_parameters_are_found_and_its_file_tells_its_time(capsys, tmp_path, rasp4_bundle):
    with virtual_pi(TRUE) as server:
        options = ["--rpc", server.address, "--clock", "1.5GHz", "-o", "mine.toml", "--no-date", "--json"]
        assert run_command_line(["board", "calibrate", *options]) == ExitCode.OK
        output = capsys.readouterr()
        report = json.loads(output.out)
        code = run_command_line(["profile", str(rasp4_bundle.path), "--rpc", server.address, "-o", "there", "--json"])
        assert code == ExitCode.OK
        there = json.loads(capsys.readouterr().out)["report"]["cost"]["milliseconds"]
    assert report["after"]["scale"] == pytest.approx(1.2, rel=0.01)
    assert report["after"]["store_miss_ns"] == pytest.approx(50, rel=0.03)
    assert report["after"]["dram_line_ns"] == pytest.approx(9, rel=0.1)
    assert report["kind"] == "simulated"
    assert report["kept_back"]["runs"] == len(LAYERS) + 2
    target = load_target("mine.toml")
    assert (target.name, target.clock_hz) == ("mine", CLOCK)
    assert target.time.uncertainty_percent == report["uncertainty_percent"]
    assert target.sources["time"].startswith("fitted by `shufflec board calibrate` to 7 runs, simulated at 127.0.0.1:")
    with open_device(target) as session:
        here = profile_bundle(rasp4_bundle, session, seeded_inputs(rasp4_bundle.preprocessing, 1)).whole.milliseconds
    assert here == pytest.approx(there, rel=0.01)


def test_a_board_that_dies_leaves_no_file_and_its_timings(capsys, tmp_path, monkeypatch):
    timings = tmp_path / "timings.json"
    monkeypatch.setattr(calibrate_progress, "progress_file", lambda address, networks: timings)
    timed = calibrate_measure.Timings.add
    with virtual_pi(TRUE) as server:

        def add_then_kill(self, name, milliseconds):
            timed(self, name, milliseconds)
            if len(self.milliseconds) == 3:
                os.killpg(server.pid, signal.SIGKILL)

        monkeypatch.setattr(calibrate_measure.Timings, "add", add_then_kill)
        options = ["--rpc", server.address, "--clock", "1.5GHz", "-o", "mine.toml"]
        assert run_command_line(["board", "calibrate", *options]) == ExitCode.DEVICE
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1].startswith(f"error: {server.address}: could not")
    assert len(json.loads(timings.read_text())) == 3
    assert not list(tmp_path.glob("*.toml"))
