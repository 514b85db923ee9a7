"""The README's tables of measurements, generated from the bench report, so that the two cannot differ.

They stand between two marker lines; everything else of the file stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shufflec.bench.render import engine_title
from shufflec.bench.report import OWN_NAME, BenchReport, Column, Row, network_title
from shufflec.errors import InputFileError
from shufflec.files import read_limited, write_atomic

START = "<!-- table of reports/arm-linux.json: written by make bench -->"
END = "<!-- end of the table -->"
_LIMIT = 1 << 20
_BOARDS = {"rasp3": "Pi 3B+", "rasp4": "Pi 4", "rasp5": "Pi 5", "zero2w": "Zero 2 W"}


def readme_table(report: BenchReport) -> str:
    """The block with its markers: instructions, estimated milliseconds, and correlation for every engine.

    A table for ShuffleNetV1, and one for V2.
    """
    tables = ["\n".join(f"| {' | '.join(line)} |" for line in _lines(report, part)) for part in report.tables()]
    return "\n".join([START, "\n\n".join(tables), END])


def _lines(report: BenchReport, columns: Sequence[Column]) -> list[list[str]]:
    titles = [
        f"{_BOARDS.get(target, target)} ({core.removeprefix('cortex-').upper()}), {network_title(groups)}"
        for target, core, groups in columns
    ]
    lines = [["engine", *titles], ["---", *["---:"] * len(columns)]]
    for engine in report.engines(columns):
        name = engine_title(engine)
        own = engine[0] == OWN_NAME
        cells = [_cell(report.find(engine, column), own) for column in columns]
        lines.append([f"**{name}**" if own else name, *cells])
    return lines


def _cell(row: Row | None, bold: bool) -> str:
    if row is None:
        return ""
    if row.total is None:
        return "does not run"
    figures = f"{row.total / 1e6:.1f} M" + (f", {row.milliseconds:.1f} ms" if row.milliseconds is not None else "")
    figures = f"**{figures}**" if bold else figures
    if not row.right:
        return f"wrong, {row.correlation:.3f}" if row.correlation is not None else "wrong"
    return f"{figures}, {row.correlation:.3f}"


def replace_table(text: str, block: str, path: str | Path, start: str = START, end: str = END) -> str:
    """`text` with the block between its markers replaced. Raises InputFileError when they are not there once each."""
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise InputFileError(
            path, "has no place for the bench's table", f"put a line '{start}' and a line '{end}' there"
        )
    return text[: text.index(start)] + block + text[text.index(end) + len(end) :]


def check_readme(path: Path) -> None:
    """Raises InputFileError for a README that could not be updated, before anything takes time."""
    replace_table(read_readme(path), "", path)


def read_readme(path: Path) -> str:
    """The text of a README. Raises InputFileError for a missing or too large one."""
    return read_limited(path, _LIMIT, "a text file with a place for the table").decode(
        "utf-8", errors="surrogateescape"
    )


def update_readme(path: Path, report: BenchReport) -> bool:
    """Writes the table into a README; whether it changed. Raises InputFileError as `replace_table` does."""
    return write_table(path, readme_table(report))


def write_table(path: Path, block: str, start: str = START, end: str = END) -> bool:
    """Puts a block between its markers in a README; whether it changed. Raises InputFileError as `replace_table`."""
    text = read_readme(path)
    changed = replace_table(text, block, path, start, end)
    if changed != text:
        write_atomic(path, changed.encode("utf-8", errors="surrogateescape"))
    return changed != text
