"""The table over shapes: which are in it, what a cliff is, and what is said about time."""

from __future__ import annotations

import json

import pytest

from shufflec.bench import shapes as bench_shapes
from shufflec.bench.shapes import BASE, Shape, ShapeReport, ShapeRow, markdown, sentences, shapes, table
from shufflec.models.architecture import GROUPS, Architecture
from shufflec.reports.network_costs import NetworkCost, NetworkCosts
from shufflec.targets.target import load_target


def _row(shape: Shape, per_mac: float | None, time: float = 1.0, target: str = "rasp4", reason: str = "") -> ShapeRow:
    macs = 100_000_000
    instructions = None if per_mac is None else int(per_mac * macs)
    milliseconds = None if per_mac is None else time * 10
    return ShapeRow(
        target, "cortex-a72", shape.groups, shape.scale, shape.input_size, macs, instructions, milliseconds, reason
    )


def report(*rows: ShapeRow) -> ShapeReport:
    return ShapeReport((_row(BASE, 0.25), *rows))


def test_all_groups_scales_and_the_wide_input_are_in_it() -> None:
    every = shapes(GROUPS)
    assert len(set(every)) == len(every)
    assert {shape.groups for shape in every if shape.scale == 1.0} == set(GROUPS)
    for groups in (3, 8):
        assert {shape.scale for shape in every if shape.groups == groups} == {0.25, 0.5, 1.0, 1.5, 2.0}
        assert Shape(groups, 1.0, (480, 640)) in every


def test_the_base_is_always_measured() -> None:
    assert shapes([4]) == [BASE, Shape(4)]


@pytest.mark.parametrize(
    ("row", "cliff"),
    [
        (_row(Shape(8), 0.49), False),
        (_row(Shape(8), 0.51), True),
        (_row(Shape(8, 0.25), 0.9), False),
        (_row(Shape(8, 0.5), 0.9), True),
        (_row(Shape(8, 0.25), None, reason="lost"), True),
    ],
)
def test_a_cliff_is_twice_the_instructions_of_the_base(row: ShapeRow, cliff: bool) -> None:
    assert report(row).cliffs() == ([row] if cliff else [])


def test_each_board_has_its_own_base() -> None:
    other = [_row(BASE, 0.1, target="rasp5"), _row(Shape(8), 0.3, target="rasp5")]
    assert report(*other).ratio(other[1]) == pytest.approx(3)
    assert report(*other).cliffs() == [other[1]]


def test_the_table_has_a_line_a_shape_and_a_column_a_board() -> None:
    lines = table(report(_row(Shape(8), 0.3, time=1.5), _row(BASE, 0.1, target="rasp5")))
    assert lines == [
        ["network", "MACs", "A72 (rasp4)", "A72 (rasp5)"],
        ["1x g=3 224x224", "100.0 M", "25.0 M, 10.0 ms, 1.00x", "10.0 M, 10.0 ms, 1.00x"],
        ["1x g=8 224x224", "100.0 M", "30.0 M, 15.0 ms, 1.20x", ""],
    ]


def test_sentences_name_cliffs_failures_and_where_time_disagrees() -> None:
    assert "No cliff: the worst is 1x g=8 224x224 on rasp4, 1.20x." in sentences(report(_row(Shape(8), 0.3)))
    said = sentences(report(_row(Shape(8), 0.6), _row(Shape(1), None, reason="lost")))
    assert "Cliff: 1x g=8 224x224 on rasp4: 2.40x the instructions per MAC of 1x g=3 224x224." in said
    assert "Cliff: 1x g=1 224x224 on rasp4: lost." in said
    slow = sentences(report(_row(Shape(2), 0.25, time=1.4)))[-1]
    assert slow == "1x g=2 224x224 on rasp4 takes 1.40x the time per MAC, with 1.00x the instructions: time decides."


def test_json_and_markdown() -> None:
    both = report(_row(Shape(8), 0.3))
    data = json.loads(both.to_json())
    assert data["rows"][1]["per_mac_over_base"] == 1.2
    assert both.to_json() == both.to_json()
    lines = [line for line in markdown(both).splitlines() if line.startswith("|")]
    assert len(lines) == 4 and {line.count("|") for line in lines} == {4}


def test_shapes_and_models_share_their_measurements(monkeypatch) -> None:
    """Each network is measured as the published one that it is; the table is by board, then by shape."""
    made = []

    def measure(networks, targets, progress, fresh):
        made.extend(networks)
        costs = [
            NetworkCost(arch, target.name, target.core, int(arch.groups * 1e7), 5.0)
            for arch in networks
            for target in targets
        ]
        return NetworkCosts(tuple(costs))

    monkeypatch.setattr(bench_shapes, "measure_costs", measure)
    boards = [load_target("rasp5"), load_target("rasp4")]
    found = bench_shapes.run_shapes(boards, [1], lambda *_: None)
    assert made == [Architecture(3), Architecture(1)]
    assert [(row.target, row.groups, row.instructions) for row in found.rows] == [
        ("rasp5", 3, 30_000_000),
        ("rasp5", 1, 10_000_000),
        ("rasp4", 3, 30_000_000),
        ("rasp4", 1, 10_000_000),
    ]
    assert found.rows[0].macs == 137_460_672
