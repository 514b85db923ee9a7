"""Profiles a bundle on a device: checks its outputs, then takes the cost of the network and of every layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from shufflec.errors import OptionError
from shufflec.profiling.check_bundle import check_bundle
from shufflec.profiling.remote_network import RemoteNetwork
from shufflec.profiling.threads import device_threads
from shufflec.profiling.verify import verify
from shufflec.timing.estimate import Estimate

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle
    from shufflec.devices.session import Session
    from shufflec.targets.target import Target

DEFAULT_REPEATS = 15
# Each figure is the mean over at least this many milliseconds of runs: far above the clock's steps, and so short that
# most of them fall between two interruptions by other processes; the median over the repeats drops the rest.
MIN_MS = 1

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Figure:
    """Cost of the network or of one layer. instructions: by class, None on a device that does not count them.
    estimate: what the milliseconds add up from, on a virtual board with a time model, else None."""

    milliseconds: float
    instructions: dict[str, int] | None
    estimate: Estimate | None = None

    @property
    def total(self) -> int | None:
        """All instructions."""
        return None if self.instructions is None else sum(self.instructions.values())

    @property
    def weight(self) -> float:
        """What shares are computed from: milliseconds where measured or estimated, else instructions."""
        return self.milliseconds if self.total is None or self.estimate is not None else float(self.total)

    def without(self, overhead: Figure) -> Figure:
        """The cost less an overhead, never below zero."""
        instructions = self.instructions
        if instructions is not None and overhead.instructions is not None:
            instructions = {name: max(n - overhead.instructions[name], 0) for name, n in instructions.items()}
        estimate = self.estimate
        if estimate is not None and overhead.estimate is not None:
            estimate = estimate.without(overhead.estimate)
        return Figure(max(self.milliseconds - overhead.milliseconds, 0.0), instructions, estimate)


@dataclass(frozen=True)
class Profile:
    """Cost of one bundle on one device.

    kind: "measured" or "simulated". address: "host:port" of the device's server. threads: of the device's pool.
    repeats: measurements of the network and of each layer; figures are medians. inputs: how many gave the integer
    reference's logits, bit for bit. board: what a virtual board says that it is, None where the device does not say.
    """

    kind: str
    address: str
    threads: int
    repeats: int
    inputs: int
    whole: Figure
    layers: tuple[Figure, ...]
    board: Target | None = None

    @property
    def layer_sum_difference(self) -> float:
        """(sum over layers - whole) / whole."""
        return sum(layer.weight for layer in self.layers) / self.whole.weight - 1 if self.whole.weight else 0.0

    @property
    def shares(self) -> tuple[float, ...]:
        """Each layer's part of the sum over layers."""
        total = sum(layer.weight for layer in self.layers) or 1.0
        return tuple(layer.weight / total for layer in self.layers)


def profile_bundle(
    bundle: Bundle,
    session: Session,
    inputs: Sequence[np.ndarray],
    repeats: int = DEFAULT_REPEATS,
    progress: Progress = lambda phase, done, total: None,
) -> Profile:
    """Checks and measures a bundle on the device behind a session.

    inputs: float32 (1, 3, H, W) each; all are checked, the first is measured. repeats: only for measured time;
    a virtual board gives the same figure every time, so once is enough there. progress: called with the phase and
    how far it is.
    Raises WrongResultError when an output differs from the integer reference (it names the first wrong layer) and
    DeviceError when the connection is lost.
    """
    if not inputs:
        raise OptionError("--inputs", 0, "expected at least 1")
    if repeats < 1:
        raise OptionError("--repeats", repeats, "expected at least 1")
    check_bundle(bundle)
    with session.caches_ignored():
        network = RemoteNetwork(bundle, session)
        verify(network, bundle.graph(), bundle.layers, inputs, partial(progress, "checking outputs"))
    simulated = session.kind == "simulated"
    count, each = 1 if simulated else repeats, 1 + len(bundle.layers)
    rounds = []
    for i in range(count):
        rounds.append(
            _one_round(
                network, inputs[0], simulated, lambda done, i=i: progress("measuring", i * each + done, count * each)
            )
        )
    figures = [_middle([one[i] for one in rounds]) for i in range(len(rounds[0]))]
    return Profile(
        session.kind,
        session.address,
        device_threads(session),
        len(rounds),
        len(inputs),
        figures[0],
        tuple(figures[1:]),
        session.board,
    )


def _one_round(network: RemoteNetwork, x: np.ndarray, simulated: bool, advance: Callable[[int], None]) -> list[Figure]:
    """The whole network, then every layer in order: rounds are interleaved so that a drifting clock hits all alike.

    The cost of a call that does nothing is taken off each figure: a network of many small layers would otherwise
    cost less than their sum by that many calls.
    """
    min_ms = 0 if simulated else MIN_MS

    def figure(milliseconds: float) -> Figure:
        region = network.session.last_region()
        if region is None:
            return Figure(milliseconds, None)
        return Figure(milliseconds, region.instructions, region.estimate)

    overhead = figure(network.time_nothing(min_ms))
    whole = figure(network.time_whole(x, min_ms)).without(overhead)
    advance(1)
    network.set_input(x)
    if simulated:
        nothing, *layers = [
            Figure(1e-6 * region.simulated_ns, region.instructions, region.estimate)
            for region in network.layer_regions()
        ]
        advance(1 + len(layers))
        return [whole, *[layer.without(nothing) for layer in layers]]
    figures = [whole]
    for i in range(len(network.bundle.layers)):
        figures.append(figure(network.time_layer(i, min_ms)).without(overhead))
        advance(2 + i)
    return figures


def _middle(figures: list[Figure]) -> Figure:
    return replace(figures[0], milliseconds=median(figure.milliseconds for figure in figures))
