"""`shufflec bench`: shufflec beside other engines, and with the shuffle folded and not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console

if TYPE_CHECKING:
    from shufflec.targets.target import Target

app = typer.Typer(no_args_is_help=True, help="Compare shufflec with other engines.\n\nExample: shufflec bench peers")

TargetsOption = Annotated[
    str, typer.Option("--targets", metavar="NAMES", help="Boards, separated by commas; see `shufflec targets`.")
]
GroupsOption = Annotated[str, typer.Option("--groups", metavar="NUMBERS", help="Networks, separated by commas.")]


@app.command()
def peers(
    targets: TargetsOption = "rasp4,rasp5",
    groups: GroupsOption = "3,8",
    engine: Annotated[
        str, typer.Option("--engine", metavar="TEXT", help="Only engines with this in their name, e.g. ncnn.")
    ] = "",
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where arm-linux.json, .md and .html go.")
    ] = Path("reports"),
    json: JsonOption = False,
) -> None:
    """Count the instructions of one inference of ShuffleNetV1 1.0x in shufflec and in other engines.

    ncnn, ONNX Runtime and MNN come from their arm64 packages, run by an arm64 Python under emulation; the first use
    downloads them (100 MB). All engines get the same network with the same random weights and run on 1 thread.
    Takes ten to twenty minutes.

    Examples:

        shufflec bench peers

        shufflec bench peers --targets rasp4 --groups 3 --engine ncnn -o /tmp/ncnn
    """
    from shufflec.bench.render import html, markdown, notes, table, verdicts
    from shufflec.bench.run import run_bench
    from shufflec.files import write_atomic

    boards, networks = _chosen(targets, groups)
    err = stderr_console()
    with _shown_progress() as advance:
        report = run_bench(boards, networks, engine, lambda words: err.print(words, markup=False), advance)
    text = report.to_json()
    contents = {"arm-linux.json": text, "arm-linux.md": markdown(report), "arm-linux.html": html(report)}
    written = [write_atomic(output / name, content) for name, content in contents.items()]
    if json:
        sys.stdout.write(text)
        return
    _print(table(report), [*verdicts(report), *notes(report)])
    stdout_console().print(f"\nWrote {', '.join(map(str, written))}", markup=False)


@app.command()
def shuffle(
    targets: TargetsOption = "rasp4,rasp5",
    groups: GroupsOption = "3,8",
    json: JsonOption = False,
) -> None:
    """Count what folding the channel shuffle saves in ShuffleNetV1 1.0x: the same network with the pass on and off.

    The two must give the same output, bit for bit.

    Examples:

        shufflec bench shuffle

        shufflec bench shuffle --targets rasp4 --groups 8
    """
    from shufflec.bench.shuffle import run_shuffle_bench

    boards, networks = _chosen(targets, groups)
    with _shown_progress() as advance:
        rows = run_shuffle_bench(boards, networks, advance)
    if json:
        emit_json({"rows": [row.to_dict() for row in rows]})
        return
    lines = [["board, network", "shuffle as copies", "folded", "saved"]]
    for row in rows:
        counts = f"{row.copied / 1e6:.2f} M", f"{row.folded / 1e6:.2f} M", f"{row.saved:.1%}"
        lines.append([f"{row.target}, g={row.groups}", *counts])
    _print(lines, ["Instructions of one inference, 224x224, 1000 classes, 1 thread; outputs equal bit for bit."])


def _chosen(targets: str, groups: str) -> tuple[list[Target], list[int]]:
    """The boards and networks that two options name. Raises OptionError for an unknown one."""
    from shufflec.errors import OptionError
    from shufflec.models.architecture import GROUPS
    from shufflec.targets.target import load_target

    numbers = [word.strip() for word in groups.split(",")]
    if unknown := [word for word in numbers if word not in map(str, GROUPS)]:
        known = ", ".join(map(str, GROUPS))
        raise OptionError("--groups", unknown[0], f"expected some of {known}, separated by commas")
    return [load_target(name.strip()) for name in targets.split(",")], [int(word) for word in numbers]


@contextmanager
def _shown_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function to call before each measurement: a bar on a terminal, one line each elsewhere."""
    err = stderr_console()
    with progress_bar() as bar:
        task = bar.add_task("bench", total=None, note="")

        def advance(what: str, done: int, total: int) -> None:
            if err.is_terminal:
                bar.update(task, description=what, completed=done, total=total)
            else:
                err.print(f"{done + 1}/{total} {what}", markup=False)

        yield advance


def _print(lines: list[list[str]], sentences: list[str]) -> None:
    from rich.table import Table

    header, *rest = lines
    shown = Table(box=None, padding=(0, 2, 0, 0))
    shown.add_column(header[0])
    for title in header[1:]:
        shown.add_column(title, justify="right")
    for line in rest:
        shown.add_row(*line, style="bold" if line[0].startswith("shufflec") else None)
    console = stdout_console()
    console.print(shown)
    console.print()
    for sentence in sentences:
        console.print(sentence, markup=False)
