"""`shufflec targets`: the boards that can be compiled for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from shufflec.targets.target import Target


def targets_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show this target in full: a name, or a .toml file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the boards that shufflec compiles for, or show one in full with the source of each figure.

    Examples:

        shufflec targets

        shufflec targets rasp4
    """
    from shufflec.targets.target import load_target, target_names

    if name is not None:
        target = load_target(name)
        if json:
            emit_json(target.to_dict())
        else:
            _print_in_full(target)
        return
    targets = [load_target(each) for each in target_names()]
    if json:
        emit_json({"targets": [target.to_dict() for target in targets]})
        return
    console = stdout_console()
    console.print(_table(targets))
    console.print("peak: int8 multiply-accumulates of one core. `shufflec targets NAME` shows one with its sources.")


def _table(targets: list[Target]) -> Table:
    from rich.table import Table

    table = Table("name", "board", "core", "kernels", "cores", "clock", "peak")
    for target in targets:
        measured = target.family == "host"
        table.add_row(
            target.name,
            target.title,
            target.core,
            target.isa,
            "-" if measured else str(target.cores),
            "-" if measured else f"{target.clock_hz / 1e9:g} GHz",
            "-" if measured else f"{target.peak_macs_per_cycle * target.clock_hz / 1e9:g} GMAC/s",
        )
    return table


def _print_in_full(target: Target) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for label, value in _figures(target):
        table.add_row(label, value)
    console = stdout_console()
    console.print(f"[bold]{target.name}[/bold]  {target.title}")
    console.print(table)
    console.print("\n[bold]Sources[/bold]")
    sources = Table.grid(padding=(0, 2))
    for label, source in target.sources.items():
        sources.add_row(label, source)
    console.print(sources)


def _figures(target: Target) -> list[tuple[str, str]]:
    """Label and value of each figure, with units."""
    rows = [
        ("family", target.family),
        ("core", f"{target.cores} x {target.core}, {target.isa} kernels"),
        ("clock", f"{target.clock_hz / 1e9:g} GHz"),
        ("peak", f"{target.peak_macs_per_cycle} int8 MACs a cycle and core"),
        ("memory", f"{target.ram_bytes / 2**30:g} GiB"),
    ]
    for level, cache in target.caches.items():
        shared = ", shared by all cores" if cache.shared else ""
        size = f"{cache.size_bytes // 1024} KiB"
        rows.append((level, f"{size}, {cache.ways} ways, {cache.line_bytes}-byte lines{shared}"))
    rows.append(
        ("LLVM", " ".join(filter(None, [target.triple or "this machine", target.llvm_mcpu, *target.llvm_features])))
    )
    rows.append(("emulated as", target.qemu_cpu or "not emulated: time is measured"))
    if target.time:
        figures = f"{target.time.scale:g} x core model, {target.time.store_miss_ns:g} ns a store miss, "
        figures += f"{target.time.dram_line_ns:g} ns a DRAM line, +-{target.time.uncertainty_percent:g} %"
        if target.time.pair_percent is not None:
            figures += f"; the ratio of two networks +-{target.time.pair_percent:g} %"
        rows.append(("estimated time", figures))
    elif target.cycles:
        rows.append(("simulated cycles", ", ".join(f"{kind} {value:g}" for kind, value in target.cycles.items())))
    return rows
