"""An ablation as SVG: the error of every network with its interval, and what the shuffle changes, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shufflec.reports.ablation import AblationReport
from shufflec.reports.ablation_statistics import Mean
from shufflec.reports.markup import Markup, element, join, svg
from shufflec.reports.page_style import colour

WIDTH = 1000
_LEFT, _RIGHT, _TOP, _HEIGHT, _BOTTOM = 70, 20, 14, 300, 44
# Where the two networks of a group count stand beside its middle; seeds stand left of their mean, its figure right.
_WITH_AT, _WITHOUT_AT = -50.0, 38.0
_SEEDS_AT, _JITTER, _CAP = -23.0, 12.0, 8.0
_TICKS = 6
WITH, WITHOUT = colour("convolution"), colour("depthwise")

# Beside the reports' style sheet.
STYLE = (
    ".seed{opacity:.38}.whisker{stroke-width:2}"
    + "".join(f"svg .whisker.{style}{{stroke:var(--{style})}}" for style in (WITH, WITHOUT))
    + ".zero{stroke:var(--soft);stroke-dasharray:6 4}"
)


@dataclass(frozen=True)
class _Column:
    """What stands above one place of the horizontal axis: values of single seeds, their mean, a colour, a tip."""

    place: float
    values: Sequence[float]
    mean: Mean
    style: str
    tip: str


@dataclass(frozen=True)
class _Axis:
    """Per cent from low to high over the drawing's height, a line at every multiple of step."""

    low: float
    high: float
    step: float

    def __call__(self, value: float) -> float:
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _TOP + _HEIGHT * (1 - part)

    def grid(self, unit: str) -> Markup:
        places = max(0, -math.floor(math.log10(self.step)))
        parts = []
        for index in range(round((self.high - self.low) / self.step) + 1):
            value = self.low + index * self.step
            y = self(value)
            parts += [
                element("line", x1=_LEFT, y1=y, x2=WIDTH - _RIGHT, y2=y, class_="grid"),
                element("text", f"{value:.{places}f}{unit}", x=_LEFT - 8, y=y + 4, class_="end soft"),
            ]
        return join(parts)


def legend() -> Markup:
    """The colours of the two kinds of network."""
    items = [
        element("span", element("i", class_=style), name)
        for style, name in ((WITH, "as in the paper, with shuffle (g=1 has none)"), (WITHOUT, "without shuffle"))
    ]
    return element("div", *items, class_="legend")


def error_chart(report: AblationReport) -> Markup:
    """Top-1 error of every network: a dot a seed, the mean and its interval beside them."""
    counts = report.group_counts
    columns = []
    for arm in report.arms:
        pair = sum(other.groups == arm.groups for other in report.arms) == 2
        shift = 0.0 if not pair else _WITH_AT if arm.shuffle else _WITHOUT_AT
        kind = "" if arm.groups == 1 else ", with shuffle" if arm.shuffle else ", without shuffle"
        tip = f"g={arm.groups}{kind}\n{arm.macs:,} MACs, {arm.params:,} parameters"
        style = WITH if arm.shuffle else WITHOUT
        place = _place(counts.index(arm.groups), len(counts)) + shift
        columns.append(_Column(place, report.errors(arm), report.mean(arm), style, tip))
    return _drawing(columns, [f"g={groups}" for groups in counts], "top-1 error by groups", " %", least=0.0)


def shuffle_chart(report: AblationReport) -> Markup:
    """Points of top-1 error less with shuffle: dots and intervals as above, around the line of no difference."""
    comparisons = report.shuffle_comparisons()
    columns = [
        _Column(
            _place(index, len(comparisons)),
            item.differences,
            item.test.mean,
            WITH,
            f"g={item.arm.groups}: {'significant' if item.test.significant else 'no significant difference'}",
        )
        for index, item in enumerate(comparisons)
    ]
    names = [f"g={item.arm.groups}" for item in comparisons]
    return _drawing(columns, names, "points of top-1 error less with shuffle", "", zero=True)


def _place(index: int, count: int) -> float:
    return _LEFT + (index + 0.5) * (WIDTH - _LEFT - _RIGHT) / count


def _drawing(
    columns: Sequence[_Column],
    names: Sequence[str],
    label: str,
    unit: str,
    least: float = -math.inf,
    zero: bool = False,
) -> Markup:
    axis = _axis([value for column in columns for value in _extent(column)] + [0.0] * zero, least)
    marks = [
        element("text", name, x=_place(index, len(names)), y=_TOP + _HEIGHT + 26, class_="mid strong")
        for index, name in enumerate(names)
    ]
    if zero:
        marks.append(element("line", x1=_LEFT, y1=axis(0.0), x2=WIDTH - _RIGHT, y2=axis(0.0), class_="zero"))
    drawn = [_column(column, axis, unit) for column in columns]
    return svg(WIDTH, _TOP + _HEIGHT + _BOTTOM, label, axis.grid(unit), *marks, *drawn)


def _extent(column: _Column) -> list[float]:
    return [*column.values, *(column.mean.interval or ())]


def _axis(values: Sequence[float], least: float) -> _Axis:
    """Round bounds around all values, of which none is shown below `least`."""
    low, high = max(min(values), least), max(values)
    if high - low < 1e-9:
        low, high = max(low - 0.5, least), high + 0.5
    raw = (high - low) / (_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    return _Axis(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)


def _column(column: _Column, axis: _Axis, unit: str) -> Markup:
    """Seeds to the left of the place, mean and interval at it, the mean's figure to the right."""
    x = column.place
    last = max(len(column.values) - 1, 1)
    dots = [
        element(
            "circle", cx=x + _SEEDS_AT + _JITTER * index / last, cy=axis(value), r=3.4, class_=f"seed {column.style}"
        )
        for index, value in enumerate(column.values)
    ]
    mean = column.mean
    said = f"{round(mean.value, 2) + 0.0:.2f}{unit}"  # + 0.0 makes of -0.0 a 0.0
    parts = [element("title", f"{column.tip}\nmean {said}"), *dots]
    if mean.interval is not None:
        low, high = (axis(bound) for bound in mean.interval)
        whisker = f"whisker {column.style}"
        parts.append(element("line", x1=x, y1=low, x2=x, y2=high, class_=whisker))
        parts += [element("line", x1=x - _CAP, y1=y, x2=x + _CAP, y2=y, class_=whisker) for y in (low, high)]
    y = axis(mean.value)
    parts.append(element("circle", cx=x, cy=y, r=5.5, class_=f"dot {column.style}"))
    parts.append(element("text", said, x=x + 13, y=y + 4, class_="strong"))
    return element("g", *parts)
