"""`shufflec bench`: shufflec beside other engines, and with the shuffle folded and not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, counted_progress, emit_json, stderr_console, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from shufflec.targets.target import Target

app = typer.Typer(no_args_is_help=True, help="Compare shufflec with other engines.\n\nExample: shufflec bench peers")

TargetsOption = Annotated[
    str, typer.Option("--targets", metavar="NAMES", help="Boards, separated by commas; see `shufflec targets`.")
]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Measure everything again; else a bench that was interrupted goes on.")
]
#: The name of ShuffleNetV2 among the numbers of groups.
V2 = "v2"
GroupsOption = Annotated[str, typer.Option("--groups", metavar="NUMBERS", help="Networks, separated by commas.")]


@app.command()
def peers(
    targets: TargetsOption = "rasp4,rasp5",
    groups: Annotated[
        str,
        typer.Option(
            "--groups", metavar="NAMES", help="Networks, separated by commas: groups of ShuffleNetV1, v2 for V2."
        ),
    ] = "3,8,v2",
    engine: Annotated[
        str, typer.Option("--engine", metavar="TEXT", help="Only engines with this in their name, e.g. ncnn.")
    ] = "",
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where arm-linux.json, .md and .html go.")
    ] = Path("reports"),
    readme: Annotated[
        Path | None,
        typer.Option("--readme", metavar="FILE", help="Write the table into this file, between its markers."),
    ] = None,
    fresh: FreshOption = False,
    add: Annotated[
        bool, typer.Option("--add", help="Keep the rows of DIR/arm-linux.json that are not measured now.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Count the instructions of one inference of ShuffleNetV1 and V2 1.0x here and in other engines, and estimate time.

    ncnn, ONNX Runtime, MNN, LiteRT and ExecuTorch come from their arm64 packages, run by an arm64 Python under
    emulation; the first use downloads them (180 MB). All engines get the same network with the same random weights
    and run on 1 thread. Takes about an hour; what was measured is kept, so that the command goes on where it was
    stopped.

    Examples:

        shufflec bench peers

        shufflec bench peers --targets rasp4 --groups 3 --engine ncnn -o /tmp/ncnn

        shufflec bench peers --groups v2 --add
    """
    from shufflec.bench.render import disagreements, html, markdown, notes, table, verdicts
    from shufflec.bench.report import added, load_report
    from shufflec.bench.run import run_bench
    from shufflec.files import write_atomic

    boards, networks = _chosen(targets, groups, (V2,))
    earlier = load_report(output / "arm-linux.json") if add else None
    if readme is not None:
        from shufflec.bench.readme_table import check_readme

        check_readme(readme)
    err = stderr_console()
    with counted_progress("bench") as advance:
        report = run_bench(boards, networks, engine, lambda words: err.print(words, markup=False), advance, fresh)
    report = added(earlier, report) if earlier is not None else report
    text = report.to_json()
    contents = {"arm-linux.json": text, "arm-linux.md": markdown(report), "arm-linux.html": html(report)}
    written = [write_atomic(output / name, content) for name, content in contents.items()]
    if readme is not None:
        from shufflec.bench.readme_table import update_readme

        update_readme(readme, report)
        written.append(readme)
    if json:
        sys.stdout.write(text)
        return
    for columns in report.tables():
        _print(table(report, columns), [])
    _print([], [*verdicts(report), *disagreements(report), *notes(report)])
    stdout_console().print(f"\nWrote {', '.join(map(str, written))}", markup=False)


@app.command()
def shapes(
    targets: TargetsOption = "rasp3,rasp4,rasp5,zero2w",
    groups: GroupsOption = "1,2,3,4,8",
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where arm-linux-shapes.json and .md go.")
    ] = Path("reports"),
    fresh: FreshOption = False,
    json: JsonOption = False,
) -> None:
    """Count and time shufflec's own code over groups, scales and input sizes, and look for shapes that fall behind.

    Every number of groups at 1.0x, 224x224; g=3 and g=8 at 0.25x to 2.0x and at 480x640 too. What was measured is
    kept: the command goes on where it was stopped, and several of it at once share the work.

    Examples:

        shufflec bench shapes

        shufflec bench shapes --targets rasp4 --groups 3
    """
    from shufflec.bench.shapes import markdown, run_shapes, sentences, table
    from shufflec.files import write_atomic

    boards, networks = _chosen(targets, groups)
    with counted_progress("bench") as advance:
        report = run_shapes(boards, networks, advance, fresh)
    contents = {"arm-linux-shapes.json": report.to_json(), "arm-linux-shapes.md": markdown(report)}
    written = [write_atomic(output / name, content) for name, content in contents.items()]
    if json:
        sys.stdout.write(report.to_json())
        return
    _print(table(report), sentences(report))
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
    with counted_progress("bench") as advance:
        rows = run_shuffle_bench(boards, networks, advance)
    if json:
        emit_json({"rows": [row.to_dict() for row in rows]})
        return
    lines = [["board, network", "shuffle as copies", "folded", "saved"]]
    for row in rows:
        counts = f"{row.copied / 1e6:.2f} M", f"{row.folded / 1e6:.2f} M", f"{row.saved:.1%}"
        lines.append([f"{row.target}, g={row.groups}", *counts])
    _print(lines, ["Instructions of one inference, 224x224, 1000 classes, 1 thread; outputs equal bit for bit."])


def _chosen(targets: str, groups: str, others: tuple[str, ...] = ()) -> tuple[list[Target], list[int | None]]:
    """The boards and networks that two options name; None for one of `others`. Raises OptionError for an unknown."""
    from shufflec.errors import OptionError
    from shufflec.models.architecture import GROUPS
    from shufflec.targets.target import load_target

    numbers = [word.strip() for word in groups.split(",")]
    known_words = [*map(str, GROUPS), *others]
    if unknown := [word for word in numbers if word not in known_words]:
        known = ", ".join(known_words)
        raise OptionError("--groups", unknown[0], f"expected some of {known}, separated by commas")
    return [load_target(name.strip()) for name in targets.split(",")], [
        None if word in others else int(word) for word in numbers
    ]


def _print(lines: list[list[str]], sentences: list[str]) -> None:
    """lines: a table with its header, or none."""
    console = stdout_console()
    if lines:
        console.print(_table(lines))
        console.print()
    for sentence in sentences:
        console.print(sentence, markup=False)


def _table(lines: list[list[str]]) -> Table:
    from rich.table import Table

    header, *rest = lines
    shown = Table(box=None, padding=(0, 2, 0, 0))
    shown.add_column(header[0])
    for title in header[1:]:
        shown.add_column(title, justify="right")
    for line in rest:
        shown.add_row(*line, style="bold" if line[0].startswith("shufflec") else None)
    return shown
