"""The roofline as SVG: how fast each layer multiplies over how much it moves, under the board's ceilings, log-log.

A layer is a dot at its multiply-accumulates a byte that was moved into the first cache, under the L2 ceiling; where it
also moved lines between the last cache and DRAM, a ring at the same height stands at that intensity, under the DRAM
ceiling, with a thin line between the two. A layer that moved nothing stands at the right edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, hypot, log10, sqrt

from shufflec.reports import cost_words, wording
from shufflec.reports.markup import Markup, element, join, svg
from shufflec.reports.page_style import colour
from shufflec.reports.schema import Layer, Report, Roofline

WIDTH, HEIGHT = 1000, 470
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 210, 22, 50  # the labels of the costliest layers stand on the right
_RADIUS, _LEAST_RADIUS, _LARGE_SHARE = 13.0, 3.0, 0.1  # a layer of that share is as large as a dot gets
_CHARACTER, _PLACES, _FAR_ENOUGH = 7.0, 25, 12.0  # of the words along a ceiling
_LABEL_HEIGHT = 34
_FEW_DECADES = 2.6
_ROOM = 1.25  # times the largest and the smallest value that is drawn
_LABEL_X = WIDTH - _RIGHT + 22


@dataclass(frozen=True)
class _Scale:
    """A logarithmic axis: values low to high over pixels first to last."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        part = log10(value / self.low) / log10(self.high / self.low)
        return self.first + min(max(part, 0.0), 1.0) * (self.last - self.first)

    @property
    def ticks(self) -> list[float]:
        """1, 2, 5, 10 ...; over many decades the powers of ten alone."""
        steps = (1.0, 2.0, 5.0) if log10(self.high / self.low) < _FEW_DECADES else (1.0,)
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        values = [float(f"{step}e{power}") for power in powers for step in steps]
        return [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]


@dataclass(frozen=True)
class _Rising:
    """A line on the drawing, from its lower left end to its upper right one."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def length(self) -> float:
        return hypot(self.x2 - self.x1, self.y2 - self.y1)

    def point(self, along: float, aside: float) -> tuple[float, float]:
        """A point at a part of the line's length, so many pixels to the right below it."""
        across, up = (self.x2 - self.x1) / self.length, (self.y2 - self.y1) / self.length
        x, y = self.x1 + along * (self.x2 - self.x1), self.y1 + along * (self.y2 - self.y1)
        return x - up * aside, y + across * aside


#: A circle: x, y, radius.
_Mark = tuple[float, float, float]


def roofline_chart(report: Report) -> Markup | None:
    """None where no layer can be drawn: no ceilings, or a real board, which does not count what moved."""
    roof = report.roofline
    drawn = [layer for layer in report.layers if layer.macs_per_second and layer.roofline]
    if roof is None or not drawn or report.cost is None or report.cost.kind != "estimated":
        return None
    x, y = _scales(roof, drawn)
    costliest = [report.layers[one.layer] for one in report.cost.costliest]
    # Large dots first, so that small ones stay visible on top of them.
    dots = [_dot(layer, x, y) for layer in sorted(drawn, key=lambda layer: -(layer.share or 0.0))]
    labels = _labels([layer for layer in costliest if layer in drawn], x, y)
    marks = [mark for layer in drawn for mark in _marks(layer, x, y)]
    return svg(WIDTH, HEIGHT, "roofline of the layers", _axes(x, y), _ceilings(roof, x, y, marks), *dots, labels)


def _scales(roof: Roofline, drawn: list[Layer]) -> tuple[_Scale, _Scale]:
    intensities = [
        value
        for layer in drawn
        for value in (layer.roofline.l2_intensity, layer.roofline.dram_intensity)
        if layer.roofline and value
    ]
    peak = roof.compute.per_second
    ridges = [peak / ceiling.per_second for ceiling in (roof.l2, roof.dram) if ceiling]
    low, high = _range([*intensities, *ridges])
    rates = [layer.macs_per_second for layer in drawn if layer.macs_per_second]
    bottom, top = _range([*rates, peak])
    return _Scale(low, high, _LEFT, WIDTH - _RIGHT), _Scale(bottom, top, HEIGHT - _BOTTOM, _TOP)


def _range(values: list[float]) -> tuple[float, float]:
    """From 1, 2 or 5 times a power of ten to another: room around all values, and at least a decade."""
    low, high = min(values, default=1.0) / _ROOM, max(values, default=1.0) * _ROOM
    low = max(step for step in _steps(low) if step <= low)
    return low, min(step for step in _steps(max(high, 10 * low)) if step >= max(high, 10 * low) * 0.999)


def _steps(around: float) -> list[float]:
    power = floor(log10(around))
    return [float(f"{step}e{at}") for at in (power - 1, power, power + 1) for step in (1, 2, 5)]


def _axes(x: _Scale, y: _Scale) -> Markup:
    parts = []
    for value in x.ticks:
        parts.append(_line(x(value), _TOP, x(value), HEIGHT - _BOTTOM, "grid"))
        parts.append(_text(x(value), HEIGHT - _BOTTOM + 18, f"{value:g}", "mid soft"))
    for value in y.ticks:
        parts.append(_line(_LEFT, y(value), WIDTH - _RIGHT, y(value), "grid"))
        parts.append(
            _text(_LEFT - 8, y(value) + 4, cost_words.rate(value).replace(".00 ", " ").replace(".0 ", " "), "end soft")
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 8, "multiply-accumulates a byte moved", "mid soft"))
    return join(parts)


def _ceilings(roof: Roofline, x: _Scale, y: _Scale, marks: list[_Mark]) -> Markup:
    peak, low, high = roof.compute.per_second, x.low, x.high
    parts = []
    for name, ceiling in (("L2", roof.l2), ("DRAM", roof.dram)):
        if ceiling is None:
            continue
        # From where it crosses the lower edge (or the left one) up to the compute ceiling.
        start = max(low, y.low / ceiling.per_second)
        ridge = min(peak / ceiling.per_second, high)
        line = _Rising(x(start), y(start * ceiling.per_second), x(ridge), y(ridge * ceiling.per_second))
        parts.append(_line(line.x1, line.y1, line.x2, line.y2, "roof dram" if name == "DRAM" else "roof"))
        parts.append(_along(line, f"{name} {cost_words.bandwidth(ceiling.per_second)}", name == "DRAM", marks))
    first = min((peak / ceiling.per_second for ceiling in (roof.l2, roof.dram) if ceiling), default=low)
    parts.append(_line(x(max(first, low)), y(peak), x(high), y(peak), "roof"))
    parts.append(_text(x(high), y(peak) - 7, f"compute {cost_words.rate(peak)}", "end strong"))
    return join(parts)


def _along(line: _Rising, words: str, below: bool, marks: list[_Mark]) -> Markup | None:
    """Words along a rising line, below it or above, where they are farthest from all marks; none where the line is too
    short for them."""
    needed = _CHARACTER * len(words)
    if line.length < needed:
        return None
    aside = 12.0 if below else -11.0  # of the middle of the words
    half = 0.5 * needed / line.length
    middles = [half + i / (_PLACES - 1) * (1 - 2 * half) for i in range(_PLACES)]

    def room(middle: float) -> float:
        spots = [line.point(middle + part * half, aside) for part in (-1.0, -0.5, 0.0, 0.5, 1.0)]
        return min((hypot(x - at_x, y - at_y) - radius for x, y in spots for at_x, at_y, radius in marks), default=0.0)

    # In the middle where all places are far enough off.
    middle = max(middles, key=lambda at: (min(room(at), _FAR_ENOUGH), -abs(at - 0.5)))
    across, up = (line.x2 - line.x1) / line.length, (line.y2 - line.y1) / line.length
    x, y = line.point(middle, aside + 4)  # the words stand on their base line
    turn = f"matrix({across:.4f} {up:.4f} {-up:.4f} {across:.4f} {x:.1f} {y:.1f})"
    return element("text", words, x=0, y=0, class_="mid strong", transform=turn)


def _marks(layer: Layer, x: _Scale, y: _Scale) -> list[_Mark]:
    """A layer's dot, and its ring where it moved lines to or from DRAM."""
    roof = layer.roofline
    assert roof is not None and layer.macs_per_second is not None  # roofline_chart() chose such layers
    radius = min(max(_LEAST_RADIUS, _RADIUS * sqrt((layer.share or 0.0) / _LARGE_SHARE)), _RADIUS)
    height = y(layer.macs_per_second)
    dot = (x(roof.l2_intensity) if roof.l2_intensity else x.last, height, radius)
    return [dot, (x(roof.dram_intensity), height, radius)] if roof.dram_intensity else [dot]


def _dot(layer: Layer, x: _Scale, y: _Scale) -> Markup:
    style = colour(wording.category(layer.kind))
    (at, height, radius), *rings = _marks(layer, x, y)
    parts = [element("title", _tip(layer))]
    for ring, _, _ in rings:
        parts.append(_line(at, height, ring, height, "link"))
        parts.append(element("circle", cx=ring, cy=height, r=radius, class_=f"ring {style}"))
    parts.append(element("circle", cx=at, cy=height, r=radius, class_=f"dot {style}"))
    return element("g", *parts)


def _tip(layer: Layer) -> str:
    roof = layer.roofline
    assert roof is not None
    words = [f"{layer.name}\n{layer.kind}, {wording.shape(layer.shape)}, {layer.macs:,} MACs"]
    words.append(f"{cost_words.rate(layer.macs_per_second)}, {wording.milliseconds(layer.milliseconds)}")
    for name, value in (("L1 and L2", roof.l2_intensity), ("cache and DRAM", roof.dram_intensity)):
        words.append(f"{value:.3g} MACs a byte between {name}" if value else f"nothing moved between {name}")
    words.append(f"bound: {cost_words.bound(roof)}")
    return "\n".join(words)


def _labels(layers: list[Layer], x: _Scale, y: _Scale) -> Markup:
    """Names of the costliest layers in a column on the right, from top to bottom as their dots lie."""
    ordered = sorted(layers, key=lambda layer: -(layer.macs_per_second or 0.0))
    parts, free = [], float(_TOP + 14)
    for i, layer in enumerate(ordered):
        dot_x, dot_y, _ = _marks(layer, x, y)[0]
        lowest = HEIGHT - _BOTTOM - _LABEL_HEIGHT * (len(ordered) - 1 - i)
        at = min(max(free, dot_y), lowest)
        free = at + _LABEL_HEIGHT
        parts.append(_line(dot_x, dot_y, _LABEL_X - 6, at - 4, "leader"))
        parts.append(_text(_LABEL_X, at, wording.fitted(layer.name, 26), "strong"))
        parts.append(
            _text(_LABEL_X, at + 14, f"{wording.percent(layer.share)}, {cost_words.bound(layer.roofline)}", "soft")
        )
    return join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=style)


def _text(x: float, y: float, words: object, style: str) -> Markup:
    return element("text", words, x=float(x), y=float(y), class_=style)
