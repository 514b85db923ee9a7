"""reports/SCHEMA.md, generated from the dataclasses: python -m shufflec.reports.schema_doc > reports/SCHEMA.md"""

from __future__ import annotations

import sys
import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from shufflec.reports.schema import SCHEMA_VERSION, Report

_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def schema_markdown() -> str:
    """The schema of report.json as Markdown, one table for each kind of object, the report's own first."""
    parts = [
        f"# report.json, schema version {SCHEMA_VERSION}\n\n"
        "Generated from `shufflec/reports/schema.py` by `python -m shufflec.reports.schema_doc`; do not edit.\n\n"
        "Every field is always there. Numbers are finite and, unless said otherwise, zero or more. A reader must "
        "refuse a file whose `schema` it does not know.\n"
    ]
    waiting: list[type] = [Report]
    done: list[type] = []
    while waiting:
        kind = waiting.pop(0)
        if kind in done:
            continue
        done.append(kind)
        hints, annotated = get_type_hints(kind), get_type_hints(kind, include_extras=True)
        rows = []
        for item in fields(kind):
            waiting += _dataclasses(hints[item.name])
            meaning = "; ".join(annotated[item.name].__metadata__)
            rows.append(f"| `{item.name}` | {_words(hints[item.name])} | {meaning} |")
        head = "\n| field | type | meaning |\n|---|---|---|\n"
        parts.append(f"\n## {kind.__name__}\n\n{kind.__doc__}\n{head}" + "\n".join(rows) + "\n")
    return "".join(parts)


def _dataclasses(hint: Any) -> list[type]:
    if is_dataclass(hint):
        return [hint]
    return [found for part in get_args(hint) for found in _dataclasses(part)]


def _words(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(part) for part in parts if part is not type(None)) + " or null"
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return f"list of {_words(parts[0])}"
        return f"list of {len(parts)}: {', '.join(_words(part) for part in parts)}"
    if origin is dict:
        return f"object of text to {_words(parts[1])}"
    return hint.__name__ if is_dataclass(hint) else _NAMES[hint]


if __name__ == "__main__":
    sys.stdout.write(schema_markdown())
