"""The arena over time for the terminal: a column a layer, a row a sixteenth of the arena, a letter a tensor."""

from __future__ import annotations

from string import ascii_letters

from rich.table import Table
from rich.text import Text

from shufflec.reports import wording
from shufflec.reports.schema import ArenaTensor, Report

ROWS = 16
_FREE, _OTHER = "·", "#"
_MOST_NAMED = 12


def memory_map(report: Report, columns: int) -> list[str]:
    """Lines from the arena's end down to its begin; one character a layer.

    columns: the most; a longer network is drawn with every n-th layer. A cell shows the tensor that has most of its
    bytes, `_FREE` where nothing lies.
    """
    step = -(-len(report.layers) // max(columns, 1))
    drawn = range(0, len(report.layers), max(step, 1))
    size = report.peak_activation_bytes / ROWS
    marks = letters(report)
    lines = []
    for row in reversed(range(ROWS)):
        begin, end = row * size, (row + 1) * size
        lines.append("".join(_mark(report, marks, layer, begin, end) for layer in drawn))
    return lines


def letters(report: Report) -> dict[int, str]:
    """The letters of the largest tensors, by index in report.memory: `a` for the largest; `_OTHER` for the rest."""
    order = sorted(range(len(report.memory)), key=lambda i: -report.memory[i].bytes)
    return {index: ascii_letters[n] if n < _MOST_NAMED else _OTHER for n, index in enumerate(order)}


def _mark(report: Report, marks: dict[int, str], layer: int, begin: float, end: float) -> str:
    best, most = _FREE, 0.0
    for index, tensor in enumerate(report.memory):
        inside = min(tensor.offset + tensor.bytes, end) - max(tensor.offset, begin)
        if tensor.first <= layer <= tensor.last and inside > most:
            best, most = marks[index], inside
    return best


def memory_table(report: Report, columns: int) -> Table:
    """The map with its scale, and below it the tensors that have letters."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("arena", justify="right", no_wrap=True, min_width=len("arena"))
    table.add_column("layers, left to right", overflow="fold")
    for number, line in enumerate(memory_map(report, columns)):
        end = report.peak_activation_bytes * (ROWS - number) / ROWS
        table.add_row(wording.count(round(end)) if number % 4 == 0 else "", Text(line))
    marks = letters(report)
    for index, mark in sorted(marks.items(), key=lambda item: item[1]):
        if mark != _OTHER:
            table.add_row(mark, Text(_line(report, report.memory[index])))
    if len(marks) > _MOST_NAMED:
        table.add_row(_OTHER, Text(f"{len(marks) - _MOST_NAMED} smaller tensors"))
    return table


def _line(report: Report, tensor: ArenaTensor) -> str:
    first, last = report.layers[tensor.first].name, report.layers[tensor.last].name
    when = first if first == last else f"{first} to {last}"
    return f"{tensor.name}, {tensor.bytes:,} bytes at {tensor.offset:,}, {when}"
