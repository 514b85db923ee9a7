"""Calibrates a board: times workloads on it, estimates the same on a virtual one, and refits the three parameters.

The estimate's parts are linear in the parameters (timing/board_time.py) but for what hides behind what on a core that
overlaps computing and memory; there the parts are taken again with the new parameters until these stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, replace

from shufflec.devices.session import Session
from shufflec.errors import OptionError
from shufflec.profiling.calibrate_measure import Advance, Timings, make_readings, read_parts, time_workloads
from shufflec.profiling.calibrate_set import Network, is_whole
from shufflec.targets.target import Target, load_target, target_names
from shufflec.targets.time_model import TimeModel
from shufflec.timing.board_time import TimeParameters
from shufflec.timing.cores.core import core_names, load_core
from shufflec.timing.refit import Reading, kept_back_errors, ninetieth, ratio_errors, refit

_PASSES, _STAYS = 4, 0.01
# A few runs of one family of networks promise no less than this, whatever their errors.
_LEAST_PERCENT = 5.0
# Scales of the fitted boards are 0.91 to 1.0: one that moved further away speaks of another clock.
_SAME_CLOCK = 0.12


@dataclass(frozen=True)
class Calibration:
    """A calibrated board. target: with the new time model. before: the figures that it started from. kind: of the
    device's time, "measured" or "simulated". kept_back: error of each reading by name, estimated without its network.
    undetermined: parameters that the runs say little about. address: of the device."""

    target: Target
    before: TimeParameters
    kind: str
    address: str
    readings: tuple[Reading, ...]
    kept_back: dict[str, float]
    undetermined: tuple[str, ...]

    @property
    def parameters(self) -> TimeParameters:
        return parameters_of(self.target.time)

    @property
    def other_clock(self) -> float | None:
        """Hz at which the scale would be what it was; None where it is about that at the target's clock."""
        ratio = self.before.scale / self.parameters.scale
        return None if abs(ratio - 1) <= _SAME_CLOCK else self.target.clock_hz * ratio


def parameters_of(model: TimeModel) -> TimeParameters:
    """The three parameters of a time model."""
    return TimeParameters(model.scale, model.store_miss_ns, model.dram_line_ns)


def starting_target(target: Target) -> Target:
    """The target with a time model to start from: its own, else that of a shipped board with the same core.

    Raises OptionError for a target that no time can be estimated for.
    """
    if target.core not in core_names() or target.family != "linux" or not target.qemu_cpu:
        known = ", ".join(core_names())
        raise OptionError("--target", target.name, f"its core {target.core} has no model; calibrated are {known}")
    if "l1d" not in target.caches:
        raise OptionError("--target", target.name, "has no caches.l1d, which estimated time needs")
    if target.time is not None:
        return target
    alike = [one for one in map(load_target, target_names()) if one.core == target.core and one.time is not None]
    if not alike:
        raise OptionError("--target", target.name, f"no shipped board has the core {target.core} to start from")
    return replace(target, time=alike[0].time.of_another_board(target.clock_hz))


def calibrate(
    target: Target,
    networks: Sequence[Network],
    open_board: Callable[[], AbstractContextManager[Session]],
    open_virtual: Callable[[Target], AbstractContextManager[Session]],
    timings: Timings,
    advance: Advance = lambda phase, done, total: None,
) -> Calibration:
    """Times `networks` on the board, where `timings` lacks them, and refits the parameters of `target`.

    target: with the time model to start from. networks: compiled for it. open_board: a session with the board.
    open_virtual: one with a virtual board for the target that it is given. advance: called with phase, done, total.
    Raises DeviceError or WrongResultError as `time_workloads`; `timings` then has what was timed until then.
    """
    start = parameters_of(target.time)
    with open_board() as session:
        kind, address = session.kind, session.address
        time_workloads(session, networks, timings, advance)
    model = target.time
    core = load_core(target.core)
    for _ in range(_PASSES if core.overlap or core.stream_line_ns else 1):
        with open_virtual(replace(target, time=model)) as session:
            parts = read_parts(session, networks, model, advance)
        readings = make_readings(address, networks, timings, parts, parameters_of(model))
        found = refit(readings, start)
        moved = max(abs(new / max(old, 0.1) - 1) for new, old in zip(_of(found.parameters), _of(model), strict=True))
        model = _with_parameters(model, found.parameters)
        if moved < _STAYS:
            break
    errors = kept_back_errors(readings, start)
    final = replace(target, time=_with_ranges(model, target.clock_hz, readings, errors))
    return Calibration(final, start, kind, address, tuple(readings), errors, found.undetermined)


def _of(figures: TimeParameters | TimeModel) -> tuple[float, float, float]:
    return astuple(figures)[:3]


def _with_parameters(model: TimeModel, parameters: TimeParameters) -> TimeModel:
    # The digits that a target file keeps.
    scale, store_miss_ns, dram_line_ns = (float(f"{value:.4g}") for value in astuple(parameters))
    return replace(model, scale=scale, store_miss_ns=store_miss_ns, dram_line_ns=dram_line_ns)


def _with_ranges(model: TimeModel, clock_hz: int, readings: Sequence[Reading], errors: dict[str, float]) -> TimeModel:
    """The ranges that 9 of 10 kept-back errors stay within: of times, of ratios of networks, of ratios of layers."""
    wholes = [errors[one.name] for one in readings if is_whole(one.name)]
    layers = [errors[one.name] for one in readings if not is_whole(one.name)]
    alone = max(_LEAST_PERCENT, _up(ninetieth(list(errors.values()))))
    pair = max(alone, _up(ninetieth(ratio_errors(wholes)))) if len(wholes) > 1 else 1.5 * alone
    layer = max(pair, _up(ninetieth(ratio_errors(layers)))) if len(layers) > 1 else 2 * alone
    return replace(
        model,
        uncertainty_percent=min(alone, 100.0),
        pair_percent=min(pair, 150.0),
        layer_pair_percent=min(layer, 150.0),
        fitted_clock_hz=clock_hz,
    )


def _up(fraction: float) -> float:
    """A fraction as whole per cent, rounded up."""
    return float(math.ceil(round(100 * fraction, 6)))
