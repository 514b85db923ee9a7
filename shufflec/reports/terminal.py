"""The report as a table for the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from shufflec.reports import cost_words, wording
from shufflec.reports.schema import Layer, Report
from shufflec.reports.terminal_detail import detail_tables
from shufflec.reports.terminal_memory import memory_table

BAR_WIDTH = 16
MAP_WIDTH = 160  # of the arena's map with its scale
_MAP_SCALE = 12

_UNLIMITED = 1000
#: Columns that can go, the least needed first.
_EXPENDABLE = ("bar", "MACs", "output", "kind")

_STYLES = {
    "convolution": "blue",
    "depthwise": "yellow",
    "pooling": "green",
    "classifier": "magenta",
    "shuffle copy": "red",
}


def print_report(console: Console, report: Report, detail: bool = False) -> None:
    """Prints the whole report; tables lose their least needed columns where the terminal is too narrow.

    detail: with each layer's place under the roofline, its cache misses, what the core waited for, and the arena.

    Strings of the report are never taken as markup. Piped output is as wide as it needs to be.
    """
    if not console.is_terminal:
        console = Console(file=console.file, width=_UNLIMITED, highlight=False)
    console.print(headline(report))
    console.print(_fitting(console, len(_EXPENDABLE), lambda n: layer_table(report, frozenset(_EXPENDABLE[:n]))))
    console.print()
    for make in detail_tables(report) if detail else ():
        console.print(_fitting(console, make.expendable, make.table))
        console.print()
    if detail and report.memory:
        console.print(memory_table(report, min(console.width, MAP_WIDTH) - _MAP_SCALE))
        console.print()
    console.print(verdicts(report))


def _fitting(console: Console, expendable: int, table_without: Callable[[int], Table]) -> Table:
    """The table with as few of its `expendable` columns left out as the console's width asks for."""
    options = console.options.update(width=_UNLIMITED)
    for left_out in range(expendable + 1):
        table = table_without(left_out)
        if Measurement.get(console, options, table).maximum <= console.width:
            break
    return table


def headline(report: Report) -> Text:
    """Model and target, one line each."""
    target = report.target
    return Text.assemble(
        (wording.title(report), "bold"),
        f"\nfor {target.name}: {target.title}, {target.core}, {target.isa}\n",
    )


def layer_table(report: Report, left_out: frozenset[str] = frozenset()) -> Table:
    """One row a layer, and the whole network below. left_out: columns of _EXPENDABLE to drop."""
    cost = report.cost
    columns = [("layer", "left", "whole network"), ("kind", "left", ""), ("output", "left", "")]
    columns.append(("MACs", "right", wording.count(report.macs)))
    if cost is not None and cost.instructions is not None:
        columns.append(("instructions", "right", wording.count(cost.instructions)))
    if cost is not None and cost.milliseconds is not None:
        columns.append((cost.kind, "right", wording.milliseconds(cost.milliseconds)))
    if cost is not None:
        columns += [("share", "right", ""), ("bar", "left", "")]
    columns = [column for column in columns if column[0] not in left_out]
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="bold", footer_style="bold")
    for name, side, footer in columns:
        table.add_column("" if name == "bar" else name, footer=footer, justify=side, no_wrap=True)
    widest = max((layer.share or 0.0 for layer in report.layers), default=0.0) or 1.0
    for layer in report.layers:
        cells = _cells(layer, widest)
        table.add_row(*[cells.get(name, cells["time"]) for name, _, _ in columns])
    return table


def _cells(layer: Layer, widest: float) -> dict[str, Text]:
    style = _STYLES.get(wording.category(layer.kind), "bright_black")
    return {
        "layer": Text(layer.name),
        "kind": Text(layer.kind, style),
        "output": Text(wording.shape(layer.shape)),
        "MACs": Text(wording.count(layer.macs)),
        "instructions": Text(wording.count(layer.instructions)),
        "time": Text(wording.milliseconds(layer.milliseconds)),
        "share": Text(wording.percent(layer.share)),
        "bar": Text(_bar((layer.share or 0.0) / widest), style),
    }


def _bar(fraction: float) -> str:
    """A bar of eighths of a character; the smallest share still shows as a sliver."""
    eighths = max(1, round(fraction * BAR_WIDTH * 8)) if fraction > 0 else 0
    whole, rest = divmod(eighths, 8)
    return "█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def verdicts(report: Report) -> Table:
    """What was found out, a line for each thing."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column()
    for name, line, style in _verdicts(report):
        grid.add_row(name, Text(line, style))
    return grid


def _verdicts(report: Report) -> list[tuple[str, str, str]]:
    """(name, text, style) of each line."""
    cost, check, copies = report.cost, report.verification, report.shuffle.copies_left
    lines = []
    if cost is not None:
        lines.append(("cost", wording.cost_line(report, cost), ""))
        if other := wording.other_board_line(report, cost):
            lines.append(("", other, "yellow"))
        if cost.estimate is not None:
            lines.append(("", wording.parts_line(cost.estimate), ""))
        lines += [("", cost.method, ""), ("", wording.sum_line(cost), "")]
        if report.roofline is not None:
            lines.append(("floor", cost_words.floor_line(report, report.roofline), ""))
            lines.append(("roofline", cost_words.roofline_line(report, report.roofline), ""))
        for i, costly in enumerate(cost.costliest):
            lines.append(("costliest" if i == 0 else "", cost_words.costly_line(report, costly), ""))
        if cost.instructions_by_class:
            classes = wording.instruction_classes(cost.instructions_by_class)
            lines.append(("classes", ", ".join(f"{name} {wording.short_count(n)}" for name, n in classes), ""))
    style = "" if check is None else "green" if check.equal else "bold red"
    return [
        *lines,
        ("outputs", wording.verification_line(report), style),
        ("shuffle", wording.shuffle_line(report), "yellow" if copies else ""),
        ("memory", wording.memory_line(report), ""),
        ("accuracy", wording.accuracy_line(report), "yellow" if report.random_weights else ""),
    ]
