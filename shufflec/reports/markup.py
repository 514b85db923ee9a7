"""Elements of HTML and SVG as text. Every text and attribute value is escaped here and nowhere else."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is markup already. Plain str is untrusted and gets escaped."""


def text(value: object) -> Markup:
    """Escapes a value unless it is Markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def element(name: str, *children: object, **attributes: object) -> Markup:
    """<name attributes>children</name>.

    Underscores at the end of attribute names are dropped (class_), others become hyphens; an attribute that is None
    is left out. Floats are written with at most two decimals, so that pages stay small and deterministic.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: object) -> Markup:
    """Escapes and concatenates children; None is nothing."""
    return Markup("".join(text(child) for child in children if child is not None))


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def svg(width: float, height: float, label: str, *children: object) -> Markup:
    """An <svg> that scales to the width it is given and scrolls where that is too little.

    label: its text for screen readers.
    """
    box = f"0 0 {_number(float(width))} {_number(float(height))}"
    drawing = element("svg", *children, viewBox=box, role="img", aria_label=label)
    return element("div", drawing, class_="scroll")
