"""A comparison for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shufflec.profiling.compare import Comparison, Row
from shufflec.reports import wording
from shufflec.reports.compare_words import change_words, row_verdict, sentence, side_line

_STYLES = {"faster": "green", "slower": "red", "unsure": "bright_black", "same code": "bright_black"}
_UNLIMITED = 1000


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Prints the sides, a row a layer and what follows. Names are never taken as markup; piped output is as wide as
    it needs to be."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_UNLIMITED, highlight=False)
    for side in comparison.sides:
        console.print(Text.assemble((side.letter, "bold"), f"  {side_line(side)}"))
    console.print()
    console.print(layer_table(comparison))
    console.print()
    for i, (change, basis) in enumerate(zip(comparison.changes, comparison.basis, strict=True)):
        console.print(Text(sentence(comparison, i), f"bold {_STYLES.get(change.verdict, '')}".strip()))
        console.print(Text(f"   {basis}"))
    for note in comparison.notes:
        console.print(Text(f"note: {note}", "yellow"))


def layer_table(comparison: Comparison) -> Table:
    """One row a layer: instructions and time of each side, and the differences from the first."""
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="bold", footer_style="bold")
    table.add_column("layer", footer="whole network", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    counted = any(side.instructions() is not None for side in comparison.sides)
    timed = any(side.kind != "counted" for side in comparison.sides)
    for side in comparison.sides:
        if counted:
            footer = wording.count(side.instructions())
            table.add_column(f"{side.letter} instructions", footer=footer, justify="right", no_wrap=True)
        if timed:
            footer = "-" if side.kind == "counted" else wording.milliseconds(side.milliseconds())
            table.add_column(f"{side.letter} {side.kind}", footer=footer, justify="right", no_wrap=True)
    for side, change in zip(comparison.sides[1:], comparison.changes, strict=True):
        table.add_column(f"{side.letter} to A", footer=change_words(change), justify="right", no_wrap=True)
        table.add_column("", footer=change.verdict, no_wrap=True)
    for row in comparison.rows:
        table.add_row(*_cells(comparison, row, counted, timed))
    return table


def _cells(comparison: Comparison, row: Row, counted: bool, timed: bool) -> list[Text]:
    cells = [Text(row.name), Text(row.kind)]
    for side, index in zip(comparison.sides, row.indices, strict=True):
        if counted:
            cells.append(Text("-" if index is None else wording.count(side.instructions(index))))
        if timed:
            known = index is not None and side.kind != "counted"
            cells.append(Text(wording.milliseconds(side.milliseconds(index)) if known else "-"))
    for i, change in enumerate(row.changes):
        verdict = row_verdict(comparison, row, i)
        style = _STYLES.get(verdict, "")
        cells += [Text(change_words(change), style), Text(verdict, style)]
    return cells
