"""The comparison's data, tables and pages, on made-up rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shufflec.bench.render import cell_text, disagreements, html, markdown, notes, table, verdicts
from shufflec.bench.report import BenchReport, Row, added, correlation, load_report, read_report
from shufflec.bench.run import select
from shufflec.errors import InputFileError, OptionError


def _row(engine: str, precision: str, millions: float | None, r: float | None = 0.999, **more: object) -> Row:
    instructions = None if millions is None else {"load": int(millions * 4e5), "simd": int(millions * 6e5)}
    values = {"target": "rasp4", "core": "cortex-a72", "groups": 3, "how": "default options", "version": "1.0", **more}
    return Row(engine=engine, precision=precision, instructions=instructions, correlation=r, **values)


@pytest.fixture
def report() -> BenchReport:
    rows = (
        _row("fast but wrong", "int8", 30, 0.4),
        _row("ncnn", "float", 52.2),
        _row("ncnn", "int8", 58, None),
        _row("<b>MNN</b>", "float", None, None, reason="no network | here", version=""),
        _row("shufflec", "int8", 45.9),
    )
    return BenchReport("A network.", "Counted.", {3: 140_000_000}, {"qemu-aarch64": "7.2"}, rows)


def test_shufflec_stands_first_and_every_engine_has_a_line(report: BenchReport) -> None:
    lines = table(report, report.columns())
    assert lines[0] == ["engine", "Cortex-A72 (rasp4), g=3"]
    assert lines[1] == ["shufflec int8", "45.9 M, r 0.9990"]
    assert [line[0] for line in lines[2:]] == ["fast but wrong int8", "ncnn float", "ncnn int8", "<b>MNN</b> float"]


def test_cells_say_what_is_wrong(report: BenchReport) -> None:
    assert [cell_text(row) for row in report.rows[:4]] == [
        "30.0 M, wrong: r 0.4000",
        "52.2 M, r 0.9990",
        "58.0 M, wrong",
        "does not run",
    ]
    assert cell_text(None) == ""


def test_the_best_peer_gave_a_right_result(report: BenchReport) -> None:
    assert report.best_peer(("rasp4", "cortex-a72", 3)) is report.rows[1]
    assert verdicts(report) == [
        "Cortex-A72 (rasp4), g=3: shufflec 45.9 M, best other engine ncnn float 52.2 M: 12% fewer."
    ]


def timed(*rows: Row) -> BenchReport:
    return BenchReport("", "", {}, {}, rows)


def test_time_stands_beside_the_count_and_has_its_own_best() -> None:
    report = timed(
        _row("shufflec", "int8", 34.3, milliseconds=15.1),
        _row("few", "int8", 50, milliseconds=40.0),
        _row("fast", "int8", 51, milliseconds=30.2),
        _row("untimed", "int8", 60),
    )
    assert table(report, report.columns())[1][1] == "34.3 M, 15.1 ms, r 0.9990"
    assert verdicts(report) == [
        "Cortex-A72 (rasp4), g=3: shufflec 34.3 M, best other engine few int8 50.0 M: 31% fewer. "
        "Estimated 15.1 ms, best fast int8 30.2 ms: 50% less."
    ]


def test_where_instructions_and_time_disagree_time_decides() -> None:
    few, fast = _row("few", "int8", 50, milliseconds=40.0), _row("fast", "float", 60, milliseconds=30.0)
    assert disagreements(timed(few, fast)) == [
        "Cortex-A72 (rasp4), g=3: few int8 has fewer instructions than fast float (50.0 M, 60.0 M) but takes longer "
        "(40.0 ms, 30.0 ms); time decides."
    ]
    wrong = _row("fast", "float", 60, 0.5, milliseconds=30.0)
    close = _row("close", "int8", 49, milliseconds=41.0)
    assert disagreements(timed(few, wrong)) == []
    assert disagreements(timed(few, close)) == []


def test_a_report_is_read_back(report: BenchReport) -> None:
    assert read_report(report.to_json()) == report
    with pytest.raises(ValueError, match="schema 2, expected 1"):
        read_report(report.to_json().replace('"schema": 1', '"schema": 2'))


@pytest.fixture
def both(report: BenchReport) -> BenchReport:
    rows = (_row("ncnn", "float", 61, groups=None), _row("shufflec", "int8", 36, groups=None))
    return BenchReport("", "", {None: 145_000_000}, {"qemu-aarch64": "8"}, rows)


def test_the_second_network_has_a_table_of_its_own(report: BenchReport, both: BenchReport) -> None:
    whole = added(report, both)
    assert [[column[2] for column in columns] for columns in whole.tables()] == [[3], [None]]
    assert table(whole, whole.tables()[1])[:2] == [
        ["engine", "Cortex-A72 (rasp4), V2"],
        ["shufflec int8", "36.0 M, r 0.9990"],
    ]
    assert len(table(whole, whole.tables()[1])) == 3
    assert markdown(whole).count("| --- |") == 2
    assert html(whole).count("<table") == 2
    assert read_report(whole.to_json()) == whole


def test_added_rows_take_the_place_of_the_same_ones(report: BenchReport, both: BenchReport) -> None:
    newer = BenchReport("", "", {3: 1}, {}, (_row("ncnn", "float", 50), *both.rows))
    whole = added(report, newer)
    assert [row.total for row in whole.rows] == [
        30_000_000,
        50_000_000,
        58_000_000,
        None,
        45_900_000,
        61_000_000,
        36_000_000,
    ]
    assert whole.macs == {3: 1}
    assert added(report, both).macs == {3: 140_000_000, None: 145_000_000}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "macs": {"x": 1}, "rows": []}'])
def test_a_file_that_is_no_report_is_refused(text: str, tmp_path) -> None:
    path = tmp_path / "arm-linux.json"
    path.write_text(text)
    with pytest.raises(InputFileError, match="no report of `shufflec bench peers`"):
        load_report(path)


def test_no_verdict_without_both_sides(report: BenchReport) -> None:
    alone = BenchReport("", "", {}, {}, report.rows[:4])
    assert verdicts(alone) == []


def test_notes_give_reasons(report: BenchReport) -> None:
    assert notes(report)[-1] == "<b>MNN</b> float, Cortex-A72 (rasp4), g=3: does not run: no network | here"


def test_json_is_deterministic_and_complete(report: BenchReport) -> None:
    data = json.loads(report.to_json())
    assert report.to_json() == report.to_json()
    assert data["schema"] == 1
    assert data["macs"] == {"3": 140_000_000}
    assert [row["total_instructions"] for row in data["rows"]] == [30_000_000, 52_200_000, 58_000_000, None, 45_900_000]
    assert data["rows"][3]["reason"] == "no network | here"


def test_markdown_is_one_table(report: BenchReport) -> None:
    lines = [line for line in markdown(report).splitlines() if line.startswith("|")]
    assert len(lines) == 7
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}


def test_html_escapes_and_needs_no_network(report: BenchReport) -> None:
    page = html(report)
    assert "<b>MNN</b>" not in page
    assert "&lt;b&gt;MNN&lt;/b&gt;" in page
    assert "http" not in page and "<script" not in page
    assert page.count('class="n best"') == 1
    assert page.count('class="n wrong"') == 2


def test_correlation_refuses_what_is_no_result() -> None:
    reference = np.arange(8, dtype=np.float32)
    assert correlation(2 * reference + 1, reference) == 1.0
    assert correlation(-reference, reference) == -1.0
    assert correlation(reference[:4], reference) is None
    assert correlation(np.full(8, 3.0), reference) is None
    assert correlation([np.nan, *reference[1:]], reference) is None


def test_engines_are_chosen_by_a_part_of_their_name() -> None:
    own, peers = select("NCNN INT8")
    assert not own
    assert [peer.key for peer in peers] == ["ncnn int8", "ncnn int8, packing off"]
    assert select("shufflec") == (True, [])
    assert select("")[0] and len(select("")[1]) >= 6
    with pytest.raises(OptionError, match=r"--engine tensorrt.*known: shufflec, ncnn float"):
        select("tensorrt")
