"""The arena's map for the terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_example import example_report

from shufflec.reports.schema import ArenaTensor
from shufflec.reports.terminal_memory import ROWS, letters, memory_map

REPORT = replace(
    example_report(),
    peak_activation_bytes=1600,
    memory=(
        ArenaTensor("small", 1500, 100, 0, 0),
        ArenaTensor("large", 0, 800, 1, 2),
        ArenaTensor("x", 800, 400, 2, 3),
    ),
)


def test_each_tensor_fills_its_bytes_and_its_layers():
    lines = memory_map(REPORT, 80)
    assert len(lines) == ROWS
    assert lines[0] == "c···"
    assert lines[1:4] == ["····"] * 3
    assert lines[4:8] == ["··bb"] * 4
    assert lines[8:] == ["·aa·"] * 8


@pytest.mark.parametrize(("columns", "width"), [(4, 4), (3, 2), (2, 2), (1, 1)])
def test_a_long_network_is_drawn_with_every_nth_layer(columns, width):
    assert {len(line) for line in memory_map(REPORT, columns)} == {width}


def test_only_the_largest_tensors_have_letters():
    tensors = tuple(ArenaTensor(f"t{n}", n, 100 + n, 0, 0) for n in range(20))
    marks = letters(replace(REPORT, memory=tensors))
    assert marks[19] == "a"
    assert sorted(marks.values()).count("#") == 8
