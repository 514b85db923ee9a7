"""A calibration in words, as JSON and as a target file."""

from __future__ import annotations

from dataclasses import astuple, replace

from rich.console import Console
from rich.table import Table

from shufflec.profiling.calibrate import Calibration
from shufflec.reports import wording
from shufflec.targets.target import Target
from shufflec.targets.write import target_toml
from shufflec.timing.board_time import ErrorSummary, summarize
from shufflec.timing.refit import PARAMETERS

_UNLIMITED = 1000
_UNITS = ("", " ns", " ns")
_WORDS = ("scale of the core's cycles", "a store miss", "a DRAM line")


def summary(calibration: Calibration) -> ErrorSummary:
    """Errors of the runs, each estimated by a fit without its network."""
    return summarize(calibration.kept_back)


def parameter_lines(calibration: Calibration) -> list[str]:
    """Each parameter before and after, as in "a store miss 22.2 -> 31.0 ns"."""
    before, after = astuple(calibration.before), astuple(calibration.parameters)
    return [
        f"{words} {old:.3g} -> {new:.3g}{unit}"
        for words, old, new, unit in zip(_WORDS, before, after, _UNITS, strict=True)
    ]


def notes(calibration: Calibration) -> list[str]:
    """What a user should know before relying on it."""
    lines = ["parameters stay near those of the board that was started from, where the runs say little about them"]
    if calibration.undetermined:
        words = dict(zip(PARAMETERS, _WORDS, strict=True))
        which = " and ".join(words[name] for name in calibration.undetermined)
        lines.append(f"these runs say little about {which}: it stayed near what it was")
    if calibration.other_clock is not None:
        have, likely = calibration.target.clock_hz / 1e9, calibration.other_clock / 1e9
        lines.append(
            f"the scale moved much: at {likely:.2g} GHz instead of {have:g} it would not have; does the board run at "
            "another clock? Then give --clock"
        )
    if calibration.kind == "simulated":
        lines.append("the board at this address is a virtual one: its time is estimated, not measured")
    return lines


def error_line(calibration: Calibration) -> str:
    """The kept-back errors in one line."""
    errors = summary(calibration)
    return (
        f"error of runs whose network the fit did not see: median {wording.percent(errors.median)}, 90th percentile "
        f"{wording.percent(errors.ninetieth)}, worst {wording.percent(errors.worst)}"
    )


def print_calibration(console: Console, calibration: Calibration) -> None:
    """The runs, the parameters before and after, and how far to trust them. Piped output is as wide as it needs to
    be."""
    if not console.is_terminal:
        console = Console(file=console.file, width=_UNLIMITED, highlight=False)
    model = calibration.target.time
    console.print(reading_table(calibration))
    console.print()
    for line in [*parameter_lines(calibration), error_line(calibration)]:
        console.print(line, markup=False)
    ranges = f"ranges: a time +-{model.uncertainty_percent:g} %, the ratio of two networks +-{model.pair_percent:g} %, "
    console.print(f"{ranges}of two layers with different code +-{model.layer_pair_percent:g} %", markup=False)
    for line in notes(calibration):
        console.print(f"note: {line}", markup=False, style="yellow")


def reading_table(calibration: Calibration) -> Table:
    """One row a run: timed, estimated before, and estimated by a fit without its network."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    for name in (calibration.kind, "before", "error", "kept back", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    for reading in calibration.readings:
        error = calibration.kept_back[reading.name]
        before = reading.estimate_ms(calibration.before)
        table.add_row(
            reading.name,
            wording.milliseconds(reading.milliseconds),
            wording.milliseconds(before),
            _signed(reading.error(calibration.before)),
            wording.milliseconds((1 + error) * reading.milliseconds),
            _signed(error),
        )
    return table


def _signed(error: float) -> str:
    return f"{100 * error:+.1f} %"


def named_target(calibration: Calibration, name: str, title: str, date: str) -> Target:
    """The calibrated board under its own name, with where its figures come from. date: "" leaves it out."""
    errors = summary(calibration)
    when = f" on {date}" if date else ""
    source = (
        f"fitted by `shufflec board calibrate`{when} to {errors.count} runs, {calibration.kind} at "
        f"{calibration.address}, from {calibration.target.name}'s figures; {error_line(calibration)}"
    )
    sources = {key: value for key, value in calibration.target.sources.items() if key != "range"} | {"time": source}
    return replace(calibration.target, name=name, title=title, sources=sources)


def target_file(target: Target) -> str:
    """The text of the calibrated board's target file."""
    return target_toml(
        target,
        "Made by `shufflec board calibrate`; give its path as --target. [sources] says what it was fitted to.\n"
        "With another clock or other caches, the ranges of [time] become those of a board that nobody calibrated.\n",
    )


def to_json(calibration: Calibration) -> dict[str, object]:
    """The calibration as plain JSON types."""
    errors = summary(calibration)
    before, after = astuple(calibration.before), astuple(calibration.parameters)
    model = calibration.target.time
    return {
        "target": calibration.target.name,
        "address": calibration.address,
        "kind": calibration.kind,
        "clock_hz": calibration.target.clock_hz,
        "before": dict(zip(PARAMETERS, before, strict=True)),
        "after": dict(zip(PARAMETERS, after, strict=True)),
        "undetermined": list(calibration.undetermined),
        "uncertainty_percent": model.uncertainty_percent,
        "pair_percent": model.pair_percent,
        "layer_pair_percent": model.layer_pair_percent,
        "kept_back": {
            "median": errors.median,
            "ninetieth": errors.ninetieth,
            "worst": errors.worst,
            "runs": errors.count,
        },
        "runs": [
            {
                "name": reading.name,
                "milliseconds": reading.milliseconds,
                "estimated_before": reading.estimate_ms(calibration.before),
                "estimated": reading.estimate_ms(calibration.parameters),
                "kept_back_error": calibration.kept_back[reading.name],
            }
            for reading in calibration.readings
        ],
        "notes": notes(calibration),
    }
