"""Whole tuning runs on boards without a device: resuming, bad boards, wrong kernels, any number of boards."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fake_boards import FAMILY, TILINGS, FakeBoard, fake_case, family, nanoseconds, optimum, tasks

from shufflec.errors import DeviceError, ShufflecError
from shufflec.kernels import select
from shufflec.targets.target import load_target
from shufflec.tuning import run as module
from shufflec.tuning.fleet import Fleet
from shufflec.tuning.journal import Journal, read_journal
from shufflec.tuning.run import BUDGET, DONE, TRIALS, Limits, Run

RASP4 = load_target("rasp4")


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    monkeypatch.setitem(select.FAMILIES, "neon", (family(),))
    monkeypatch.setattr(module, "make_case", fake_case)
    monkeypatch.setattr(module, "build_candidates", lambda candidates, target: b"")


def tune(path, boards, limits=None, observe=lambda state: None, count=2) -> tuple[Run, str]:
    some = tasks(count)
    with Journal(path, [task.key for task in some]) as journal, Fleet(boards, 0) as fleet:
        run = Run(some, RASP4, fleet, journal, limits or Limits(), observe)
        return run, run.run()


_undisturbed: list[Run] = []


@pytest.fixture
def whole(tmp_path) -> Run:
    """A run on one good board; they are all the same."""
    if not _undisturbed:
        _undisturbed.append(tune(tmp_path / "whole", [FakeBoard()])[0])
    return _undisturbed[0]


def best(run: Run) -> list[tuple]:
    return [(one.best, one.tiling) for one in run.state.tasks]


def test_a_run_finds_good_tilings_and_ends_by_itself(tmp_path):
    run, ended = tune(tmp_path / "j", [FakeBoard()])
    assert ended == DONE
    for one in run.state.tasks:
        assert one.default == nanoseconds(one.task, TILINGS[0])
        assert one.best <= 1.05 * optimum(one.task)
        assert one.trials < len(TILINGS)
    assert run.state.tasks[0].trials >= run.state.tasks[-1].trials  # the costlier workload gets no fewer
    assert run.state.curve[-1][1] == run.state.best < run.state.curve[0][1] == run.state.default


def test_the_record_is_the_best(tmp_path):
    run, _ = tune(tmp_path / "j", [FakeBoard()])
    first = run.records()[0]
    assert (first.target, first.kernel, first.kind) == ("rasp4", FAMILY, "estimated")
    assert first.nanoseconds == run.state.tasks[0].best < first.default_nanoseconds
    assert first.choice == run.state.tasks[0].tiling


def test_a_gain_of_nearly_nothing_leaves_the_default(tmp_path, whole):
    state = replace(whole.state.tasks[0], best=whole.state.tasks[0].default - 1)
    assert state.record(RASP4).choice == TILINGS[0]
    assert state.record(RASP4).nanoseconds == state.default


def test_trials_end_a_run(tmp_path):
    run, ended = tune(tmp_path / "j", [FakeBoard()], Limits(trials=13))
    assert ended == TRIALS and run.state.trials == 13


def test_time_ends_a_run_after_the_round_in_hand(tmp_path):
    run, ended = tune(tmp_path / "j", [FakeBoard()], Limits(seconds=1e-9))
    assert ended == BUDGET and run.state.trials == 0


@pytest.mark.parametrize("stops", [[1], [4, 9, 20]])
def test_a_stopped_run_comes_to_the_same_best(tmp_path, stops, whole):

    def stop_at(trials):
        def observe(state):
            if state.trials + state.replayed >= trials:
                raise KeyboardInterrupt

        return observe

    for trials in stops:
        with pytest.raises(KeyboardInterrupt):
            tune(tmp_path / "parts", [FakeBoard()], observe=stop_at(trials))
    measured = len(read_journal(tmp_path / "parts")[1])
    board = FakeBoard()
    resumed, _ = tune(tmp_path / "parts", [board])
    assert best(resumed) == best(whole)
    assert resumed.state.replayed == measured
    assert board.measured == whole.state.trials - measured  # nothing was measured twice
    assert resumed.state.curve == whole.state.curve


def test_a_killed_run_loses_its_last_line_at_most(tmp_path, whole):
    tune(tmp_path / "whole", [FakeBoard()])
    text = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(text[: len(text) // 2])
    kept = text[: len(text) // 2].count(b"\n") - 1
    board = FakeBoard()
    resumed, _ = tune(tmp_path / "cut", [board])
    assert best(resumed) == best(whole) and resumed.state.replayed == kept
    assert len(read_journal(tmp_path / "cut")[1]) == whole.state.trials


def test_a_finished_run_measures_nothing_again(tmp_path, whole):
    tune(tmp_path / "j", [FakeBoard()])
    board = FakeBoard()
    second, _ = tune(tmp_path / "j", [board])
    assert best(second) == best(whole) and board.measured == 0


@pytest.mark.parametrize("count", [2])
def test_more_boards_find_the_same(tmp_path, count, whole):
    boards = [FakeBoard(f"board {i}") for i in range(count)]
    several, _ = tune(tmp_path / "several", boards)
    assert best(several) == best(whole) and several.records() == whole.records()
    assert sum(board.measured for board in boards) == whole.state.trials


def test_a_board_that_dies_is_dropped_and_the_rest_go_on(tmp_path, whole):
    said = []
    some = tasks(2)
    boards = [FakeBoard("bad", dies_after=5), FakeBoard("good")]
    with Journal(tmp_path / "j", [task.key for task in some]) as journal, Fleet(boards, 0, said.append) as fleet:
        run = Run(some, RASP4, fleet, journal, Limits())
        run.run()
        assert [board.name for board in fleet.boards] == ["good"]
    assert best(run) == best(whole) and not run.state.problems
    assert said == ["board bad is dropped: bad: could not open a session: the board did not answer in time"]


def test_with_no_board_left_the_run_ends_and_can_go_on(tmp_path, whole):
    with pytest.raises(DeviceError, match="no board is left: one: could not open a session") as caught:
        tune(tmp_path / "j", [FakeBoard(dies_after=6)])
    assert "the same command goes on" in str(caught.value)
    assert len(read_journal(tmp_path / "j")[1]) == 6
    assert best(tune(tmp_path / "j", [FakeBoard()])[0]) == best(whole)


def test_a_board_that_returns_garbage_is_dropped_and_nothing_of_it_is_recorded(tmp_path, whole):
    run, _ = tune(tmp_path / "j", [FakeBoard("bad", garbage_after=4), FakeBoard("good")])
    assert best(run) == best(whole) and not run.state.problems


def test_a_wrong_kernel_is_never_recorded_and_is_said(tmp_path, whole):
    fastest = whole.state.tasks[0].tiling
    run, _ = tune(tmp_path / "j", [FakeBoard(wrong=[fastest])])
    assert all(one.tiling != fastest for one in run.state.tasks)
    assert all(record.choice != fastest for record in run.records())
    assert run.state.wrong >= 1
    assert "wrong: stage0.0 with pixels=3,blocks=3,schedule=0: 1 of 10 outputs are wrong" in run.state.problems


def test_a_workload_whose_default_is_wrong_gets_no_record(tmp_path):
    run, _ = tune(tmp_path / "j", [FakeBoard(wrong=[TILINGS[0]])])
    assert run.records() == []
    assert run.state.wrong == 2


def test_a_candidate_that_takes_its_board_with_it_twice_has_failed(tmp_path, whole):
    fastest = whole.state.tasks[0].tiling
    run, _ = tune(tmp_path / "j", [FakeBoard(crashes=[fastest])])
    assert all(one.tiling != fastest for one in run.state.tasks)
    assert any("failed: " in problem and "the connection was lost" in problem for problem in run.state.problems)
    assert run.state.wrong == 0


def test_a_candidate_that_does_not_compile_has_failed_and_its_library_is_built_without_it(tmp_path, monkeypatch, whole):
    fastest = whole.state.tasks[0].tiling

    def build(candidates, target):
        if any(candidate.tiling == fastest for candidate in candidates):
            raise ShufflecError("linking the network failed: undefined symbol")
        return b""

    monkeypatch.setattr(module, "build_candidates", build)
    run, _ = tune(tmp_path / "j", [FakeBoard()])
    assert all(one.tiling != fastest for one in run.state.tasks)
    assert any("does not compile: linking the network failed" in problem for problem in run.state.problems)
    assert run.state.trials > 10


def test_two_processes_do_not_share_a_journal(tmp_path):
    with Journal(tmp_path / "j", []), pytest.raises(ShufflecError, match="runs in another process"):
        Journal(tmp_path / "j", [])


def test_a_damaged_journal_is_named(tmp_path):
    tune(tmp_path / "j", [FakeBoard()], Limits(trials=4))
    lines = (tmp_path / "j").read_text().splitlines()
    for damage in ("{}", "nothing", json.dumps({**json.loads(lines[2]), "outcome": "splendid"})):
        (tmp_path / "k").write_text("\n".join([lines[0], damage, *lines[2:]]) + "\n")
        with pytest.raises(ShufflecError, match="line 2 is damaged"):
            read_journal(tmp_path / "k")


def test_the_search_covers_a_space_and_proposes_nothing_twice():
    from shufflec.tuning.cost_model import CostModel
    from shufflec.tuning.search import Search

    task, model = tasks(1)[0], CostModel()
    search = Search(task, model, 7)
    proposed = []
    while not search.exhausted:
        batch = search.propose()
        assert batch
        proposed += batch
        for tiling in batch:
            model.add(task, tiling, nanoseconds(task, tiling) / nanoseconds(task, TILINGS[0]))
        search.tell([1e-9 * nanoseconds(task, tiling) for tiling in batch])
        model.fit()
    assert proposed[0] == TILINGS[0]
    assert sorted(proposed) == sorted(TILINGS)
    half = proposed[: len(proposed) // 2]
    assert min(nanoseconds(task, tiling) for tiling in half) == optimum(task)
