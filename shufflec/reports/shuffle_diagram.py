"""The diagram of one unit before and after its channel shuffle was folded away."""

from __future__ import annotations

from shufflec.reports import wording
from shufflec.reports.markup import Markup, element, svg
from shufflec.reports.page_style import colour
from shufflec.reports.schema import ShuffleSite

# Drawn with few channels, so that single ones can be followed by eye.
DRAWN_ROWS = 4
DRAWN_COLUMNS = 3
_CELL_WIDTH, _CELL_HEIGHT = 24, 15
_BOX_WIDTH, _GAP, _CROSSING = 120, 26, 150
_ROW_COLOURS = ("convolution", "depthwise", "pooling", "classifier")


class _Drawing:
    """Draws one chain of operators from left to right, keeping the place of the next one."""

    def __init__(self, rows: int, top: float):
        self.rows, self.top, self.x = rows, top, 0.0
        self.channels = rows * DRAWN_COLUMNS
        self.height = self.channels * _CELL_HEIGHT
        self.owners = [i // DRAWN_COLUMNS for i in range(self.channels)]
        self.targets = [(i % DRAWN_COLUMNS) * rows + i // DRAWN_COLUMNS for i in range(self.channels)]
        self.parts: list[Markup] = []

    def operator(self, *lines: str) -> None:
        """A box as high as the channels, with centred lines, the first one strong."""
        self._box(_BOX_WIDTH, "frame")
        middle = self.top + self.height / 2 + 4 - 9 * (len(lines) - 1)
        for i, line in enumerate(lines):
            style = "mid strong" if i == 0 else "mid soft"
            self._text(self.x + _BOX_WIDTH / 2, middle + 18 * i, line, style)
        self.x += _BOX_WIDTH

    def crossing(self, style: str, note: str, ink: str) -> None:
        """The wires of the shuffle, in a box of the given style unless that is empty, with a note above."""
        if style:
            self._box(_CROSSING, style)
        self._wires(self.x, self.x + _CROSSING, self.targets)
        self._text(self.x + _CROSSING / 2, self.top - 9, note, f"mid strong {ink}")
        self.owners = self._shuffled()
        self.x += _CROSSING

    def straight(self) -> None:
        """Wires from one operator to the next cells."""
        self._wires(self.x, self.x + _GAP, list(range(self.channels)))
        self.x += _GAP

    def tensor(self) -> None:
        """A column of channels in memory order, each coloured by the group that computed it."""
        for i, owner in enumerate(self.owners):
            place = {"x": self.x, "y": self.top + i * _CELL_HEIGHT, "width": _CELL_WIDTH, "height": _CELL_HEIGHT}
            self.parts.append(element("rect", class_=f"cell {colour(_ROW_COLOURS[owner])}", **place))
        self.x += _CELL_WIDTH

    def _shuffled(self) -> list[int]:
        owners = [0] * self.channels
        for i, place in enumerate(self.targets):
            owners[place] = self.owners[i]
        return owners

    def _box(self, width: float, style: str) -> None:
        place = {"x": self.x, "y": self.top, "width": float(width), "height": float(self.height)}
        self.parts.append(element("rect", rx=7, class_=style, **place))

    def _text(self, x: float, y: float, line: str, style: str) -> None:
        self.parts.append(element("text", line, x=float(x), y=float(y), class_=style))

    def _wires(self, x1: float, x2: float, targets: list[int]) -> None:
        for source, target in enumerate(targets):
            a, b = (self.top + (i + 0.5) * _CELL_HEIGHT for i in (source, target))
            middle = (x1 + x2) / 2
            path = f"M{x1:g} {a:g}C{middle:g} {a:g} {middle:g} {b:g} {x2:g} {b:g}"
            self.parts.append(element("path", d=path, class_=f"wire {colour(_ROW_COLOURS[self.owners[source]])}"))


def shuffle_diagram(site: ShuffleSite, variant: str | None) -> Markup:
    """Before: a copy shuffles the channels. After: the first convolution writes every channel where it belongs.

    variant: megvii shuffles behind the depthwise convolution, the others before it; a depthwise convolution works
    on each channel alone, so the shuffle moves past it.
    """
    copied = wording.kibibytes(site.shape[0] * site.shape[1] * site.shape[2])
    rows = min(site.rows, DRAWN_ROWS)
    after_depthwise = variant == "megvii"

    before = _Drawing(rows, 56.0)
    before.operator("1x1", "convolution")
    before.straight()
    before.tensor()
    if after_depthwise:
        before.straight()
        before.operator("3x3", "depthwise")
        before.straight()
        before.tensor()
    before.crossing("copy", f"shuffle: copies {copied}", "bad-ink")
    before.tensor()
    if not after_depthwise:
        before.straight()
        before.operator("3x3", "depthwise")
        before.straight()
        before.tensor()
    before.straight()
    before.operator("1x1", "convolution")

    after = _Drawing(rows, before.top + before.height + 84.0)
    after.operator("1x1", "convolution")
    after.crossing("", "the write map: no copy", "good-ink")
    after.tensor()
    after.straight()
    after.operator("3x3", "depthwise")
    after.straight()
    after.tensor()
    after.straight()
    after.operator("1x1", "convolution")

    titles = [
        element("text", words, x=0, y=float(drawing.top - 32), class_="strong")
        for words, drawing in (("as the network is written", before), ("as it was compiled", after))
    ]
    label = "one unit with the shuffle as a copy, and with the shuffle folded into the first convolution"
    return svg(max(before.x, 900.0), after.top + after.height + 8, label, *titles, *before.parts, *after.parts)
