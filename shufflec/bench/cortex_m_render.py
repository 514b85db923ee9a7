"""Markdown, HTML and the README's table of bench-mcu: our figures measured, those of others taken over."""

from __future__ import annotations

from shufflec.bench.cortex_m_rows import PEERS, Peer, Row
from shufflec.reports.markup import Markup, element
from shufflec.reports.page import card, page

START = "<!-- table of reports/cortex-m.json: written by make bench-mcu -->"
END = "<!-- end of the Cortex-M table -->"
TITLE = "ShuffleNetV1 on Cortex-M"
_BY_HAND, _TFLM = PEERS
NOTES = (
    "shufflec's figures are measured by this bench: instructions of one inference, counted on QEMU's board of the "
    "core; weights are random (the work does not depend on them) and every output equals the NumPy reference bit for "
    "bit.",
    "Flash is code and constants in the linked firmware, without the test program. RAM is the arena, with the input in "
    "it, and the stack's worst case, computed from the compiled code.",
    f"The columns of CMSIS-NN (by hand: {_BY_HAND.split(',')[0]}'s functions in a fixed sequence) and TFLM ({_TFLM}) "
    "are taken over, not measured by this bench and not reproduced by it: they were measured elsewhere, with CMSIS-NN "
    "of 2026-07, gcc 12 -O3, clang on the M55, the same networks and the same rule of counting on QEMU's boards. "
    "Their RAM is arena and scratch, without the stack. An empty cell is not known.",
    "An MVE instruction takes about two cycles.",
)
_HEADS = ("net", "MACs", "core")
_STYLE = "main{max-width:1440px}.peer{color:var(--soft)}td.own{font-weight:600}"


def _peer(engine: str, row: Row) -> Peer | None:
    return PEERS[engine].get((row.net, row.core))


def _millions(value: int | None) -> str:
    return f"{value / 1e6:.2f} M" if value else ""


def _bytes(value: int | None) -> str:
    return f"{value:,}" if value else ""


def _columns() -> list[tuple[str, str]]:
    """(group, name) of each column behind _HEADS; others' groups end in an asterisk."""
    peers = ("CMSIS-NN*", "TFLM*")
    names = [("instructions", "shufflec"), ("instructions", "of them MVE")]
    names += [("instructions", name) for name in peers] + [("instructions", "shufflec / CMSIS-NN*")]
    for group in ("flash, bytes", "RAM, bytes"):
        names += [(group, "shufflec"), *[(group, name) for name in peers]]
    return names


def _cells(row: Row) -> list[str]:
    hand, tflm = _peer(_BY_HAND, row), _peer(_TFLM, row)
    cells = [row.net, f"{row.macs / 1e6:.2f} M", row.core, _millions(row.instructions)]
    cells += [_millions(row.vector_instructions), _millions(hand and hand.instructions)]
    cells += [_millions(tflm and tflm.instructions), f"{row.instructions / hand.instructions:.2f}" if hand else ""]
    cells += [_bytes(row.flash_bytes), _bytes(hand and hand.flash_bytes), _bytes(tflm and tflm.flash_bytes)]
    return [*cells, _bytes(row.ram_bytes), _bytes(hand and hand.ram_bytes), _bytes(tflm and tflm.ram_bytes)]


def markdown(rows: list[Row]) -> str:
    """The whole table with what its figures are."""
    heads = [*_HEADS, *(f"{group}: {name}" for group, name in _columns())]
    lines = [f"# {TITLE}", ""]
    for note in NOTES:
        lines += [note, ""]
    lines += ["\\* measured elsewhere, not by this bench.", ""]
    lines += [_line(heads), _line(["---", "---:", "---", *["---:"] * len(_columns())])]
    return "\n".join([*lines, *(_line(_cells(row)) for row in rows)]) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def readme_block(rows: list[Row]) -> str:
    """The rows that have another engine's figure beside them, between the README's markers."""
    heads = ["net, g=3", "core", "**shufflec**", "CMSIS-NN*", "TFLM*", "**flash, RAM**", "CMSIS-NN*", "TFLM*"]
    lines = [START, _line(heads), _line(["---", "---", *["---:"] * 6])]
    for row in rows:
        hand, tflm = _peer(_BY_HAND, row), _peer(_TFLM, row)
        if hand is None:
            continue
        cells = [row.net.removesuffix(" g=3"), row.core.removeprefix("cortex-").upper()]
        cells += [f"**{_millions(row.instructions)}**", _millions(hand.instructions)]
        cells += [_millions(tflm and tflm.instructions)]
        cells += [f"**{_kilobytes(row.flash_bytes, row.ram_bytes)}**", _memory(hand), _memory(tflm)]
        lines.append(_line(cells))
    return "\n".join([*lines, "", "\\* measured elsewhere, not by this bench; see reports/cortex-m.md", END])


def _memory(peer: Peer | None) -> str:
    return _kilobytes(peer.flash_bytes, peer.ram_bytes) if peer else ""


def _kilobytes(flash: int | None, ram: int | None) -> str:
    if not flash and not ram:
        return ""
    return ", ".join(f"{value / 1e3:.1f} KB" if value else "?" for value in (flash, ram))


def html(rows: list[Row]) -> str:
    """The whole page as text, in the reports' style."""
    columns = _columns()
    groups = {group: sum(each == group for each, _ in columns) for group, _ in columns}
    top = [element("th", "", colspan=len(_HEADS)), *(element("th", g, colspan=n) for g, n in groups.items())]
    heads = [element("th", name, class_="n" if name == "MACs" else None) for name in _HEADS]
    heads += [element("th", name, class_="n peer" if name.endswith("*") else "n") for _, name in columns]
    body = [element("tr", *_table_cells(row, columns)) for row in rows]
    table = element("table", element("thead", element("tr", *top), element("tr", *heads)), element("tbody", *body))
    body = element(
        "main",
        element("h1", TITLE),
        element("section", element("div", table, class_="scroll"), class_="card"),
        card(
            "What the figures are",
            element(
                "ul",
                *[element("li", note) for note in NOTES],
                element("li", "* measured elsewhere, not by this bench."),
            ),
        ),
        element("footer", "Written by make bench-mcu; shufflec's figures are in the .json beside this file."),
    )
    return page(TITLE, body, _STYLE)


def _table_cells(row: Row, columns: list[tuple[str, str]]) -> list[Markup]:
    cells = _cells(row)
    made = [element("td", cell, class_="n" if i == 1 else None) for i, cell in enumerate(cells[: len(_HEADS)])]
    for (_, name), cell in zip(columns, cells[len(_HEADS) :], strict=True):
        style = " peer" if name.endswith("*") else " own" if name == "shufflec" else ""
        made.append(element("td", cell, class_=f"n{style}"))
    return made
