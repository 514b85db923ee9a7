"""report.html: one self-contained page, readable offline, without a script and in light and dark."""

from __future__ import annotations

from shufflec.reports import cost_words, wording
from shufflec.reports.charts import class_chart, layer_chart, legend, memory_chart
from shufflec.reports.html_cost import roofline_content, waits_content
from shufflec.reports.markup import Markup, element, join
from shufflec.reports.page import card, page
from shufflec.reports.schema import Cost, Report, Roofline
from shufflec.reports.shuffle_diagram import DRAWN_COLUMNS, DRAWN_ROWS, shuffle_diagram


def render(report: Report) -> str:
    """The whole page as text. Equal reports give equal pages; every string of the report is escaped."""
    title = wording.title(report)
    body = element(
        "main",
        _header(report),
        _figures(report),
        _verdicts(report),
        _layers(report),
        _cost_card(report, "Roofline and best possible time", roofline_content(report)),
        _cost_card(report, _waits_title(report), waits_content(report)),
        _classes(report),
        _memory(report),
        _shuffle(report),
        _method(report),
        element("footer", "Written by shufflec; the same figures are in report.json, beside this file."),
    )
    return page(f"{title} on {report.target.title}", body)


def _badge(words: str, style: str) -> Markup:
    return element("span", words, class_=f"badge {style}")


def _cost_badge(report: Report) -> Markup:
    """Says measured, estimated or simulated; stands beside every group of cost figures."""
    if report.cost is None:
        return _badge("not profiled yet", "note")
    return _badge(report.cost.kind, "good" if report.cost.kind == "measured" else "note")


def _header(report: Report) -> Markup:
    target = report.target
    where = f"{target.name}: {target.title}, {target.core} at {target.clock_hz / 1e9:g} GHz, {target.isa} kernels"
    badges = [_cost_badge(report)]
    if report.random_weights:
        badges.append(_badge("random weights", "bad"))
    return element(
        "header", element("h1", wording.title(report)), element("p", where, " ", join(badges), class_="soft")
    )


def _figure(name: str, value: str, *notes: str) -> Markup:
    spans = [element("span", note) for note in notes if note]
    return element("div", element("span", name, class_="name"), element("b", value), *spans, class_="figure")


def _figures(report: Report) -> Markup:
    cost, accuracy = report.cost, report.accuracy
    cards = []
    if cost is not None:
        if cost.milliseconds is not None:
            cards.append(_time(cost))
        if report.roofline is not None and report.roofline.times_floor is not None:
            cards.append(_floor(report.roofline, cost))
        if cost.instructions is not None:
            per_mac = cost.instructions / report.macs if report.macs else 0
            cards.append(
                _figure(
                    "Instructions", wording.short_count(cost.instructions), f"{_counted(cost)}, one inference",
                    f"{per_mac:.2f} per MAC",
                )
            )  # fmt: skip
    parameters = f"{wording.short_count(report.parameters)} parameters" if report.parameters is not None else ""
    cards += [
        _figure("MACs", wording.short_count(report.macs), "one inference", parameters),
        _figure(
            "Channel shuffles", f"{report.shuffle.copies_left} copies",
            f"{report.shuffle.found} found, {report.shuffle.folded} folded away",
        ),
        _figure(
            "Activations", wording.kibibytes(report.peak_activation_bytes), "peak",
            f"lower bound {wording.kibibytes(report.lower_bound_bytes)}",
        ),
        *_stack(report),
        _figure(
            "Program", wording.kibibytes(report.code_bytes + report.weight_bytes),
            f"code {wording.kibibytes(report.code_bytes)}", f"weights {wording.kibibytes(report.weight_bytes)}",
        ),
    ]  # fmt: skip
    if accuracy.int8_top1 is not None and not report.random_weights:
        cards.append(
            _figure(
                "Top-1, int8", wording.percent(accuracy.int8_top1, 2),
                f"float {wording.percent(accuracy.float_top1, 2)}",
                f"on {accuracy.dataset}" if accuracy.dataset else "",
            )
        )  # fmt: skip
    return element("div", *cards, class_="figures")


def _stack(report: Report) -> list[Markup]:
    if report.stack_bytes is None:
        return []
    seen = report.deepest_stack_bytes
    notes = ["worst case, by the code", "" if seen is None else f"deepest seen {seen:,} B, with the test program's"]
    return [_figure("Stack", f"{report.stack_bytes:,} B", *notes)]


def _time(cost: Cost) -> Markup:
    notes = [f"{cost.kind}, one inference", wording.threads(cost.threads)]
    if cost.uncertainty_percent is not None:
        where = wording.place(cost.board)
        notes = [f"estimated, +-{cost.uncertainty_percent:g} %", f"{where}, {wording.threads(cost.threads)}"]
    return _figure("Time", wording.milliseconds(cost.milliseconds), *notes)


def _floor(roof: Roofline, cost: Cost) -> Markup:
    per_mac = f"{cost_words.cycles_per_mac(cost.cycles_per_mac)} cycles per MAC" if cost.cycles_per_mac else ""
    best = f"of {wording.milliseconds(roof.floor_ms)}, best possible on this board"
    return _figure("Above the floor", f"{roof.times_floor:.3g}x", best, per_mac)


def _counted(cost: Cost) -> str:
    """Instructions are counted in an emulator even where the time is estimated from them."""
    return "counted in an emulator" if cost.kind in ("estimated", "counted") else cost.kind


def _verdicts(report: Report) -> Markup:
    check, copies = report.verification, report.shuffle.copies_left
    if check is None:
        outputs = _badge("unchecked", "note")
    else:
        outputs = _badge("equal", "good") if check.equal else _badge("not equal", "bad")
    lines = [
        (outputs, "Outputs: " + wording.verification_line(report)),
        (_badge("no copies", "good") if not copies else _badge("copies", "bad"), wording.shuffle_line(report)),
    ]
    if report.cost is not None:
        close = abs(report.cost.layer_sum_difference) <= 0.03
        badge = _badge("adds up", "good") if close else _badge("does not add up", "note")
        lines.append((badge, wording.sum_line(report.cost)))
        if report.cost.milliseconds is None:
            words = wording.time_line(report, report.cost)
            lines.append((_badge("instructions only", "note"), words[:1].upper() + words[1:]))
        if other := wording.other_board_line(report, report.cost):
            lines.append((_badge("another board", "note"), other[:1].upper() + other[1:]))
    if report.random_weights:
        lines.append((_badge("untrained", "bad"), wording.accuracy_line(report)))
    return element("ul", *[element("li", badge, " ", line) for badge, line in lines], class_="verdicts")


def _layers(report: Report) -> Markup:
    unit = wording.weight_unit(report)
    titles = {"instructions": "Instructions per layer", "ms": "Time per layer", "MACs": "MACs per layer"}
    badge = None if unit == "MACs" else _cost_badge(report)
    table = element("details", element("summary", "The same as a table"), _layer_table(report))
    return card(titles[unit], legend(report), layer_chart(report), table, badge=badge)


def _layer_table(report: Report) -> Markup:
    heads = ["layer", "kind", "output", "MACs"]
    counted = report.cost is not None and report.cost.instructions is not None
    if counted:
        heads.append("instructions")
    timed = report.cost is not None and report.cost.milliseconds is not None
    if timed:
        heads.append(f"time, {report.cost.kind}")
    if report.cost is not None:
        heads.append("share")

    def row(cells: list[str], name: str = "td") -> Markup:
        return element("tr", *[element(name, cell, class_="n" if i > 2 else None) for i, cell in enumerate(cells)])

    rows = []
    for layer in report.layers:
        cells = [layer.name, layer.kind, wording.shape(layer.shape), wording.count(layer.macs)]
        if counted:
            cells.append(wording.count(layer.instructions))
        if timed:
            cells.append(wording.milliseconds(layer.milliseconds))
        if report.cost is not None:
            cells.append(wording.percent(layer.share))
        rows.append(row(cells))
    total = ["whole network", "", "", wording.count(report.macs)]
    if counted:
        total.append(wording.count(report.cost.instructions))
    if timed:
        total.append(wording.milliseconds(report.cost.milliseconds))
    if report.cost is not None:
        total.append("")
    table = element("table", element("thead", row(heads, "th")), element("tbody", *rows), element("tfoot", row(total)))
    return element("div", table, class_="scroll")


def _cost_card(report: Report, title: str, content: list[Markup]) -> Markup | None:
    return card(title, *content, badge=_cost_badge(report)) if content else None


def _waits_title(report: Report) -> str:
    known = report.cost is not None and report.cost.estimate is not None
    return "What the core waited for" if known else "The costliest layers"


def _classes(report: Report) -> Markup | None:
    if report.cost is None or not report.cost.instructions_by_class:
        return None
    badge = _badge("counted in an emulator", "note")
    return card("Instructions by class", class_chart(report.cost.instructions_by_class), badge=badge)


def _memory(report: Report) -> Markup | None:
    if not report.memory:
        return None
    text = (
        "Every activation lies in one arena that is planned at compile time. Each block is a tensor: from the layer "
        "that writes it to the last one that reads it, left to right; its bytes in the arena, bottom to top."
    )
    return card("Memory over time", element("p", text, class_="soft"), legend(report), memory_chart(report))


def _shuffle(report: Report) -> Markup:
    shuffle = report.shuffle
    if not shuffle.sites:
        return card("The channel shuffle", element("p", wording.shuffle_line(report), class_="soft"))
    site, copied = shuffle.sites[0], wording.kibibytes(shuffle.copied_bytes)
    text = (
        f"{wording.shuffle_line(report)}. As copies they would read and write {copied} each way "
        f"in one inference. {site.layer} is the first: {site.shape[2]} channels as {site.rows} rows of "
        f"{site.shape[2] // max(site.rows, 1)}, transposed"
    )
    drawn = f"drawn with {min(site.rows, DRAWN_ROWS)} rows of {DRAWN_COLUMNS} channels"
    rows = [
        (each.layer, f"{each.rows} rows of {each.shape[2] // max(each.rows, 1)}", wording.shape(each.shape))
        for each in shuffle.sites
    ]
    table = element(
        "table",
        element("thead", element("tr", *[element("th", head) for head in ("written by", "transposed", "tensor")])),
        element("tbody", *[element("tr", *[element("td", cell) for cell in cells]) for cells in rows]),
    )
    return card(
        "The channel shuffle, before and after",
        element("p", f"{text} ({drawn}).", class_="soft"),
        shuffle_diagram(site, report.variant),
        element("details", element("summary", f"All {len(rows)}"), element("div", table, class_="scroll")),
    )


def _method(report: Report) -> Markup:
    cost, check = report.cost, report.verification
    items: list[tuple[str, str]] = []
    if cost is not None:
        items += [
            ("figures", f"{cost.kind}: {cost.method}"),
            *([("parts", wording.parts_line(cost.estimate))] if cost.estimate is not None else []),
            ("energy", "left out: no figure of this board's power to rest it on"),
            ("device", cost.device),
            ("runs", f"{cost.repeats} of the network and of each layer, {wording.threads(cost.threads)}"),
        ]
    if check is not None:
        items.append(("outputs", wording.verification_line(report)))
    items.append(("accuracy", wording.accuracy_line(report)))
    items += sorted(report.environment.items())
    rows = [join((element("dt", name), element("dd", value))) for name, value in items]
    return card("How this was made", element("dl", *rows), badge=_cost_badge(report))
