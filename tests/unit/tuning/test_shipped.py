"""The shipped records: a family's file holds what the files before it do not."""

from __future__ import annotations

import pytest
from integer_graphs import shufflenet_v2_stage

from shufflec.kernels.records import Record, toolchain, write_records
from shufflec.targets.target import load_target
from shufflec.tuning import shipped
from shufflec.tuning.cost_model import CostModel
from shufflec.tuning.tasks import extract_tasks


class Tuned(Exception):
    """Stands for boards that would be started."""


@pytest.fixture
def graph():
    return shufflenet_v2_stage(3, 10, 2, True)


def _records(graph, target):
    tools = toolchain()
    return [
        Record(task.record_key, target.name, task.family.NAME, dict(task.tilings[0]), tools.tvm, tools.llvm,
               "estimated", 5, 9)
        for task in extract_tasks(graph, target.isa)
    ]  # fmt: skip


def _tune(graph, target, path, monkeypatch):
    def started(*arguments):
        raise Tuned

    monkeypatch.setattr(shipped, "started_boards", started)
    shipped.tune_network(graph, target, 1, 2, path, CostModel(), "a network")


@pytest.mark.parametrize("file", ["shufflenet_v1.jsonl", "shufflenet_v2.jsonl"])
def test_what_a_file_before_it_has_is_not_tuned_again(file, graph, tmp_path, monkeypatch, capsys):
    target = load_target("rasp4")
    write_records(tmp_path / file, _records(graph, target))
    _tune(graph, target, tmp_path / "shufflenet_v2.jsonl", monkeypatch)
    assert capsys.readouterr().out == "a network: nothing new\n"


def test_what_only_a_file_behind_it_has_is_tuned(graph, tmp_path, monkeypatch):
    target = load_target("rasp4")
    write_records(tmp_path / "shufflenet_v2.jsonl", _records(graph, target))
    with pytest.raises(Tuned):
        _tune(graph, target, tmp_path / "shufflenet_v1.jsonl", monkeypatch)


def test_each_family_has_a_file_and_networks(monkeypatch):
    asked = []
    monkeypatch.setattr(shipped, "random_checkpoint", lambda architecture: asked.append(architecture))
    monkeypatch.setattr(shipped, "prepare_model", lambda checkpoint: (_ for _ in ()).throw(Tuned))
    for groups in (3, None):
        with pytest.raises(Tuned):
            shipped.network(groups, 0.5)
    assert [(one.family, one.scale) for one in asked] == [("shufflenet_v1", 0.5), ("shufflenet_v2", 0.5)]
    assert set(shipped.FILES) == {"v1", "v2"}
