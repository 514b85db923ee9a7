"""Times the calibration's workloads on a device, and reads on a virtual board what their time adds up from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from shufflec.devices.session import SIMULATED, Session
from shufflec.errors import DeviceError
from shufflec.profiling.calibrate_set import Network, Workload
from shufflec.profiling.inputs import seeded_inputs
from shufflec.profiling.remote_network import RemoteNetwork
from shufflec.profiling.verify import verify
from shufflec.targets.target import TimeModel
from shufflec.timing.board_time import TimeParameters
from shufflec.timing.estimate import Estimate
from shufflec.timing.refit import Reading

REPEATS = 5
MIN_MS = 20  # of runs in each of them
# Of the repeats, most agree within a quarter even on a board that does other things now and then.
_AGREE, _MOST_AGREE = 0.25, 3
_ROUNDS = 3
# Against the other workloads' ratio of timed to estimated; published networks stay within 1.6 of it on other boards.
_ABSURD = 5.0
_HINT = "stop other programs on the board and let it cool, or check its timer"

Advance = Callable[[str, int, int], None]


@dataclass
class Timings:
    """Milliseconds by workload. save: called after each new one."""

    milliseconds: dict[str, float] = field(default_factory=dict)
    save: Callable[[Mapping[str, float]], None] = lambda _: None

    def add(self, name: str, milliseconds: float) -> None:
        self.milliseconds[name] = milliseconds
        self.save(self.milliseconds)

    def drop(self, name: str) -> None:
        """Forgets a time that cannot be."""
        del self.milliseconds[name]
        self.save(self.milliseconds)


def time_workloads(session: Session, networks: Sequence[Network], timings: Timings, advance: Advance) -> None:
    """Times on the device what `timings` lacks; the first network's output is checked bit for bit before.

    Raises WrongResultError, and DeviceError when the device is lost, hangs, or tells times that cannot be.
    """
    total = sum(len(network.workloads) for network in networks)
    first = True
    for network in networks:
        missing = [one for one in network.workloads if one.name not in timings.milliseconds]
        if not missing:
            continue
        remote = RemoteNetwork(network.bundle, session)
        x = seeded_inputs(network.bundle.preprocessing, 1)[0]
        if first:
            verify(remote, network.bundle.graph(), network.bundle.layers, [x])
            first = False
        repeats, min_ms = (1, 0) if session.kind == SIMULATED else (REPEATS, MIN_MS)
        for workload, call in _calls(remote, missing, x, min_ms):
            advance(f"timing {workload.name}", len(timings.milliseconds), total)
            nothing = remote.time_nothing(min_ms)
            milliseconds = _settled(session.address, workload.name, call, repeats) - nothing
            if milliseconds <= 0:
                raise _garbage(session.address, workload.name, milliseconds)
            timings.add(workload.name, milliseconds)
    advance("timing", total, total)


def _calls(
    remote: RemoteNetwork, workloads: Iterable[Workload], x, min_ms: int
) -> Iterator[tuple[Workload, Callable[[], float]]]:
    remote.set_input(x)
    for workload in workloads:
        if workload.layer is None:
            yield workload, lambda: remote.time_whole(x, min_ms)
        else:
            yield workload, lambda index=workload.layer: remote.time_layer(index, min_ms)


def _settled(address: str, name: str, call: Callable[[], float], count: int) -> float:
    """The median of `count` repeats, of which most agree; of a few such rounds the first that does.

    Raises DeviceError for times that cannot be, or that do not agree in any round.
    """
    repeats: list[float] = []
    for _ in range(_ROUNDS):
        repeats = [call() for _ in range(count)]
        if absurd := [one for one in repeats if not (math.isfinite(one) and one > 0)]:
            raise _garbage(address, name, absurd[0])
        middle = median(repeats)
        if sum(abs(one / middle - 1) <= _AGREE for one in repeats) >= min(_MOST_AGREE, count):
            return middle
    shown = f"{min(repeats):.3g} to {max(repeats):.3g} ms"
    raise DeviceError(f"{address}: {name} took {shown} in {count} repeats, which do not agree", _HINT)


def _garbage(address: str, name: str, milliseconds: float) -> DeviceError:
    return DeviceError(f"{address}: {name} took {milliseconds:g} ms, which cannot be", _HINT)


def read_parts(
    session: Session, networks: Sequence[Network], model: TimeModel, advance: Advance
) -> dict[str, tuple[float, float, float]]:
    """By workload: milliseconds that its estimate gains when scale, store_miss_ns and dram_line_ns rise by 1.

    session: with a virtual board that has `model`. Where core and memory overlap, what hides what is the model's.
    """
    total = sum(len(network.workloads) for network in networks)
    parts: dict[str, tuple[float, float, float]] = {}
    for network in networks:
        remote = RemoteNetwork(network.bundle, session)
        x = seeded_inputs(network.bundle.preprocessing, 1)[0]
        remote.time_nothing(0)
        nothing = _estimate(session)
        for workload, call in _calls(remote, network.workloads, x, 0):
            advance(f"estimating {workload.name}", len(parts), total)
            call()
            parts[workload.name] = _gains(_estimate(session).without(nothing), model)
    advance("estimating", total, total)
    return parts


def _estimate(session: Session) -> Estimate:
    region = session.last_region()
    if region is None or region.estimate is None:
        raise DeviceError(f"{session.address}: the virtual board tells no estimated time")
    return region.estimate


def _gains(estimate: Estimate, model: TimeModel) -> tuple[float, float, float]:
    core = 1e-6 * (estimate.compute_ns + estimate.load_miss_ns) / model.scale
    store = estimate.store_miss_ns / model.store_miss_ns if model.store_miss_ns else float(estimate.l1_store_misses)
    dram = estimate.dram_ns / model.dram_line_ns if model.dram_line_ns else float(estimate.dram_lines)
    return core, 1e-6 * store, 1e-6 * dram


def make_readings(
    address: str,
    networks: Sequence[Network],
    timings: Timings,
    parts: Mapping[str, tuple[float, float, float]],
    start: TimeParameters,
) -> list[Reading]:
    """Readings of all workloads. Raises DeviceError for a time that does not fit the others at all, and drops it."""
    readings = [
        Reading(one.name, one.network, timings.milliseconds[one.name], *parts[one.name])
        for network in networks
        for one in network.workloads
    ]
    middle = median(reading.milliseconds / reading.estimate_ms(start) for reading in readings)
    for reading in readings:
        expected = middle * reading.estimate_ms(start)
        if not 1 / _ABSURD <= reading.milliseconds / expected <= _ABSURD:
            timings.drop(reading.name)
            took = f"{reading.name} took {reading.milliseconds:.3g} ms"
            raise DeviceError(f"{address}: {took} where the other runs let expect {expected:.3g} ms", _HINT)
    return readings
