"""Sides of a comparison with made-up figures."""

from __future__ import annotations

from shufflec.backends.manifest import LayerEntry
from shufflec.profiling.compare_run import board_of
from shufflec.profiling.compare_side import Side
from shufflec.profiling.profile import Figure, Profile
from shufflec.targets.target import Target, load_target
from shufflec.timing.estimate import Estimate

RASP4 = load_target("rasp4")
# name, kind, tiling, microseconds: an instruction takes a nanosecond
LAYERS = (
    ("stem", "conv2d", "rows=4", 200),
    ("conv1", "conv2d", "rows=4", 500),
    ("dw", "depthwise_conv2d", "", 200),
    ("fc", "dense", "", 100),
)


def layer(name: str, kind: str, tiling: str) -> LayerEntry:
    return LayerEntry(name, kind, name, (8, 8, 4), "int8", 100, 10, (kind,), (tiling,))


def figure(microseconds: float, estimated: bool = True, instructions: int | None = None, memory: float = 0.2) -> Figure:
    """memory: share of the time that is DRAM."""
    ns = 1e3 * microseconds
    estimate = Estimate((1 - memory) * ns, 0.0, 0.0, memory * ns, 0, 0, 7) if estimated else None
    count = round(ns) if instructions is None else instructions
    return Figure(microseconds / 1e3, {"load": count}, estimate)


def estimated_side(letter: str, layers=LAYERS, target: Target = RASP4, sha="", threads=1, memory=0.2) -> Side:
    """On a virtual board; for a target without a time model, simulated."""
    parts = tuple(figure(us, target.time is not None, memory=memory) for *_, us in layers)
    whole = figure(sum(us for *_, us in layers), target.time is not None, memory=memory)
    profile = Profile("simulated", "127.0.0.1:1", threads, 1, 2, whole, parts)
    return _side(letter, layers, target, board_of(target, None), sha or letter, (profile,))


def measured_side(letter: str, factors: tuple[float, ...], layers=LAYERS, board: str = "pi:9090") -> Side:
    """On a real board; factors: of the figures in each round."""
    rounds = []
    for factor in factors:
        parts = tuple(Figure(factor * us / 1e3, None) for *_, us in layers)
        whole = Figure(factor * sum(us for *_, us in layers) / 1e3, None)
        rounds.append(Profile("measured", board, 1, 5, 2, whole, parts))
    return _side(letter, layers, RASP4, board, letter, tuple(rounds))


def _side(letter, layers, target, board, sha, rounds) -> Side:
    entries = tuple(layer(name, kind, tiling) for name, kind, tiling, _ in layers)
    return Side(letter, f"net {letter}", f"out/{letter}", target, board, (32, 32), 400, sha, entries, rounds)


def changed(**microseconds: float) -> tuple:
    """LAYERS with other times (and so other instructions) of the layers named."""
    return tuple((name, kind, tiling, microseconds.get(name, us)) for name, kind, tiling, us in LAYERS)
