from __future__ import annotations

import io
from dataclasses import replace

import pytest
from report_example import counted_report, example_report, measured_report
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

cost       1.01 k instructions, estimated 1.01 ms (+-10 %, Raspberry Pi 4 @ 1.8 GHz, 1 thread)
           compute 707 µs, load misses 101 µs (8.08 k), store misses 152 µs (2.02 k), DRAM 50.5 µs (1.01 k lines)
           a millisecond a thousand instructions
           the layers' milliseconds add up to 0.99 % below the whole network's
floor      the estimate is 3.37x the floor of 300 µs, the best possible on this board \
(multiplies 280 µs, 100 B from DRAM 100 µs)
roofline   32.2 MMAC/s of 108 MMAC/s (30 %); 55.9 cycles a MAC; layers bound 3 by compute, 1 by DRAM
costliest  stage2.1.conv1, 60.0 %: dispatch 50 %, latency 20 %, store misses 15 %, load misses 10 %
           stage2.1.conv2, 25.0 %: dispatch 50 %, latency 20 %, store misses 15 %, load misses 10 %
           quantize, 10.0 %: dispatch 50 %, latency 20 %, store misses 15 %, load misses 10 %
classes    widening multiply 610, load 400
outputs    logits, bit for bit, equal to the integer reference for 4 inputs (digits)
shuffle    1 channel shuffle found, 1 folded into convolutions, no copy left
memory     code 2.00 KiB, weights 999 B, activations 3.00 KiB (lower bound 3.00 KiB), \
stack 288 bytes at worst by the code, 352 seen with the test program's
accuracy   top-1 98.61 % float, 98.33 % int8 on digits
"""


DETAIL = """\
layer           estimated     best   MAC/s  cycles/MAC         bound  load misses  store misses  DRAM lines
quantize           100 µs  20.0 µs       0           -     DRAM 20 %          800           200         100
stage2.1.conv1     600 µs   150 µs  30.7 M        58.6  compute 25 %        4,800         1,200         600
stage2.1.conv2     250 µs   100 µs  55.3 M        32.6  compute 40 %        2,000           500         250
classifier        50.0 µs  30.0 µs  4.80 M         375  compute 60 %          400           100          50
whole network     1.01 ms   300 µs  32.2 M        55.9                      8,080         2,020       1,010

layer           dispatch  latency  load misses  store misses  DRAM
quantize            50 %     20 %         10 %          15 %   5 %
stage2.1.conv1      50 %     20 %         10 %          15 %   5 %
stage2.1.conv2      50 %     20 %         10 %          15 %   5 %
classifier          50 %     20 %         10 %          15 %   5 %
all layers          50 %     20 %         10 %          15 %   5 %

dispatch      the core issued as many instructions as it can in a cycle: it waited for nothing
latency       a result was not there yet
load misses   loads that missed the first data cache
store misses  stores that missed the first data cache
DRAM          lines that moved between the last cache and DRAM

arena  layers, left to right
3,072  ·aa·
       ·aa·
       ·aa·
       ·aa·
2,304  ·aa·
       ·aa·
       ·aa·
       ·aa·
1,536  ··bb
       ··bb
       ··bb
       ··bb
  768  ··bb
       ··bb
       ··bb
       ccbb
    a  y, 1,536 bytes at 1,536, stage2.1.conv1 to stage2.1.conv2
    b  z, 1,536 bytes at 0, stage2.1.conv2 to classifier
    c  x, 192 bytes at 0, quantize to stage2.1.conv1
"""


def printed(report, width: int | None = None, detail: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=width is not None, color_system=None)
    print_report(console, report, detail)
    return "".join(line.rstrip() + "\n" for line in file.getvalue().splitlines())


def test_snapshot_of_piped_output():
    assert printed(example_report()) == SNAPSHOT


def test_snapshot_of_the_detail():
    text = printed(example_report(), detail=True)
    before, after = SNAPSHOT.split("\ncost ")
    assert text == f"{before}\n{DETAIL}\ncost {after}"


@pytest.mark.parametrize(
    ("width", "gone"), [(100, "DRAM lines"), (86, "store misses"), (74, "load misses"), (62, "best")]
)
def test_a_narrow_terminal_loses_columns_of_the_detail(width, gone):
    text = printed(example_report(), width, detail=True)
    assert all(len(line) <= width for line in text.splitlines())
    first = next(line for line in text.splitlines() if "cycles/MAC" in line)
    assert gone not in first and "bound" in first
    assert "…" not in text


def test_waits_that_no_layer_has_are_no_columns():
    report = example_report()
    parts = report.layers[1].estimate
    waits = replace(parts.waits, simd_port_ms=parts.waits.latency_ms, latency_ms=0.0)
    layers = (report.layers[0], replace(report.layers[1], estimate=replace(parts, waits=waits)), *report.layers[2:])
    text = printed(replace(report, layers=layers), detail=True)
    assert "layer           dispatch  latency  SIMD port  load misses  store misses  DRAM\n" in text
    assert "stage2.1.conv1      50 %                20 %         10 %          15 %   5 %\n" in text


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


def test_a_real_board_has_a_time_a_floor_and_no_waits():
    text = printed(measured_report(), detail=True)
    assert "1.01 k instructions" not in text
    assert "1.01 ms measured" in text and "+-" not in text
    assert "the layers' milliseconds add up" in text
    assert "floor      the measured time is 3.37x the floor of 300 µs" in text
    assert "a real board counts no misses, so what bounds its layers is not known" in text
    assert "costliest  stage2.1.conv1, 60.0 %\n" in text
    assert "layer           measured     best   MAC/s  cycles/MAC\n" in text
    assert "dispatch" not in text and "load misses" not in text


def test_a_board_without_a_time_model_shows_instructions_only_and_says_so():
    text = printed(counted_report(), detail=True)
    assert "1.01 k instructions (1 thread), no time: rasp4 has no time model" in text
    assert "the layers' instructions add up" in text
    for word in ("estimated", "measured", "simulated", "+-", " ms", "µs", "floor", "roofline", "MAC/s"):
        assert word not in text, word
    assert "costliest  stage2.1.conv1, 60.0 %\n" in text


def test_another_board_than_the_codes_is_said():
    report = example_report()
    board = replace(report.cost.board, name="mine", title="My board", clock_hz=1_000_000_000)
    text = printed(replace(report, cost=replace(report.cost, board=board)))
    assert "estimated 1.01 ms (+-10 %, My board @ 1 GHz, 1 thread)" in text
    assert "the code is for Raspberry Pi 4 @ 1.8 GHz (rasp4), the server is My board @ 1 GHz (mine)" in text


def test_a_network_that_stays_in_the_caches_says_so():
    report = example_report()
    roof = replace(report.roofline, dram_bytes=0, dram_ms=0.0, dram=None)
    assert "(multiplies 280 µs, nothing must come from DRAM)" in printed(replace(report, roofline=roof))


def test_several_threads_and_an_unknown_range_are_said():
    report = example_report()
    text = printed(replace(report, cost=replace(report.cost, threads=4, uncertainty_percent=None)))
    assert "estimated 1.01 ms (uncertainty unknown, Raspberry Pi 4 @ 1.8 GHz, 4 threads)" in text


def test_a_report_before_profiling_has_no_cost():
    report = replace(example_report(), cost=None, verification=None, roofline=None)
    text = printed(report, detail=True)
    assert "share" not in text
    assert "outputs not checked on a device yet" in text
