"""Markdown, HTML and terminal tables of a bench report."""

from __future__ import annotations

from collections.abc import Sequence

from shufflec.bench.report import OWN_NAME, BenchReport, Column, Row, network_title
from shufflec.reports.markup import Markup, element, join
from shufflec.reports.page import card, page

TITLE = "One inference, shufflec beside other engines"
_EQUAL = 0.05
_TABLE_STYLE = (
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}"
    "td.n,th.n{text-align:right}tr.own td{font-weight:600}td.best{color:var(--good)}td.wrong{color:var(--bad)}"
)


def column_title(column: Column) -> str:
    """E.g. "Cortex-A72 (rasp4), g=3"."""
    target, core, groups = column
    return f"{core.replace('cortex', 'Cortex').replace('-a', '-A')} ({target}), {network_title(groups)}"


def engine_title(engine: tuple[str, str]) -> str:
    """E.g. "ncnn int8, packing off"."""
    return " ".join(engine)


def cell_text(row: Row | None) -> str:
    """Millions of instructions, estimated time and the correlation r, as in "52.2 M, 41.0 ms, r 0.9991".

    Without a count: "does not run".
    """
    if row is None:
        return ""
    if row.total is None:
        return "does not run"
    figures = f"{row.total / 1e6:.1f} M"
    if row.milliseconds is not None:
        figures += f", {row.milliseconds:.1f} ms"
    if row.correlation is None:
        return f"{figures}, wrong"
    return f"{figures}, {'r' if row.right else 'wrong: r'} {row.correlation:.4f}"


def table(report: BenchReport, columns: Sequence[Column]) -> list[list[str]]:
    """Header and lines of one of the comparison's tables as text."""
    lines = [["engine", *map(column_title, columns)]]
    for engine in report.engines(columns):
        lines.append([engine_title(engine), *(cell_text(report.find(engine, column)) for column in columns)])
    return lines


def verdicts(report: BenchReport) -> list[str]:
    """shufflec against the best right peers of each column, and where instructions and time disagree.

    Nothing for a column in which either side did not run.
    """
    sentences = []
    for column in report.columns():
        own, peer, fastest = report.own(column), report.best_peer(column), report.fastest_peer(column)
        if own is None or own.total is None or peer is None or peer.total is None:
            continue
        words = (
            f"{column_title(column)}: shufflec {own.total / 1e6:.1f} M, best other engine {_name(peer)} "
            f"{peer.total / 1e6:.1f} M: {_share(own.total / peer.total, 'fewer', 'more')}."
        )
        if fastest is not None and own.milliseconds is not None:
            words += (
                f" Estimated {own.milliseconds:.1f} ms, best {_name(fastest)} {fastest.milliseconds:.1f} ms: "
                f"{_share(own.milliseconds / fastest.milliseconds, 'less', 'more')}."
            )
        sentences.append(words)
    return sentences


def disagreements(report: BenchReport) -> list[str]:
    """Right engines of a column that have fewer instructions than another but take longer: time decides.

    Differences of up to 5 % in either count as none. Each engine is set beside the fastest that beats it so.
    """
    sentences = []
    for column in report.columns():
        rows = [row for row in report.rows if row.column == column and row.right and row.milliseconds is not None]
        for row in rows:
            faster = [
                other
                for other in rows
                if row.total < (1 - _EQUAL) * other.total and other.milliseconds < (1 - _EQUAL) * row.milliseconds
            ]
            if faster:
                best = min(faster, key=lambda other: other.milliseconds)
                sentences.append(
                    f"{column_title(column)}: {_name(row)} has fewer instructions than {_name(best)} "
                    f"({row.total / 1e6:.1f} M, {best.total / 1e6:.1f} M) but takes longer "
                    f"({row.milliseconds:.1f} ms, {best.milliseconds:.1f} ms); time decides."
                )
    return sentences


def _name(row: Row) -> str:
    return engine_title((row.engine, row.precision))


def _share(share: float, below: str, above: str) -> str:
    return f"{abs(1 - share):.0%} {below if share < 1 else above}"


def notes(report: BenchReport) -> list[str]:
    """How each engine was set up, and why those that did not run did not."""
    setups: dict[str, str] = {}
    for row in report.rows:
        if row.version:
            setups.setdefault(engine_title((row.engine, row.precision)), f"{row.version}; {row.how}")
    lines = [f"{name}: {words}" for name, words in setups.items()]
    for row in report.rows:
        if row.reason:
            where = column_title(row.column)
            lines.append(f"{_name(row)}, {where}: does not run: {row.reason}")
    return lines


def _facts(report: BenchReport) -> list[str]:
    macs = ", ".join(f"{network_title(groups)} {count / 1e6:.1f} M" for groups, count in report.macs.items())
    versions = ", ".join(f"{name} {version}" for name, version in report.environment.items())
    return [f"{report.workload} MACs: {macs}.", report.method, f"Environment: {versions}."]


def markdown(report: BenchReport) -> str:
    """The tables as GitHub Markdown, with setup and method below them."""
    parts = [f"# {TITLE}", "\n\n".join(_facts(report))]
    for columns in report.tables():
        header, *lines = [[cell.replace("|", "\\|") for cell in line] for line in table(report, columns)]
        rows = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    groups = (verdicts(report), disagreements(report), notes(report))
    parts += ["\n".join(f"- {sentence}" for sentence in group) for group in groups if group]
    return "\n\n".join(parts) + "\n"


def html(report: BenchReport) -> str:
    """The same as one self-contained page."""
    tables = [element("div", _html_table(report, columns), class_="scroll") for columns in report.tables()]
    sentences = [*verdicts(report), *disagreements(report)]
    body = element(
        "main",
        element("h1", TITLE),
        *(element("p", fact, class_="soft") for fact in _facts(report)),
        *(element("section", shown, class_="card") for shown in tables),
        card("In one line each", _list(sentences)),
        card("How each engine was run", _list(notes(report))),
        element("footer", "Written by `shufflec bench peers`; the same figures are in the .json beside this file."),
    )
    return page(TITLE, body, _TABLE_STYLE)


def _html_table(report: BenchReport, columns: Sequence[Column]) -> Markup:
    best = {column: report.best_peer(column) for column in columns}
    titles = [element("th", column_title(column), class_="n") for column in columns]
    body = []
    for engine in report.engines(columns):
        cells = [element("td", engine_title(engine))]
        for column in columns:
            row = report.find(engine, column)
            style = "n"
            if row is not None and row.total is not None:
                style += "" if row.right else " wrong"
                style += " best" if row is best[column] else ""
            cells.append(element("td", cell_text(row), class_=style))
        body.append(element("tr", *cells, class_="own" if engine[0] == OWN_NAME else None))
    return element("table", element("tr", element("th", "Engine"), *titles), *body)


def _list(sentences: list[str]) -> Markup:
    return element("ul", join(element("li", sentence) for sentence in sentences))
