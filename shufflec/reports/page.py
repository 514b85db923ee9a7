"""The frame of every page that is written: one self-contained file, its cards."""

from __future__ import annotations

from shufflec.reports.markup import Markup, element
from shufflec.reports.page_style import style_sheet


def page(title: str, main: Markup, style: str = "") -> str:
    """A whole page around its <main>. title: of the window. style: rules of this page beside the common ones."""
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'),
        element("title", title),
        element("style", Markup(style_sheet() + style)),
    )
    return f'<!doctype html>\n<html lang="en">{head}<body>{main}</body></html>\n'


def card(title: object, *children: object, badge: Markup | None = None) -> Markup:
    """A section with a heading."""
    return element("section", element("h2", title, " " if badge else None, badge), *children, class_="card")
