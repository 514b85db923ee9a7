"""Two cards of report.html: the roofline with the best possible time, and what the core waited for in each layer."""

from __future__ import annotations

from shufflec.reports import cost_words, wording
from shufflec.reports.charts import legend, waits_chart
from shufflec.reports.markup import Markup, element, join
from shufflec.reports.page_style import wait_colour
from shufflec.reports.roofline_chart import roofline_chart
from shufflec.reports.schema import Report


def roofline_content(report: Report) -> list[Markup]:
    """Empty where the board's ceilings are not known."""
    roof, cost = report.roofline, report.cost
    if roof is None or cost is None:
        return []
    lines = [cost_words.floor_line(report, roof), cost_words.roofline_line(report, roof)]
    chart = roofline_chart(report)
    words = (
        "Each dot is a layer with multiplies, as large as its share of the time: how fast it multiplies, over how many "
        "multiplies it does for a byte that comes into the first cache. A ring: the same for a byte that moves between "
        "the last cache and DRAM. A dot far below all ceilings waits for something that no ceiling shows: see below. "
        "The bandwidths are the time model's, fitted to whole networks, not the memory chips'."
    )
    ceilings = join(join((element("dt", name), element("dd", words))) for name, words in cost_words.ceiling_lines(roof))
    return [
        element("p", ". ".join(line[:1].upper() + line[1:] for line in lines) + "."),
        *([element("p", words, class_="soft"), legend(report), chart] if chart is not None else []),
        element("dl", ceilings),
        element("details", element("summary", "Each layer under the ceilings"), _table(report)),
    ]


def waits_content(report: Report) -> list[Markup]:
    """Empty for a report without a time; for a measured one, which layers cost most and that the rest is not known."""
    cost = report.cost
    if cost is None or cost.milliseconds is None:
        return []
    costly = [element("li", cost_words.costly_line(report, one)) for one in cost.costliest]
    if cost.estimate is None:
        unknown = "The layers that cost most. A real board does not say what its core waited for in them."
        return [element("p", unknown), element("ol", *costly)]
    content = [element("p", "The layers that cost most, and why:"), element("ol", *costly)]
    seen = [name for name in cost_words.WAITS if any(cost_words.layer_waits(one)[name] > 0 for one in report.layers)]
    colours = element(
        "div",
        *[element("span", element("i", class_=wait_colour(name)), cost_words.WAITS[name][0]) for name in seen],
        class_="legend",
    )
    meanings = [join((element("dt", words), element("dd", meaning))) for words, meaning in
                (cost_words.WAITS[name] for name in seen)]  # fmt: skip
    return [
        *content,
        colours,
        waits_chart(report),
        element("details", element("summary", "What the words mean"), element("dl", join(meanings))),
    ]


def _table(report: Report) -> Markup:
    cost = report.cost
    assert cost is not None
    heads = ["layer", f"time, {cost.kind}", "best possible", "MAC/s", "cycles/MAC"]
    events = cost.estimate is not None
    if events:
        heads += ["bound", "load misses", "store misses", "DRAM lines"]
    rows = []
    for layer in report.layers:
        roof, parts = layer.roofline, layer.estimate
        cells = [
            layer.name,
            wording.milliseconds(layer.milliseconds),
            wording.milliseconds(roof.floor_ms if roof else None),
            wording.short_count(layer.macs_per_second),
            cost_words.cycles_per_mac(layer.cycles_per_mac),
        ]
        if events and parts is not None:
            cells += [
                cost_words.bound(roof),
                wording.count(parts.l1_load_misses),
                wording.count(parts.l1_store_misses),
                wording.count(parts.dram_lines),
            ]
        rows.append(_row(cells))
    table = element("table", element("thead", _row(heads, "th")), element("tbody", *rows))
    return element("div", table, class_="scroll")


def _row(cells: list[str], name: str = "td") -> Markup:
    return element("tr", *[element(name, cell, class_="n" if i else None) for i, cell in enumerate(cells)])
