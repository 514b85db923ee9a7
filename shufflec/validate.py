"""Builds typed dataclasses from untrusted JSON values, driven by the dataclasses' own type hints.

A hint is int, float, str, bool, a Literal of strings, X | None, tuple[X, ...], tuple[X, X], dict[str, X] or another
dataclass. Numbers are finite and not negative, except in fields annotated with SIGNED.
"""

from __future__ import annotations

import math
import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

SIGNED = "may be negative"
MAX_ITEMS = 20_000
MAX_TEXT = 2_000
MAX_INTEGER = 2**63 - 1


class ValidationError(ValueError):
    """A JSON value of another shape than the dataclass says; the message names the place, as in layers[3].kind."""


def build(kind: type, value: Any, where: str = "") -> Any:
    """Builds an instance of the dataclass `kind` from a parsed JSON object.

    Raises ValidationError that names the first place that is missing, unknown, of another type or out of range.
    """
    return _dataclass(kind, value, where)


def _fail(where: str, expected: str, value: Any) -> ValidationError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return ValidationError(f"{where or 'the report'} is {shown}, expected {expected}")


def _dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _fail(where, "an object", value)
    prefix = f"{where}." if where else ""
    names = {item.name for item in fields(kind)}
    unknown = sorted(str(key) for key in value.keys() - names)
    if unknown:
        name = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in unknown[0][:60])
        raise ValidationError(f"{prefix}{name} is not a field of this schema version")
    hints, annotated = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    built = {}
    for item in fields(kind):
        place = prefix + item.name
        if item.name not in value:
            raise ValidationError(f"{place} is missing")
        signed = SIGNED in getattr(annotated[item.name], "__metadata__", ())
        built[item.name] = _value(hints[item.name], value[item.name], place, signed)
    return kind(**built)


def _value(hint: Any, value: Any, where: str, signed: bool) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (option for option in get_args(hint) if option is not type(None))
        return _value(hint, value, where, signed)
    if origin is Literal:
        options = get_args(hint)
        if not isinstance(value, str) or value not in options:
            raise _fail(where, "one of " + ", ".join(options), value)
        return value
    if origin is tuple:
        return _tuple(get_args(hint), value, where, signed)
    if origin is dict:
        if not isinstance(value, dict) or len(value) > MAX_ITEMS:
            raise _fail(where, "an object", value)
        item_hint = get_args(hint)[1]
        return {
            _text(key, where): _value(item_hint, item, f"{where}.{key[:60]}", signed) for key, item in value.items()
        }
    if is_dataclass(hint):
        return _dataclass(hint, value, where)
    if hint is str:
        return _text(value, where)
    if hint is bool:
        if not isinstance(value, bool):
            raise _fail(where, "true or false", value)
        return value
    return _number(hint, value, where, signed)


def _tuple(items: tuple, value: Any, where: str, signed: bool) -> tuple:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise _fail(where, f"a list of at most {MAX_ITEMS} items", value)
    if items[-1] is not Ellipsis and len(value) != len(items):
        raise _fail(where, f"a list of {len(items)} items", value)
    hints = [items[0]] * len(value) if items[-1] is Ellipsis else items
    return tuple(
        _value(hint, item, f"{where}[{i}]", signed) for i, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise _fail(where, f"a text of at most {MAX_TEXT} characters", value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _fail(where, "a text without lone surrogates", value) from None
    return value


def _number(hint: type, value: Any, where: str, signed: bool) -> int | float:
    whole = hint is int
    allowed = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise _fail(where, "a whole number" if whole else "a number", value)
    if not math.isfinite(value) or abs(value) > MAX_INTEGER or (value < 0 and not signed):
        raise _fail(where, "a finite number" if signed else "a finite number, zero or more", value)
    return value if whole else float(value)
