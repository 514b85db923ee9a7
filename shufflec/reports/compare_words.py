"""Words and JSON of a comparison, which the terminal and the page share."""

from __future__ import annotations

from shufflec.profiling.compare import Comparison, Row
from shufflec.profiling.compare_pair import Change
from shufflec.profiling.compare_side import Side
from shufflec.reports import wording

SCHEMA_VERSION = 1
_MANY = 2.0  # from here on "2.1 times as long" reads better than "110 % slower"


def sentence(comparison: Comparison, index: int) -> str:
    """How side `index` + 1 differs from the first, as in "B is 12 % faster than A (8 to 16 %)"."""
    a, b, change = comparison.sides[0], comparison.sides[index + 1], comparison.changes[index]
    words = _time_words(a.letter, b.letter, change)
    counted = _instruction_words(change)
    return f"{words}; {counted}" if counted else words


def _time_words(a: str, b: str, change: Change) -> str:
    if change.ratio is None or change.low is None or change.high is None:
        return f"{b} and {a}: no times to compare"
    if change.verdict == "same code":
        return f"{b} is the same code as {a}: the same time"
    if change.verdict == "unsure":
        range_ = f"{b} takes {_more(change.low)} to {_more(change.high)} time"
        return f"{b} and {a}: no difference within the uncertainty ({range_})"
    if change.ratio >= _MANY:
        return f"{b} takes {change.ratio:.2g} times as long as {a} ({change.low:.2g} to {change.high:.2g} times)"
    if change.ratio <= 1 / _MANY:
        times = f"({1 / change.high:.2g} to {1 / change.low:.2g} times)"
        return f"{b} is {1 / change.ratio:.2g} times as fast as {a} {times}"
    if change.verdict == "faster":
        return f"{b} is {_percent(1 - change.ratio)} % faster than {a} {_range(1 - change.high, 1 - change.low)}"
    return f"{b} is {_percent(change.ratio - 1)} % slower than {a} {_range(change.low - 1, change.high - 1)}"


def _instruction_words(change: Change) -> str:
    if change.instruction_ratio is None:
        return ""
    if change.instruction_ratio == 1:
        return "as many instructions"
    if change.instruction_ratio >= _MANY:
        return f"{change.instruction_ratio:.2g} times as many instructions"
    side = "fewer" if change.instruction_ratio < 1 else "more"
    return f"{_percent(abs(change.instruction_ratio - 1))} % {side} instructions"


def _percent(fraction: float) -> str:
    value = 100 * fraction
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"


def _range(low: float, high: float) -> str:
    return f"({_percent(low)} to {_percent(high)} %)"


def _more(ratio: float) -> str:
    return f"{_percent(abs(ratio - 1))} % {'less' if ratio < 1 else 'more'}"


def side_line(side: Side) -> str:
    """What was profiled, where, and what it costs."""
    time = wording.milliseconds(side.milliseconds())
    cost = f"{side.kind} {time}"
    if side.uncertainty_percent is not None:
        cost += f" (+-{side.uncertainty_percent:g} %)"
    elif side.kind == "counted":
        cost = "no time model"
    count = side.instructions()
    instructions = f", {wording.short_count(count)} instructions" if count is not None else ""
    where = f"{device(side)}, {wording.threads(side.profile.threads)}"
    return f"{side.label} ({'x'.join(map(str, side.input_size))}): {cost}{instructions}, {where}"


def device(side: Side) -> str:
    """The board in words."""
    if side.kind == "measured":
        return side.board
    return f"{side.target.title} @ {side.target.clock_hz / 1e9:g} GHz"


def change_words(change: Change | None) -> str:
    """A layer's difference with its range, as in "-12 % (-30 to +11)"; "-" where there is none."""
    if change is None:
        return "-"
    if change.ratio is None or change.low is None or change.high is None:
        return "-" if change.instruction_ratio is None else f"{_signed(change.instruction_ratio)} % instructions"
    return f"{_signed(change.ratio)} % ({_signed(change.low)} to {_signed(change.high)})"


def _signed(ratio: float) -> str:
    return f"{'+' if ratio >= 1 else '-'}{_percent(abs(ratio - 1))}"


def row_verdict(comparison: Comparison, row: Row, index: int) -> str:
    """faster, slower, unsure, same code; or where alone the layer is."""
    change = row.changes[index]
    if change is not None:
        return change.verdict
    a, b = comparison.sides[0], comparison.sides[index + 1]
    only = [side.letter for side, at in ((a, row.indices[0]), (b, row.indices[index + 1])) if at is not None]
    return f"only in {only[0]}" if only else "-"


def to_json(comparison: Comparison) -> dict[str, object]:
    """The comparison as plain JSON types; times in milliseconds, ratios of each further side to the first."""
    return {
        "schema": SCHEMA_VERSION,
        "sides": [_side_json(side) for side in comparison.sides],
        "changes": [
            _change_json(change) | {"side": side.letter, "basis": basis, "words": sentence(comparison, i)}
            for i, (side, change, basis) in enumerate(
                zip(comparison.sides[1:], comparison.changes, comparison.basis, strict=True)
            )
        ],
        "layers": [_row_json(comparison, row) for row in comparison.rows],
        "notes": list(comparison.notes),
    }


def _side_json(side: Side) -> dict[str, object]:
    return {
        "side": side.letter,
        "bundle": side.path,
        "name": side.label,
        "target": side.target.name,
        "device": device(side),
        "clock_hz": side.target.clock_hz,
        "threads": side.profile.threads,
        "input": list(side.input_size),
        "macs": side.macs,
        "kind": side.kind,
        "milliseconds": None if side.kind == "counted" else side.milliseconds(),
        "uncertainty_percent": side.uncertainty_percent,
        "instructions": side.instructions(),
    }


def _change_json(change: Change) -> dict[str, object]:
    return {
        "verdict": change.verdict,
        "time_ratio": change.ratio,
        "low": change.low,
        "high": change.high,
        "instruction_ratio": change.instruction_ratio,
    }


def _row_json(comparison: Comparison, row: Row) -> dict[str, object]:
    figures = [
        None
        if index is None
        else {
            "instructions": side.instructions(index),
            "milliseconds": None if side.kind == "counted" else side.milliseconds(index),
        }
        for side, index in zip(comparison.sides, row.indices, strict=True)
    ]
    changes = [None if change is None else _change_json(change) for change in row.changes]
    verdicts = [row_verdict(comparison, row, i) for i in range(len(row.changes))]
    return {"name": row.name, "kind": row.kind, "figures": figures, "changes": changes, "verdicts": verdicts}
