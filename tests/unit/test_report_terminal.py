from __future__ import annotations

import io
from dataclasses import replace

import pytest
from report_example import example_report, simulated_report
from rich.console import Console

from shufflec.reports.terminal import print_report

SNAPSHOT = """\
ShuffleNetV1 0.25x g=8 (paper), 8x8, 10 classes
for rasp4: Raspberry Pi 4, cortex-a72, neon

layer           kind              output    MACs  instructions  estimated   share
quantize        quantize          8x8x3        0           100     100 µs  10.0 %  ██▋
stage2.1.conv1  conv2d            8x8x24  18,432           600     600 µs  60.0 %  ████████████████
stage2.1.conv2  depthwise_conv2d  8x8x24  13,824           250     250 µs  25.0 %  ██████▋
classifier      dense             1x1x10     240            50    50.0 µs   5.0 %  █▍
whole network                             32,496         1,010    1.01 ms

cost      1.01 k instructions, estimated 1.01 ms (+-10 %, Raspberry Pi 4 @ 1.8 GHz, 1 thread)
          compute 707 µs, load misses 101 µs (8.08 k), store misses 152 µs (2.02 k), DRAM 50.5 µs (1.01 k lines)
          a millisecond a thousand instructions
          the layers' milliseconds add up to 0.99 % below the whole network's
classes   widening multiply 610, load 400
outputs   logits, bit for bit, equal to the integer reference for 4 inputs (digits)
shuffle   1 channel shuffle found, 1 folded into convolutions, no copy left
memory    code 2.00 KiB, weights 999 B, activations 3.00 KiB (lower bound 3.00 KiB)
accuracy  top-1 98.61 % float, 98.33 % int8 on digits
"""


def printed(report, width: int | None = None) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=width is not None, color_system=None)
    print_report(console, report)
    return "".join(line.rstrip() + "\n" for line in file.getvalue().splitlines())


def test_snapshot_of_piped_output():
    assert printed(example_report()) == SNAPSHOT


@pytest.mark.parametrize(("width", "gone"), [(90, []), (75, ["MACs"]), (65, ["output"]), (55, ["kind"])])
def test_a_narrow_terminal_loses_columns_but_no_figure(width, gone):
    text = printed(example_report(), width)
    assert all(len(line) <= width for line in text.splitlines())
    header = text.splitlines()[3]
    assert all(name not in header for name in gone)
    assert "instructions" in header and "estimated" in header and "share" in header
    assert "…" not in text


def test_markup_in_names_is_printed_as_it_is():
    report = example_report()
    report = replace(
        report, model="[red]x[/red]", layers=(replace(report.layers[0], name="[bold]"), *report.layers[1:])
    )
    text = printed(report)
    assert "[red]x[/red]" in text
    assert "[bold]" in text


def test_a_device_that_counts_nothing_shows_time_only():
    report = example_report()
    nothing = {"instructions": None, "instructions_by_class": None, "estimate": None}
    cost = replace(report.cost, kind="measured", uncertainty_percent=None, **nothing)
    layers = tuple(replace(layer, **nothing) for layer in report.layers)
    text = printed(replace(report, cost=cost, layers=layers))
    assert "1.01 k instructions" not in text
    assert "1.01 ms measured" in text
    assert "the layers' milliseconds add up" in text


def test_a_board_without_a_time_model_says_simulated():
    text = printed(simulated_report())
    assert "1.01 k instructions, 1.01 ms simulated, 1 thread, on virtual Raspberry Pi 4" in text
    assert "the layers' instructions add up" in text
    assert "estimated" not in text and "+-" not in text


def test_several_threads_and_an_unknown_range_are_said():
    report = example_report()
    text = printed(replace(report, cost=replace(report.cost, threads=4, uncertainty_percent=None)))
    assert "estimated 1.01 ms (uncertainty unknown, Raspberry Pi 4 @ 1.8 GHz, 4 threads)" in text


def test_a_report_before_profiling_has_no_cost():
    report = replace(example_report(), cost=None, verification=None)
    text = printed(report)
    assert "share" not in text
    assert "outputs not checked on a device yet" in text
