"""tuning.html: what a tuning run gained, layer by layer, and how it got there. One page without a script."""

from __future__ import annotations

from shufflec.reports.markup import Markup, element, join, svg
from shufflec.reports.page import card, page
from shufflec.reports.page_style import colour
from shufflec.reports.wording import category, percent
from shufflec.tuning.outcome import Outcome, TunedTask

WIDTH = 1000
_ROW = 24
_NAME_WIDTH = 250
_VALUE_WIDTH = 210


def render(outcome: Outcome) -> str:
    """The whole page as text. Equal outcomes give equal pages; every string is escaped."""
    title = f"Tuning {outcome.name} for {outcome.title}"
    body = element(
        "main",
        element("header", element("h1", title), element("p", f"{outcome.target} ", _badge(outcome), class_="soft")),
        _figures(outcome),
        card("Time per workload", _legend(outcome), _gain_chart(outcome), _table(outcome), badge=_badge(outcome)),
        card(
            "How it got there",
            element(
                "p",
                "Time of all tuned layers of one inference with the best tilings known after so many measurements. "
                "The first point is every workload's default tiling.",
                class_="soft",
            ),
            _curve(outcome),
            badge=_badge(outcome),
        ),
        _problems(outcome),
        _method(outcome),
        element("footer", "Written by shufflec tune."),
    )
    return page(title, body)


def _badge(outcome: Outcome) -> Markup:
    return element("span", outcome.kind, class_=f"badge {'good' if outcome.kind == 'measured' else 'note'}")


def _figure(name: str, value: str, *notes: str) -> Markup:
    spans = [element("span", note) for note in notes if note]
    return element("div", element("span", name, class_="name"), element("b", value), *spans, class_="figure")


def _figures(outcome: Outcome) -> Markup:
    saved = 1 - outcome.best / outcome.default if outcome.default else 0.0
    better = sum(one.gain > 0 for one in outcome.tasks)
    cards = [
        _figure(
            "Tuned layers", _milliseconds(outcome.best), f"default {_milliseconds(outcome.default)}",
            f"{percent(saved)} saved",
        ),
        _figure("Workloads", str(len(outcome.tasks)), f"{better} faster than their default"),
        _figure("Measurements", f"{outcome.trials:,}", f"{len(outcome.problems)} failed or wrong, none recorded"),
    ]  # fmt: skip
    if outcome.before_ms is not None and outcome.after_ms is not None:
        network = _figure(
            "Whole network", f"{outcome.after_ms:.3f} ms", f"default {outcome.before_ms:.3f} ms",
            "output equal to the reference, bit for bit",
        )  # fmt: skip
        cards.insert(0, network)
    return element("div", *cards, class_="figures")


def _milliseconds(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e6:.3f} ms"


def _ordered(outcome: Outcome) -> list[TunedTask]:
    """The costliest workload first."""
    return sorted((one for one in outcome.tasks if one.default), key=lambda one: (-one.weight * one.default, one.key))


def _legend(outcome: Outcome) -> Markup:
    names = dict.fromkeys(category(one.kind) for one in _ordered(outcome))
    items = [element("span", element("i", class_=colour(name)), name) for name in names]
    return element("div", *items, element("span", "outlined: the default tiling"), class_="legend")


def _gain_chart(outcome: Outcome) -> Markup:
    """A bar a workload: its time in one inference with the best tiling, inside the outline of the default's."""
    tasks = _ordered(outcome)
    widest = max((one.weight * one.default for one in tasks), default=1)
    room = WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    rows = []
    for number, one in enumerate(tasks):
        y = number * _ROW
        before, after = (room * one.weight * value / widest for value in (one.default, one.best))
        name = one.layer + (f" and {one.weight - 1} more" if one.weight > 1 else "")
        value = f"{one.weight * one.best / 1e3:,.1f} µs · {percent(one.gain)} saved"
        tip = f"{name}\n{one.key}\ndefault {_tiling(one.default_tiling)}\nbest {_tiling(one.tiling)}"
        style = f"{colour(category(one.kind))}"
        rows.append(
            element(
                "g",
                element("title", tip),
                _rect(0, y, WIDTH, _ROW, "hit"),
                _text(_NAME_WIDTH - 10, y + 16, name if len(name) <= 36 else name[:35] + "…", "end"),
                _rect(_NAME_WIDTH, y + 4, max(after, 1.0), _ROW - 8, style),
                element(
                    "rect", x=float(_NAME_WIDTH), y=y + 4.0, width=max(before, 1.0), height=_ROW - 8.0, rx=2,
                    class_="frame",
                ),
                _text(_NAME_WIDTH + before + 8, y + 16, value, "" if one.gain > 0 else "soft"),
                class_="row",
            )
        )  # fmt: skip
    return svg(WIDTH, max(len(tasks) * _ROW, 1), "time of each workload, before and after", *rows)


def _tiling(tiling: dict[str, int]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in tiling.items()) or "-"


def _table(outcome: Outcome) -> Markup:
    heads = ["layer", "kernel", "default tiling", "best tiling", "runs", "default", "best", "saved", "measured"]

    def row(cells: list[str], name: str = "td") -> Markup:
        return element("tr", *[element(name, cell, class_="n" if i > 3 else None) for i, cell in enumerate(cells)])

    rows = [
        row(
            [
                one.layer, one.kernel, _tiling(one.default_tiling), _tiling(one.tiling), str(one.weight),
                f"{one.default / 1e3:,.1f} µs", f"{one.best / 1e3:,.1f} µs", percent(one.gain),
                f"{one.trials} of {one.tilings}",
            ]
        )
        for one in _ordered(outcome)
    ]  # fmt: skip
    table = element("table", element("thead", row(heads, "th")), element("tbody", *rows))
    return element("details", element("summary", "The same as a table"), element("div", table, class_="scroll"))


def _curve(outcome: Outcome) -> Markup:
    """The best known time over the number of measurements, as steps."""
    left, right, top, height = 90, 20, 12, 260
    points = list(outcome.curve)
    if not points:
        return element("p", "The run ended before every default tiling was measured.", class_="soft")
    last, low, high = points[-1][0], min(y for _, y in points), max(y for _, y in points)
    margin = max((high - low) * 0.1, high * 0.002)
    low, high = low - margin, high + margin

    def x_of(trials: int) -> float:
        return left + (WIDTH - left - right) * trials / max(last, 1)

    def y_of(nanoseconds: float) -> float:
        return top + height * (high - nanoseconds) / (high - low)

    parts = []
    for quarter in range(5):
        value = low + (high - low) * quarter / 4
        parts += [
            element("line", x1=float(left), y1=y_of(value), x2=float(WIDTH - right), y2=y_of(value), class_="grid"),
            _text(left - 8, y_of(value) + 4, f"{value / 1e6:.3f} ms", "end soft"),
        ]
    for quarter in range(5):
        trials = round(last * quarter / 4)
        parts.append(_text(x_of(trials), top + height + 20, f"{trials:,}", "mid soft"))
    path = f"M{x_of(points[0][0]):.1f} {y_of(points[0][1]):.1f}"
    path += "".join(f"H{x_of(x):.1f}V{y_of(y):.1f}" for x, y in points[1:])
    parts.append(element("path", d=path, class_=f"wire {colour('convolution')}", style="stroke-width:2.5;opacity:1"))
    parts.append(_text(WIDTH - right, top + height + 40, "measurements", "end soft"))
    return svg(WIDTH, top + height + 46, "best time over measurements", *parts)


def _problems(outcome: Outcome) -> Markup | None:
    if not outcome.problems:
        return None
    items = [element("li", problem) for problem in outcome.problems[:200]]
    badge = element("span", f"{outcome.wrong} wrong", class_="badge bad") if outcome.wrong else None
    return card("Candidates that failed", element("ul", *items, class_="small"), badge=badge)


def _method(outcome: Outcome) -> Markup:
    if outcome.kind == "estimated":
        how = (
            "estimated by the virtual board: each candidate alone, after as many other bytes were read as the rest of "
            "the network has and its input was written, as in the second of two inferences"
        )
    else:
        how = "measured by the board's own clock: the median of five figures of many runs each, with warm caches"
    items = [
        ("time", how),
        ("check", "every candidate equals the integer reference bit for bit, or it is not recorded"),
        ("search", "MetaSchedule's evolutionary search over each kernel's own tilings, with a learned cost model"),
        ("records", outcome.records),
    ]
    return card("How this was made", element("dl", *[join((element("dt", a), element("dd", b))) for a, b in items]))


def _text(x: float, y: float, value: object, style: str = "") -> Markup:
    return element("text", value, x=float(x), y=float(y), class_=style or None)


def _rect(x: float, y: float, width: float, height: float, style: str) -> Markup:
    return element("rect", x=float(x), y=float(y), width=float(width), height=float(height), rx=2, class_=style)
