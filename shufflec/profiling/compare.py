"""Compares profiles of compiled networks: whole and layer by layer, the first with each of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shufflec.errors import OptionError
from shufflec.profiling.compare_pair import Change, Pair
from shufflec.profiling.compare_side import Key, Side

MOST_SIDES = 8


@dataclass(frozen=True)
class Row:
    """A layer of any side. indices: its place in each side, None where that has no such layer. changes: from the first
    side to each of the others, None where one of the two lacks it."""

    name: str
    kind: str
    indices: tuple[int | None, ...]
    changes: tuple[Change | None, ...]


@dataclass(frozen=True)
class Comparison:
    """All sides against the first. changes: of the whole networks, one for each further side; basis: what each rests
    on, in words. notes: what makes the sides hard to compare."""

    sides: tuple[Side, ...]
    changes: tuple[Change, ...]
    basis: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def compare(sides: Sequence[Side]) -> Comparison:
    """Compares two to MOST_SIDES sides. Raises OptionError for another number."""
    if not 2 <= len(sides) <= MOST_SIDES:
        raise OptionError("BUNDLE...", len(sides), f"expected 2 to {MOST_SIDES} bundles to compare")
    pairs = [Pair(sides[0], other) for other in sides[1:]]
    places = [side.places() for side in sides]
    whole = [pair.whole() for pair in pairs]
    rows = tuple(
        Row(key[0], key[1], tuple(of.get(key) for of in places), tuple(pair.layer(key) for pair in pairs))
        for key in _in_order([list(of) for of in places])
    )
    notes = tuple(note for pair in pairs for note in _notes(pair))
    return Comparison(tuple(sides), tuple(one for one, _ in whole), tuple(words for _, words in whole), rows, notes)


def _in_order(orders: list[list[Key]]) -> list[Key]:
    """All keys once; those that only a later list has stand behind the key that they follow there."""
    merged = list(orders[0])
    for order in orders[1:]:
        at = 0
        for key in order:
            if key in merged:
                at = merged.index(key) + 1
            else:
                merged.insert(at, key)
                at += 1
    return merged


def _notes(pair: Pair) -> list[str]:
    a, b = pair.a, pair.b
    names = f"{a.letter} and {b.letter}"
    notes = []
    if a.library_sha256 == b.library_sha256:
        notes.append(f"{names} hold the same code")
    if a.input_size != b.input_size:
        sizes = " and ".join("x".join(map(str, side.input_size)) for side in (a, b))
        notes.append(f"{names} take inputs of different sizes, {sizes}")
    if "baremetal" in (a.target.family, b.target.family) and a.target.family != b.target.family:
        notes.append(f"{names} count instructions of different instruction sets, A64 and Thumb")
    if not a.places().keys() & b.places().keys():
        notes.append(f"{names} have no layer in common: different networks, compared as a whole only")
    if a.profile.threads != b.profile.threads:
        notes.append(f"{names} ran with {a.profile.threads} and {b.profile.threads} threads")
    return notes
