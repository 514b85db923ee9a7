"""A comparison as one self-contained page."""

from __future__ import annotations

from shufflec.profiling.compare import Comparison, Row
from shufflec.reports import wording
from shufflec.reports.compare_words import change_words, row_verdict, sentence, side_line
from shufflec.reports.markup import Markup, element, svg
from shufflec.reports.page import card, page
from shufflec.reports.page_style import colour

WIDTH = 1000
_NAME_WIDTH, _VALUE_WIDTH, _BAR, _GAP = 250, 110, 12, 8
_BADGES = {"faster": "good", "slower": "bad"}
# One colour a side, from those that the style sheet has for categories.
_COLOURS = [*wording.CATEGORIES, wording.OTHER]


def render(comparison: Comparison) -> str:
    """The whole page as text. Equal comparisons give equal pages; every string is escaped."""
    title = "shufflec compare: " + ", ".join(f"{side.letter} {side.label}" for side in comparison.sides)
    body = element(
        "main",
        element("header", element("h1", "Compared"), *[element("p", _key(i), side_line(side), class_="soft")
                                                        for i, side in enumerate(comparison.sides)]),
        _verdicts(comparison),
        card("Layer by layer", bars(comparison)),
        card("The same as a table", element("div", _table(comparison), class_="scroll")),
        element("footer", "Written by shufflec. Ranges hold in 9 of 10 cases; see targets for where they come from."),
    )  # fmt: skip
    return page(title, body)


def _key(index: int) -> Markup:
    letter = chr(ord("A") + index)
    return element("span", element("b", letter), " ", class_=f"badge {_style(index)}")


def _style(index: int) -> str:
    return colour(_COLOURS[index])


def _verdicts(comparison: Comparison) -> Markup:
    lines = []
    for i, (change, basis) in enumerate(zip(comparison.changes, comparison.basis, strict=True)):
        badge = element("span", change.verdict, class_=f"badge {_BADGES.get(change.verdict, 'note')}")
        words = [element("b", sentence(comparison, i)), " ", element("span", basis, class_="soft")]
        lines.append(element("li", badge, " ", *words))
    lines += [element("li", element("span", "note", class_="badge note"), " ", note) for note in comparison.notes]
    return element("ul", *lines, class_="verdicts")


def bars(comparison: Comparison) -> Markup:
    """A group of bars for each layer, one a side: time, or instructions where a side has no times."""
    timed = all(side.kind != "counted" for side in comparison.sides)
    weights = [_weights(comparison, row, timed) for row in comparison.rows]
    widest = max((weight for row in weights for weight in row if weight), default=0.0) or 1.0
    room = WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    parts, y = [], 0.0
    for row, values in zip(comparison.rows, weights, strict=True):
        middle = y + len(values) * _BAR / 2 + 4
        parts.append(element("text", row.name[:40], x=float(_NAME_WIDTH - 10), y=middle, class_="end"))
        for i, value in enumerate(values):
            length = room * (value or 0.0) / widest
            shown = "-" if value is None else wording.milliseconds(value) if timed else wording.short_count(value)
            parts.append(
                element("rect", x=float(_NAME_WIDTH), y=y, width=length, height=float(_BAR - 2), rx=2, class_=_style(i))
            )
            parts.append(
                element("text", shown, x=_NAME_WIDTH + length + 8, y=y + _BAR - 2, class_="soft")
            )  # fmt: skip
            y += _BAR
        y += _GAP
    return svg(WIDTH, max(y, 1), "time of each layer" if timed else "instructions of each layer", *parts)


def _weights(comparison: Comparison, row: Row, timed: bool) -> list[float | None]:
    return [
        None if index is None else side.milliseconds(index) if timed else float(side.instructions(index) or 0)
        for side, index in zip(comparison.sides, row.indices, strict=True)
    ]


def _table(comparison: Comparison) -> Markup:
    heads = ["layer", "kind"]
    for side in comparison.sides:
        heads += [f"{side.letter} instructions", f"{side.letter} {side.kind}"]
    for side in comparison.sides[1:]:
        heads += [f"{side.letter} to A", ""]
    rows = [element("tr", *[element("td", cell) for cell in _cells(comparison, row)]) for row in comparison.rows]
    total = ["whole network", ""]
    for side in comparison.sides:
        time = "-" if side.kind == "counted" else wording.milliseconds(side.milliseconds())
        total += [wording.count(side.instructions()), time]
    for change in comparison.changes:
        total += [change_words(change), change.verdict]
    return element(
        "table",
        element("thead", element("tr", *[element("th", head) for head in heads])),
        element("tbody", *rows),
        element("tfoot", element("tr", *[element("td", cell) for cell in total])),
    )


def _cells(comparison: Comparison, row: Row) -> list[str]:
    cells = [row.name, row.kind]
    for side, index in zip(comparison.sides, row.indices, strict=True):
        known = index is not None
        timed = known and side.kind != "counted"
        cells.append(wording.count(side.instructions(index)) if known else "-")
        cells.append(wording.milliseconds(side.milliseconds(index)) if timed else "-")
    for i, change in enumerate(row.changes):
        cells += [change_words(change), row_verdict(comparison, row, i)]
    return cells
