"""`shufflec compare`: bundles side by side, layer by layer, each difference with its uncertainty."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console
from shufflec.errors import OptionError


def compare_command(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE BUNDLE...", help="Folders that `shufflec compile` wrote.")
    ],
    rpc: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="One device for all, by its RPC server. Default: a virtual board each."),
    ] = None,
    key: Annotated[str, typer.Option(help="Key of the RPC server, if it has one.")] = "",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads on the device. Default: 1, or as the server has it.")
    ] = None,
    clock: Annotated[
        str | None, typer.Option(metavar="1.5GHz", help="Clock of the virtual boards. Default: the targets'.")
    ] = None,
    inputs: Annotated[int, typer.Option(min=1, help="Inputs to check against the integer reference.")] = 2,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that the device may take for one answer.")] = 120.0,
    stored: Annotated[
        bool, typer.Option("--stored", help="Take the profiles in the bundles' report.json; profile nothing.")
    ] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the comparison as a page.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write compare.json and compare.html there.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare bundles: instructions and time, whole and of each layer, the first with each of the others.

    Every bundle is profiled afresh, its outputs checked bit for bit. Layers are matched by name and kind. A difference
    that is smaller than its uncertainty is not called one: estimates for one board share their model's error where the
    code is the same, and are independent on different boards. "Faster" is less time: 12 % faster takes 88 % of it.

    Examples:

        shufflec compare folded-bundle copied-bundle

        shufflec compare g3-bundle g8-bundle --clock 1.5GHz --html g3-g8.html

        shufflec compare before-bundle after-bundle --rpc 192.168.1.20:9090 --threads 4
    """
    _check_options(rpc, clock, threads, stored, html, output)

    import json as json_text

    from shufflec.files import write_atomic
    from shufflec.profiling.compare import compare
    from shufflec.profiling.compare_run import Device, open_bundles, profile_sides
    from shufflec.reports.compare_html import render
    from shufflec.reports.compare_stored import stored_sides
    from shufflec.reports.compare_terminal import print_comparison
    from shufflec.reports.compare_words import to_json

    notes = stderr_console()
    opened = open_bundles(bundles, clock)
    if stored:
        sides = stored_sides(opened)
    else:
        with progress_bar() as bar:
            task = bar.add_task("connecting", total=None, note="")
            sides = profile_sides(
                opened,
                Device(rpc, key, threads, timeout),
                inputs,
                lambda phase, done, total: bar.update(task, description=phase, completed=done, total=total),
                lambda words: notes.print(words, markup=False),
            )
    comparison = compare(sides)
    page = render(comparison)
    files = {html: page} if html is not None else {}
    if output is not None:
        text = json_text.dumps(to_json(comparison), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        files |= {output / "compare.json": text, output / "compare.html": page}
    written = [write_atomic(path, text) for path, text in files.items()]
    if json:
        emit_json(to_json(comparison) | {"files": [str(path) for path in written]})
        return
    console = stdout_console()
    print_comparison(console, comparison)
    if written:
        console.print(f"\nWrote {' and '.join(map(str, written))}", markup=False)


def _check_options(
    rpc: str | None, clock: str | None, threads: int | None, stored: bool, html: Path | None, output: Path | None
) -> None:
    """What can be refused before anything starts."""
    if clock is not None and rpc is not None:
        raise OptionError("--clock", clock, "the board at --rpc has its own clock", "leave one of the two out")
    given = {"--rpc": rpc, "--clock": clock, "--threads": threads}
    if stored and (other := next((name for name, value in given.items() if value is not None), None)):
        raise OptionError(other, given[other], "nothing is profiled with --stored", "leave one of the two out")
    if html is not None and html.is_dir():
        raise OptionError("--html", html, "is a folder, expected a file", "or give the folder with -o")
    if output is not None and output.exists() and not output.is_dir():
        raise OptionError("--output", output, "is a file, expected a folder")
