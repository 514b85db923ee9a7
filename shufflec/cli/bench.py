"""`shufflec bench`: shufflec beside other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shufflec.cli.console import JsonOption, progress_bar, stderr_console, stdout_console

app = typer.Typer(no_args_is_help=True, help="Compare shufflec with other engines.")


@app.command()
def peers(
    targets: Annotated[
        str, typer.Option("--targets", metavar="NAMES", help="Boards, separated by commas; see `shufflec targets`.")
    ] = "rasp4,rasp5",
    groups: Annotated[str, typer.Option("--groups", metavar="NUMBERS", help="Networks, separated by commas.")] = "3,8",
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
    Takes about ten minutes.

    Examples:

        shufflec bench peers

        shufflec bench peers --targets rasp4 --groups 3 --engine ncnn -o /tmp/ncnn
    """
    from shufflec.bench.render import html, markdown, notes, table, verdicts
    from shufflec.bench.run import run_bench
    from shufflec.files import write_atomic
    from shufflec.models.architecture import GROUPS
    from shufflec.targets.target import load_target

    chosen_targets = [load_target(name.strip()) for name in targets.split(",")]
    chosen_groups = [_group(word, GROUPS) for word in groups.split(",")]
    err = stderr_console()
    with progress_bar() as bar:
        task = bar.add_task("bench", total=None, note="")

        def advance(what: str, done: int, total: int) -> None:
            if err.is_terminal:
                bar.update(task, description=what, completed=done, total=total)
            else:
                err.print(f"{done + 1}/{total} {what}", markup=False)

        report = run_bench(chosen_targets, chosen_groups, engine, lambda words: err.print(words, markup=False), advance)
    text = report.to_json()
    contents = {"arm-linux.json": text, "arm-linux.md": markdown(report), "arm-linux.html": html(report)}
    written = [write_atomic(output / name, content) for name, content in contents.items()]
    if json:
        typer.echo(text, nl=False)
        return
    _print(table(report), [*verdicts(report), *notes(report)])
    stdout_console().print(f"\nWrote {', '.join(map(str, written))}", markup=False)


def _group(word: str, known: tuple[int, ...]) -> int:
    from shufflec.errors import OptionError

    if word.strip() not in map(str, known):
        raise OptionError("--groups", word, f"expected some of {', '.join(map(str, known))}, separated by commas")
    return int(word)


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
