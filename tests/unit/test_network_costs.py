"""Measured networks: the file, what is measured again, and what a failure leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shufflec.bench import network_costs as measuring
from shufflec.bench.own_row import OwnRun
from shufflec.errors import DeviceError, InputFileError
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.reports.network_costs import NetworkCost, NetworkCosts, read_costs, shipped_costs
from shufflec.targets.target import load_target

V1, V2 = Architecture(3), ArchitectureV2(1.0)
COSTS = NetworkCosts(
    (
        NetworkCost(V1, "rasp4", "cortex-a72", 50_000_000, 41.5),
        NetworkCost(V2, "rasp4", "cortex-a72", None, None, "the board is gone"),
    ),
    {"shufflec": "1.0"},
)


def test_the_file_gives_back_what_was_written(tmp_path):
    path = tmp_path / "models.json"
    path.write_text(COSTS.to_json())
    assert read_costs(path) == COSTS
    assert COSTS.find(V1, "rasp4").instructions == 50_000_000
    assert COSTS.find(V1, "rasp5") is None
    assert COSTS.find(replace(V1, shuffle=False), "rasp4") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"schema": 1}',
        '{"schema": 9, "costs": [], "environment": {}}',
        '{"schema": 1, "environment": {}, "costs": [1]}',
        '{"schema": 1, "environment": {}, "costs": [{"target": "rasp4"}]}',
        COSTS.to_json().replace('"groups": 3', '"groups": 5'),
        COSTS.to_json().replace("50000000", '"many"'),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_one_error(tmp_path, content):
    path = tmp_path / "models.json"
    path.write_text(content)
    with pytest.raises(InputFileError, match=r"models\.json"):
        read_costs(path)


def test_new_measurements_take_the_place_of_their_own():
    newer = NetworkCosts((NetworkCost(V2, "rasp4", "cortex-a72", 7, 0.1),), {"shufflec": "2.0"})
    both = newer.added_to(COSTS)
    assert [cost.instructions for cost in both.costs] == [50_000_000, 7]
    assert both.environment == {"shufflec": "2.0"}


def test_the_shipped_file_is_read_and_names_known_boards():
    for cost in shipped_costs().costs:
        assert load_target(cost.target).core == cost.core
        assert cost.instructions is None or cost.instructions > 1000


def test_measuring_keeps_what_ran_and_tries_again_what_did_not(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    made, broken = [], {ArchitectureV2}

    def run(arch, target):
        made.append((type(arch).__name__, target.name))
        if type(arch) in broken:
            raise DeviceError("the board is gone")
        return OwnRun({"int": 5, "simd": 7}, None, 1.23456)

    monkeypatch.setattr(measuring, "workload_of", lambda arch, folder: arch)
    monkeypatch.setattr(measuring, "run_shufflec", run)
    monkeypatch.setattr(measuring, "own_key", lambda target, *network: {"target": target.name})
    told = []
    arguments = ([V1, V2], [load_target("rasp4"), load_target("rasp5")], lambda *state: told.append(state))
    first = measuring.measure_costs(*arguments)
    assert [(cost.instructions, cost.milliseconds, cost.reason) for cost in first.costs] == [
        (12, 1.235, ""),
        (12, 1.235, ""),
        (None, None, "the board is gone"),
        (None, None, "the board is gone"),
    ]
    assert told[0] == ("ShuffleNetV1 1x g=3 (paper), 224x224, 1000 classes on rasp4", 0, 4)
    broken.clear()
    made.clear()
    second = measuring.measure_costs(*arguments)
    assert made == [("ArchitectureV2", "rasp4"), ("ArchitectureV2", "rasp5")]
    assert second.find(V2, "rasp5").instructions == 12
    assert json.loads(second.to_json())["environment"]["shufflec"]
    assert Path(tmp_path, "bench", "rows").is_dir()
