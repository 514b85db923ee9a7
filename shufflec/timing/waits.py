"""What a core waited for: the words for it, the same for every core model.

Both models count places in the decoders, `width` of them a cycle. A place that was used is "dispatch": the core was at
work, as wide as it is. One left empty counts as what kept the next instruction from issuing (in order) or from entering
(out of order): "latency", a result that was not there yet, or a window full of such; or a port, in use or with a full
queue before it. The models name ports as their core's manual does; here they go by what they do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import fsum

#: What each port of a core model (timing/cores/data) does. One name means the same on every core.
PORT_UNITS = {
    "B": "branch_port", "BR": "branch_port",
    "I0": "integer_port", "I1": "integer_port", "M": "integer_port", "MUL": "integer_port",
    "L": "load_port", "L0": "load_port", "L1": "load_port",
    "S": "store_port", "S0": "store_port", "S1": "store_port",
    "LS": "load_store_port",
    "F0": "simd_port", "F1": "simd_port", "N0": "simd_port", "N1": "simd_port",
    # The A53's ways from its load pipe into the SIMD registers: held by vector loads.
    "V0": "load_store_port", "V1": "load_store_port", "W": "load_store_port",
}  # fmt: skip
_DIGITS = 3  # of a nanosecond


@dataclass(frozen=True)
class Waits:
    """Nanoseconds of a region's core time by what the core waited for; they add up to Estimate.compute_ns.

    dispatch, latency: see above. The others: a port that computes on SIMD registers, that loads, that stores, that does
    both (the A53 has one), that computes on integers, that branches.
    """

    dispatch: float = 0.0
    latency: float = 0.0
    simd_port: float = 0.0
    load_port: float = 0.0
    store_port: float = 0.0
    load_store_port: float = 0.0
    integer_port: float = 0.0
    branch_port: float = 0.0


NAMES = tuple(field.name for field in fields(Waits))


# Of a wait in BlockEstimate.waits: its name in Waits.
_UNIT_OF = {name: name for name in NAMES} | PORT_UNITS


def by_unit(waits: dict[str, float]) -> dict[str, float]:
    """A block's waits (BlockEstimate.waits) under the names of Waits. KeyError for a port that PORT_UNITS lacks."""
    found = dict.fromkeys(NAMES, 0.0)
    for name, cycles in waits.items():
        found[_UNIT_OF[name]] += cycles
    return found


def share_out(parts: list[tuple[float, dict[str, float]]]) -> Waits:
    """Waits of many blocks: each (nanoseconds, waits in any unit), the former shared out in proportion to the latter.

    The same whatever the order. A block without waits counts as dispatch. Raises as by_unit.
    """
    columns: dict[str, list[float]] = {name: [] for name in NAMES}
    for nanoseconds, waits in parts:
        total = sum(waits.values())
        if total <= 0:
            columns["dispatch"].append(nanoseconds)
            continue
        part = nanoseconds / total
        for name, cycles in waits.items():
            columns[_UNIT_OF[name]].append(part * cycles)
    return Waits(**{name: round(fsum(column), _DIGITS) for name, column in columns.items()})
