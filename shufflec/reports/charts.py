"""The report's charts as SVG: cost per layer, what the core waited for, instructions by class, memory over time."""

from __future__ import annotations

from shufflec.reports import cost_words, wording
from shufflec.reports.markup import Markup, element, join, svg
from shufflec.reports.page_style import colour, wait_colour
from shufflec.reports.schema import Layer, Report

WIDTH = 1000
_ROW = 20
_NAME_WIDTH = 250
_VALUE_WIDTH = 150


def _text(x: float, y: float, value: object, style: str = "") -> Markup:
    return element("text", value, x=float(x), y=float(y), class_=style or None)


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=style)


def _rect(x: float, y: float, width: float, height: float, style: str, *children: object) -> Markup:
    size = {"width": float(width), "height": float(height)}
    return element("rect", *children, x=float(x), y=float(y), rx=2, class_=style, **size)


def legend(report: Report) -> Markup:
    """The colours of the categories that occur."""
    items = [element("span", element("i", class_=colour(name)), name) for name in wording.categories_of(report)]
    return element("div", *items, class_="legend")


def layer_chart(report: Report) -> Markup:
    """One horizontal bar a layer, as long as its cost and coloured by category."""
    unit = wording.weight_unit(report)
    weights = [_weight(layer, unit) for layer in report.layers]
    widest = max(weights, default=0.0) or 1.0
    total = sum(weights) or 1.0
    room = WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    rows = []
    for i, (layer, weight) in enumerate(zip(report.layers, weights, strict=True)):
        y = i * _ROW
        value = wording.milliseconds(weight) if unit == "ms" else wording.short_count(weight)
        length = room * weight / widest
        tip = f"{layer.name}\n{layer.kind}, {wording.shape(layer.shape)}, {layer.macs:,} MACs\n{_cost_tip(layer)}"
        rows.append(
            element(
                "g",
                element("title", tip.strip()),
                _rect(0, y, WIDTH, _ROW, "hit"),
                _text(_NAME_WIDTH - 10, y + 14, wording.fitted(layer.name, 36), "end"),
                _rect(
                    _NAME_WIDTH, y + 3, max(length, 1 if weight else 0), _ROW - 6, colour(wording.category(layer.kind))
                ),
                _text(_NAME_WIDTH + length + 8, y + 14, f"{value} · {wording.percent(weight / total)}", "soft"),
                class_="row",
            )
        )
    height = len(report.layers) * _ROW
    axis = _line(_NAME_WIDTH, 0, _NAME_WIDTH, height, "axis")
    return svg(WIDTH, max(height, 1), f"{unit} of each layer", axis, *rows)


def waits_chart(report: Report) -> Markup:
    """One horizontal bar a layer, all of the same length, cut by what the core waited for."""
    room = WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    rows = []
    for i, layer in enumerate(report.layers):
        waits = cost_words.layer_waits(layer)
        total = sum(waits.values()) or 1.0
        y, x = i * _ROW, float(_NAME_WIDTH)
        parts = []
        for name, value in waits.items():
            width = room * value / total
            if width >= 0.5:
                parts.append(_rect(x, y + 3, width, _ROW - 6, wait_colour(name)))
            x += width
        said = ", ".join(
            f"{cost_words.WAITS[name][0]} {wording.percent(value / total)}"
            for name, value in waits.items()
            if value > 0
        )
        parts.append(_text(_NAME_WIDTH + room + 8, y + 14, wording.percent(layer.share), "soft"))
        rows.append(
            element(
                "g",
                element("title", f"{layer.name}\n{said}"),
                _rect(0, y, WIDTH, _ROW, "hit"),
                _text(_NAME_WIDTH - 10, y + 14, wording.fitted(layer.name, 36), "end"),
                *parts,
                class_="row",
            )
        )
    return svg(WIDTH, max(len(report.layers) * _ROW, 1), "what the core waited for in each layer", *rows)


def _weight(layer: Layer, unit: str) -> float:
    value = {"instructions": layer.instructions, "ms": layer.milliseconds, "MACs": layer.macs}[unit]
    return float(value or 0)


def _cost_tip(layer: Layer) -> str:
    parts = []
    if layer.instructions is not None:
        parts.append(f"{layer.instructions:,} instructions")
    if layer.milliseconds is not None:
        parts.append(wording.milliseconds(layer.milliseconds))
    if layer.instructions_by_class:
        parts += [f"\n{name}: {value:,}" for name, value in wording.instruction_classes(layer.instructions_by_class)]
    return ", ".join(parts[:2]) + "".join(parts[2:])


def class_chart(counts: dict[str, int]) -> Markup:
    """Instructions by class, the largest first, as horizontal bars of one colour."""
    ordered = wording.instruction_classes(counts)
    total = sum(counts.values()) or 1
    widest = max(counts.values(), default=0) or 1
    room = WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    rows = []
    for i, (name, value) in enumerate(ordered):
        y = i * (_ROW + 4)
        length = room * value / widest
        rows += [
            _text(_NAME_WIDTH - 10, y + 16, wording.fitted(name, 36), "end"),
            _rect(_NAME_WIDTH, y + 3, max(length, 1 if value else 0), _ROW - 2, colour("convolution")),
            _text(_NAME_WIDTH + length + 8, y + 16, f"{value:,} · {wording.percent(value / total)}", "soft"),
        ]
    return svg(WIDTH, max(len(ordered) * (_ROW + 4), 1), "instructions by class", *rows)


def memory_chart(report: Report) -> Markup:
    """The arena over time: a rectangle a tensor, from the layer that writes it to its last reader."""
    left, right, top, height = 78, 8, 16, 320
    steps = max(len(report.layers), 1)
    peak = max(report.peak_activation_bytes, 1)
    step_width = (WIDTH - left - right) / steps

    def y_of(offset: float) -> float:
        return top + height * (1 - offset / peak)

    parts = []
    for quarter in range(5):
        value = peak * quarter / 4
        parts += [
            _line(left, y_of(value), WIDTH - right, y_of(value), "grid"),
            _text(left - 8, y_of(value) + 4, wording.kibibytes(round(value)), "end soft"),
        ]
    for tensor in report.memory:
        writer = report.layers[tensor.first]
        tip = (
            f"{tensor.name}\n{tensor.bytes:,} bytes at {tensor.offset:,}\n"
            f"from {writer.name} to {report.layers[tensor.last].name}"
        )
        parts.append(
            _rect(
                left + tensor.first * step_width,
                y_of(tensor.offset + tensor.bytes),
                (tensor.last - tensor.first + 1) * step_width,
                height * tensor.bytes / peak,
                f"cell {colour(wording.category(writer.kind))}",
                element("title", tip),
            )
        )
    bound = y_of(min(report.lower_bound_bytes, peak))
    parts += [
        _line(left, bound, WIDTH - right, bound, "peak"),
        _text(WIDTH - right, bound - 5, f"lower bound {wording.kibibytes(report.lower_bound_bytes)}", "end"),
        _stage_marks(report, left, step_width, top + height),
    ]
    return svg(WIDTH, top + height + 26, "activation arena over time", *parts)


def _stage_marks(report: Report, left: float, step_width: float, bottom: float) -> Markup:
    """Names the parts of the network (the text before the first dot of layer names) below the time axis."""
    marks = []
    start = 0
    names = [layer.name.split(".")[0] for layer in report.layers]
    for i in range(1, len(names) + 1):
        if i < len(names) and names[i] == names[start]:
            continue
        width = (i - start) * step_width
        if width >= 7 * len(names[start]) + 6:
            marks.append(_text(left + (start + i) / 2 * step_width, bottom + 18, names[start], "mid soft"))
        marks.append(_line(left + i * step_width, bottom, left + i * step_width, bottom + 5, "axis"))
        start = i
    return join(marks)
