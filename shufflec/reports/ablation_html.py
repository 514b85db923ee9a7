"""An ablation as one self-contained page."""

from __future__ import annotations

from shufflec.reports import ablation_words as words
from shufflec.reports.ablation import AblationReport
from shufflec.reports.ablation_chart import STYLE, error_chart, legend, shuffle_chart
from shufflec.reports.markup import Markup, element, join
from shufflec.reports.page import card, page

_KEY = "Faint dots are single trainings; the full dot is their mean, the bar its 95 % interval."


def html(report: AblationReport) -> str:
    """The whole page as text. Equal reports give equal pages; every string is escaped."""
    parts = [
        element("h1", words.TITLE),
        element("p", words.facts(report), class_="soft"),
        card("In one line each", _list(words.sentences(report))),
        card("Top-1 error", legend(), error_chart(report), _caption(_KEY)),
    ]
    if shuffles := words.shuffle_table(report):
        note = "Points of top-1 error less with shuffle: above the dashed line the shuffle helps, below it harms."
        parts.append(card(words.SHUFFLE_TITLE, _caption(note), shuffle_chart(report), _table(shuffles)))
    parts += [
        card(words.GROUPS_TITLE, _table(words.groups_table(report))),
        card("How it was measured", _list(words.notes(report))),
        element("footer", "Written by `shufflec ablate`; the same figures are in the .json beside this file."),
    ]
    return page(words.TITLE, element("main", *parts), STYLE)


def _caption(text: str) -> Markup:
    return element("p", text, class_="soft small")


def _list(sentences: list[str]) -> Markup:
    return element("ul", join(element("li", sentence) for sentence in sentences))


def _table(lines: list[list[str]]) -> Markup:
    header, *rest = lines
    head = element("tr", *(element("th", cell, class_="n") for cell in header))
    body = [element("tr", *(element("td", cell, class_="n") for cell in line)) for line in rest]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")
