"""The README's table: made of the report, between its markers, and the same as reports/arm-linux.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from shufflec.bench.readme_table import END, START, check_readme, readme_table, replace_table, update_readme
from shufflec.bench.report import BenchReport, Row, read_report
from shufflec.errors import InputFileError

ROOT = Path(__file__).parents[2]


def _row(engine: str, millions: float | None, r: float | None, **more: object) -> Row:
    instructions = None if millions is None else {"simd": int(millions * 1e6)}
    return Row("rasp4", "cortex-a72", 3, engine, "int8", "", "", instructions, r, **more)


REPORT = BenchReport(
    "",
    "",
    {},
    {},
    (
        _row("ncnn", 58.2, 0.9977, milliseconds=30.04),
        _row("other", 20.0, 0.4),
        _row("gone", None, None, reason="no wheel"),
        _row("shufflec", 34.3, 0.9983, milliseconds=15.1),
    ),
)


def test_the_table() -> None:
    assert readme_table(REPORT).splitlines() == [
        START,
        "| engine | Pi 4 (A72), g=3 |",
        "| --- | ---: |",
        "| **shufflec int8** | **34.3 M, 15.1 ms**, 0.998 |",
        "| ncnn int8 | 58.2 M, 30.0 ms, 0.998 |",
        "| other int8 | wrong, 0.400 |",
        "| gone int8 | does not run |",
        END,
    ]


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\n{START}\nold\n{END}\n\nThe rest – as it was.\n")
    assert update_readme(path, REPORT)
    assert path.read_text() == f"# Title\n\n{readme_table(REPORT)}\n\nThe rest – as it was.\n"
    assert not update_readme(path, REPORT)


@pytest.mark.parametrize("text", ["no markers", START, f"{END}\n{START}", f"{START}{END}{START}{END}"])
def test_a_readme_without_a_place_is_refused_before_anything_is_measured(text: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(InputFileError, match="has no place for the bench's table"):
        check_readme(path)
    assert path.read_text() == text


def test_a_missing_readme_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        check_readme(tmp_path / "none.md")


def test_the_published_table_is_the_published_reports() -> None:
    report = read_report((ROOT / "reports" / "arm-linux.json").read_text())
    text = (ROOT / "README.md").read_text()
    assert replace_table(text, readme_table(report), "README.md") == text
