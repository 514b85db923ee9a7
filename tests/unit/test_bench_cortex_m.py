"""bench-mcu's tables: our figures measured, others' labelled as such, and the README the same as the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shufflec.bench.cortex_m import read_rows, write_reports
from shufflec.bench.cortex_m_render import END, START, html, markdown, readme_block
from shufflec.bench.cortex_m_rows import PEERS, Row
from shufflec.bench.readme_table import read_readme, replace_table
from shufflec.errors import InputFileError, WrongResultError

ROOT = Path(__file__).parents[2]
ROW = Row("0.25x 64x64 g=3", "cortex-m4", 1_442_592, 2_739_417, 0, 111_338, 16_080, 15_792, 288, True)
OTHER = replace(ROW, net="1x 64x64 g=8", core="cortex-m55", vector_instructions=1_000_000)


def test_figures_of_others_stand_beside_ours_and_say_so():
    text = markdown([ROW, OTHER])
    lines = text.splitlines()
    assert (
        "| 0.25x 64x64 g=3 | 1.44 M | cortex-m4 | 2.74 M |  | 8.82 M | 9.21 M | 0.31 "
        "| 111,338 | 127,840 | 252,860 | 16,080 | 37,824 | 76,404 |"
    ) in lines
    assert "| 1.00 M |  |  |  | 111,338 |  |  | 16,080 |  |  |" in lines[-1]
    assert "not measured by this bench and not reproduced by it" in text
    heads = next(line for line in lines if line.startswith("| net")).split(" | ")
    assert all(head.rstrip(" |").endswith("*") for head in heads if "CMSIS" in head or "TFLM" in head)


def test_the_page_has_every_figure_of_the_table():
    page = html([ROW, OTHER])
    cells = [cell.strip() for cell in markdown([ROW]).splitlines()[-1].strip("|").split("|")]
    assert all(f">{cell}</td>" in page for cell in cells if cell)
    assert page.count("<tr>") == 2 + 2
    assert "not measured by this bench and not reproduced by it" in page
    assert "<script" not in page


def test_reports_are_written_and_read_again(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    write_reports([ROW, OTHER], tmp_path, readme)
    assert read_rows(tmp_path / "cortex-m.json") == [ROW, OTHER]
    assert (tmp_path / "cortex-m.html").read_text() == html([ROW, OTHER])
    assert readme.read_text() == f"before\n{readme_block([ROW])}\nafter\n"


def test_figures_of_a_wrong_answer_are_not_published(tmp_path):
    with pytest.raises(WrongResultError, match="differ from the integer reference"):
        write_reports([replace(ROW, equal=False)], tmp_path)
    assert not (tmp_path / "cortex-m.md").exists()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"net": "x"}]', "[" + "9" * 5000 + "]"])
def test_another_file_is_refused(text, tmp_path):
    path = tmp_path / "cortex-m.json"
    path.write_text(text)
    with pytest.raises(InputFileError, match="holds no figures of bench-mcu"):
        read_rows(path)


def test_what_is_published_is_one_run():
    rows = read_rows(ROOT / "reports" / "cortex-m.json")
    assert {(row.net, row.core) for row in rows} >= {key for table in PEERS.values() for key in table}
    assert (ROOT / "reports" / "cortex-m.md").read_text() == markdown(rows)
    assert (ROOT / "reports" / "cortex-m.html").read_text() == html(rows)
    text = read_readme(ROOT / "README.md")
    assert replace_table(text, readme_block(rows), "README.md", START, END) == text


@pytest.mark.parametrize(
    ("net", "core", "instructions", "flash", "ram"),
    [
        ("0.25x 64x64 g=3", "cortex-m4", 3_400_000, 112_000, 20_000),
        ("0.25x 64x64 g=3", "cortex-m7", 3_400_000, 112_000, 20_000),
        ("0.25x 64x64 g=3", "cortex-m55", 850_000, 112_000, 20_000),
        ("0.5x 96x96 g=3", "cortex-m4", 14_000_000, 315_000, 45_000),
        ("0.5x 96x96 g=3", "cortex-m55", 4_200_000, 315_000, 45_000),
    ],
)
def test_the_published_figures_keep_within_their_limits(net, core, instructions, flash, ram):
    (row,) = [r for r in read_rows(ROOT / "reports" / "cortex-m.json") if (r.net, r.core) == (net, core)]
    assert row.instructions <= instructions
    assert row.flash_bytes <= flash
    assert row.ram_bytes <= ram
