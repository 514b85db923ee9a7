"""Tables more for the terminal: each layer under the roofline, and what the core waited for in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from shufflec.reports import cost_words, wording
from shufflec.reports.schema import Estimate, Layer, Report

# A column of the second table that is below this share in every layer is left out.
_NEGLIGIBLE = 0.01
_SHOWN = 0.005  # less than this would be 0 %
_EVENTS = {"load misses": "l1_load_misses", "store misses": "l1_store_misses", "DRAM lines": "dram_lines"}
# Columns of the first table that can go, the least needed first.
_EXPENDABLE = ("DRAM lines", "store misses", "load misses", "best")


@dataclass(frozen=True)
class FittedTable:
    """expendable: columns that can go. table: the table without that many of them."""

    expendable: int
    table: Callable[[int], Table]


#: A column of the first table: its head, its cell in a layer's row, and its cell in the row of the whole network.
_Column = tuple[str, Callable[[Layer], str], Callable[[Report], str]]


def detail_tables(report: Report) -> list[FittedTable]:
    """None where there is no time; the second, and what its words mean, only for an estimated one."""
    cost = report.cost
    if cost is None or cost.milliseconds is None:
        return []
    columns = _roofline_columns(report)
    present = [name for name in _EXPENDABLE if any(column[0] == name for column in columns)]

    def roofline_table(left_out: int) -> Table:
        kept = [column for column in columns if column[0] not in present[:left_out]]
        table = _table([name for name, _, _ in kept], ["whole network", *[total(report) for _, _, total in kept]])
        for layer in report.layers:
            table.add_row(layer.name, *[cell(layer) for _, cell, _ in kept])
        return table

    tables = [FittedTable(len(present), roofline_table)]
    if cost.estimate is not None:
        tables += [_waits_table(report), FittedTable(0, lambda _: _glossary(report))]
    return tables


def _roofline_columns(report: Report) -> list[_Column]:
    cost, roof = report.cost, report.roofline
    assert cost is not None
    time, rate, per_mac = wording.milliseconds, wording.short_count, cost_words.cycles_per_mac
    columns: list[_Column] = [(cost.kind, lambda one: time(one.milliseconds), lambda _: time(cost.milliseconds))]
    if roof is not None:
        columns.append(
            ("best", lambda one: time(one.roofline and one.roofline.floor_ms), lambda _: time(roof.floor_ms))
        )
    columns.append(("MAC/s", lambda one: rate(one.macs_per_second), lambda _: rate(_macs_per_second(report))))
    if cost.cycles_per_mac is not None:
        columns.append(("cycles/MAC", lambda one: per_mac(one.cycles_per_mac), lambda _: per_mac(cost.cycles_per_mac)))
    if cost.estimate is None:
        return columns
    if roof is not None:
        columns.append(("bound", lambda one: cost_words.bound(one.roofline), lambda _: ""))
    return columns + [
        (name, lambda one, key=key: _events(one.estimate, key), lambda _, key=key: _events(cost.estimate, key))
        for name, key in _EVENTS.items()
    ]


def _events(estimate: Estimate | None, key: str) -> str:
    return wording.count(None if estimate is None else getattr(estimate, key))


def _macs_per_second(report: Report) -> float | None:
    assert report.cost is not None
    return 1e3 * report.macs / report.cost.milliseconds if report.cost.milliseconds else None


def _waits_table(report: Report) -> FittedTable:
    rows = [cost_words.layer_waits(layer) for layer in report.layers]
    named = _named(report)
    whole = {name: sum(row.get(name, 0.0) for row in rows) for name in named}
    time = sum(sum(row.values()) for row in rows) or 1.0
    least_first = sorted(named, key=lambda name: whole[name])

    def table(left_out: int) -> Table:
        kept = [name for name in named if name not in least_first[:left_out]]
        foot = ["all layers", *[wording.percent(whole[name] / time, 0) for name in kept]]
        made = _table([cost_words.WAITS[name][0] for name in kept], foot)
        for layer in report.layers:
            shares = _shares(layer)
            cells = [shares.get(name, 0.0) for name in kept]
            made.add_row(layer.name, *[wording.percent(share, 0) if share >= _SHOWN else "" for share in cells])
        return made

    return FittedTable(max(len(named) - 1, 0), table)


def _shares(layer: Layer) -> dict[str, float]:
    waits = cost_words.layer_waits(layer)
    total = sum(waits.values()) or 1.0
    return {name: value / total for name, value in waits.items()}


def _named(report: Report) -> list[str]:
    """What is worth a column."""
    shares = [_shares(layer) for layer in report.layers]
    return [name for name in cost_words.WAITS if any(row.get(name, 0.0) >= _NEGLIGIBLE for row in shares)]


def _glossary(report: Report) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name in _named(report):
        grid.add_row(*cost_words.WAITS[name])
    return grid


def _table(heads: list[str], foot: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="bold", footer_style="bold")
    for i, (head, last) in enumerate(zip(["layer", *heads], foot, strict=True)):
        table.add_column(head, footer=last, justify="right" if i else "left", no_wrap=True)
    return table
