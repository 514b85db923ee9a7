"""The table of `shufflec models --compare`, and the measurements behind it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shufflec.cli.console import counted_progress, emit_json, stdout_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from shufflec.models.families import AnyArchitecture
    from shufflec.reports.models_compare import ComparedNetwork
    from shufflec.reports.network_costs import NetworkCosts
    from shufflec.targets.target import Target

_WIDTH = 100


def show_comparison(
    networks: Sequence[AnyArchitecture], targets: str, measure: bool, output: Path | None, add: bool, json: bool
) -> None:
    """Prints the networks beside what was published; the shipped measurements, or with `measure` new ones.

    output: where models.json and models.md go; add: keeps the other rows of an earlier models.json there.
    """
    from shufflec.reports.models_compare import compare, notes
    from shufflec.reports.network_costs import METHOD, shipped_costs
    from shufflec.targets.target import load_target

    boards = [load_target(name.strip()) for name in targets.split(",")]
    names = [board.name for board in boards]
    costs = _measured(networks, boards) if measure else shipped_costs()
    written = _write(output, costs, add) if output is not None else []
    lines = compare(networks, costs, names)
    if json:
        emit_json({"method": METHOD, "models": [line.to_dict(names) for line in lines]})
        return
    console = _wide_console(20 * max(0, len(names) - 2))
    console.print(_table(lines, names))
    for note in notes(lines, names):
        console.print(textwrap.fill(note, _WIDTH), markup=False)
    if written:
        console.print(f"\nWrote {', '.join(map(str, written))}", markup=False)


def _wide_console(more: int) -> Console:
    """Standard output, `more` columns wider than two boards need: a narrow terminal may fold lines, but no figure is
    cut off.
    """
    from rich.console import Console

    console = stdout_console()
    return Console(file=console.file, width=max(console.width, _WIDTH + more), highlight=False)


def _measured(networks: Sequence[AnyArchitecture], boards: Sequence[Target]) -> NetworkCosts:
    from shufflec.bench.network_costs import measure_costs

    with counted_progress("measure") as advance:
        return measure_costs(networks, boards, advance)


def _write(folder: Path, costs: NetworkCosts, add: bool) -> list[Path]:
    from shufflec.files import write_atomic
    from shufflec.reports.models_compare import compare, markdown
    from shufflec.reports.network_costs import FILE_NAME, read_costs

    path = folder / FILE_NAME
    if add and path.exists():
        costs = costs.added_to(read_costs(path))
    networks = list(dict.fromkeys(cost.architecture for cost in costs.costs))
    text = markdown(compare(networks, costs, costs.targets), costs.targets)
    return [write_atomic(path, costs.to_json()), write_atomic(folder / "models.md", text)]


def _table(lines: Sequence[ComparedNetwork], targets: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    from shufflec.reports.models_compare import TITLE, cells, heads

    table = Table(title=TITLE, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(heads(targets)):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        last = following is None or _section(following) != _section(line)
        table.add_row(*cells(line), end_section=last)
    return table


def _section(line: ComparedNetwork) -> tuple[str, str]:
    return line.architecture.family, line.architecture.variant
