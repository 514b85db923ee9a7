"""The tune and farm commands, without a board: options, moving records, and what compile says of them."""

from __future__ import annotations

import json

import pytest

from shufflec.cli.main import run_command_line
from shufflec.cli.tune import parse_budget
from shufflec.cli.tune_view import headline, time_left
from shufflec.errors import ExitCode, OptionError
from shufflec.kernels.records import Record, read_records, toolchain, user_records, write_records
from shufflec.reports.tuning import render
from shufflec.tuning.outcome import Outcome, TunedTask
from shufflec.tuning.state import RunState


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))


def record(**changes) -> Record:
    tools = toolchain()
    values = {
        "workload": "dense/neon/in_channels=8,out_channels=4", "target": "rasp4", "kernel": "a64-dense-1",
        "tiling": {"outputs": 4, "schedule": 0}, "tvm": tools.tvm, "llvm": tools.llvm, "kind": "estimated",
        "nanoseconds": 70, "default_nanoseconds": 80,
    }  # fmt: skip
    return Record(**(values | changes))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("5", 300), ("1.5m", 90)])
def test_budgets(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0m", "m", "-5m", "1d", "9" * 30, "1e3s"])
def test_budgets_that_are_none(text):
    with pytest.raises(OptionError, match="--budget"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rpc", "a:1", "--tracker", "b:2", "--key", "k"], "--rpc a:1: boards come from the tracker"),
        (["--tracker", "b:2"], "--tracker b:2: needs --key"),
        (["--budget", "soon"], "--budget soon"),
        (["--target", "rasp9"], "unknown target"),
        (["--export", "a", "--import", "b"], "cannot be given with --import"),
    ],
)
def test_options_that_do_not_go_together(capsys, arguments, message):
    assert run_command_line(["tune", *arguments]) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_records_go_from_one_machine_to_another(tmp_path, monkeypatch, capsys):
    write_records(user_records("rasp4"), [record(), record(workload="w", nanoseconds=5)])
    moved = tmp_path / "moved.jsonl"
    assert run_command_line(["tune", "--target", "rasp4", "--export", str(moved)]) == ExitCode.OK
    assert capsys.readouterr().out == f"Wrote 2 records of rasp4 to {moved}\n"
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "other"))
    with open(moved, "a") as file:
        file.write(record(target="rasp5").to_line() + record(llvm="1").to_line())
    assert run_command_line(["tune", "--target", "rasp4", "--import", str(moved), "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "target": "rasp4",
        "records": 2,
        "skipped": {"for another target": 1, "of another toolchain": 1},
    }
    assert len(read_records(user_records("rasp4"))[0]) == 2


def test_a_damaged_file_is_taken_over_not_at_all(tmp_path, capsys):
    path = tmp_path / "r.jsonl"
    path.write_text(record().to_line() + record().to_line()[:-30])
    assert run_command_line(["tune", "--import", str(path)]) == ExitCode.BAD_INPUT
    assert "line 2 is not JSON (1 damaged lines; remove them to use the rest)" in capsys.readouterr().err
    assert not user_records("rasp4").exists()


def test_imported_records_take_the_place_of_older_ones(tmp_path):
    write_records(user_records("rasp4"), [record(nanoseconds=60), record(workload="w")])
    write_records(tmp_path / "r.jsonl", [record(nanoseconds=75)])
    assert run_command_line(["tune", "--import", str(tmp_path / "r.jsonl")]) == ExitCode.OK
    records = read_records(user_records("rasp4"))[0]
    assert {one.workload: one.nanoseconds for one in records} == {record().workload: 75, "w": 70}


def test_nothing_to_export(capsys):
    assert run_command_line(["tune", "--export", "x"]) == ExitCode.BAD_INPUT
    assert "no records of your own for rasp4" in capsys.readouterr().err


def test_no_farm_runs(capsys):
    assert run_command_line(["farm", "status"]) == ExitCode.OK
    assert "shufflec farm up" in capsys.readouterr().out
    assert run_command_line(["farm", "down"]) == ExitCode.OK
    assert capsys.readouterr().out == "No farm runs.\n"
    assert run_command_line(["farm", "up", "-n", "0"]) == ExitCode.USAGE
    assert "-n 0: expected 1 to 16 boards" in capsys.readouterr().err


def test_the_time_left_follows_from_the_limits():
    state = RunState([], limit=30, trials=20, replayed=10)
    assert time_left(state, elapsed=50.0, seconds=0) == 50.0
    assert time_left(state, elapsed=50.0, seconds=80) == 30.0
    assert time_left(RunState([], limit=0), elapsed=1.0, seconds=0) is None
    state.boards, state.doing = 2, "measuring"
    line = headline(state, 50.0, 0)
    assert (
        line == "tuned layers -, 20/30 trials, 0 failed, 10 from an earlier run, at most 0:50 left, 2 boards: measuring"
    )


def test_the_report_is_a_page_that_escapes_what_it_is_given():
    bad = "<script>alert(1)</script>"
    task = TunedTask(bad, "dense", bad, "a64-dense-1", 2, 1000, 900, {"outputs": 4}, {"outputs": 20}, 18, 7, 1)
    outcome = Outcome(
        bad, "rasp4", "Raspberry Pi 4", "estimated", "trials", 0, 7, 0, 1, (task,), ((1, 2000), (7, 1800)), 0.5, 0.4,
        (bad,), "rasp4.jsonl",
    )  # fmt: skip
    page = render(outcome)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "10.0 % saved" in page and "0.400 ms" in page and "1 wrong" in page
    assert page == render(outcome)
    assert any("Whole network: 0.500 -> 0.400 ms estimated" in line for line in outcome.sentences())


def test_a_report_of_a_run_that_ended_at_once_is_a_page_too():
    outcome = Outcome("n", "rasp4", "Pi", "estimated", "budget", 3, 0, 0, 0, (), (), None, None, (), "")
    assert "ended before every default tiling" in render(outcome)
    assert outcome.sentences() == ["3 workloads have a record and were left alone (--again tunes them anew)."]
