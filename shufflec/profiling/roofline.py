"""The roofline of a profiled network: which ceiling bounds each layer, and the least time the board could take.

The floor of a layer is the larger of its multiplies at the compute ceiling and of the bytes that it must fetch at the
DRAM ceiling. What must be fetched: the weights, and for the first layer the input, where one inference touches more
than the caches hold, since then each byte that it reads once is gone when the next inference asks for it (caches drop
what was used longest ago). Activations may stay in the caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, prod
from typing import TYPE_CHECKING, Literal

from shufflec.profiling.ceilings import Ceilings, board_ceilings
from shufflec.timing.estimate import Estimate

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle
    from shufflec.profiling.profile import Profile

Bound = Literal["compute", "L2", "DRAM"]
_FLOAT_BYTES = 4
_DIGITS = 9  # of a millisecond: keeps the last bits of a quotient out of the report


@dataclass(frozen=True)
class LayerRoofline:
    """A layer under the board's ceilings.

    floor_ms: the least time. bound: the ceiling that is nearest, the one under which the layer's multiplies and the
    lines that it moved take longest; None without multiplies or lines, and on a real board, which counts no lines.
    bound_share: that time by the layer's, between 0 and 1 for an estimate. l2_intensity, dram_intensity:
    multiply-accumulates a byte moved, None where none was.
    """

    floor_ms: float
    bound: Bound | None
    bound_share: float | None
    l2_intensity: float | None
    dram_intensity: float | None


@dataclass(frozen=True)
class Roofline:
    """floor_ms: the sum over layers. compute_ms: all multiplies at the compute ceiling; dram_ms: dram_bytes, which must
    be fetched in one inference, at the DRAM ceiling."""

    ceilings: Ceilings
    floor_ms: float
    compute_ms: float
    dram_ms: float
    dram_bytes: int
    layers: tuple[LayerRoofline, ...]


def roofline(bundle: Bundle, profile: Profile) -> Roofline | None:
    """The roofline of a bundle on the board that it ran on; None for one without a time model, or that only counted."""
    counted = profile.kind == "simulated" and profile.whole.estimate is None
    ceilings = None if counted else board_ceilings(profile.board or bundle.target, profile.threads)
    if ceilings is None:
        return None
    fetched = fetched_bytes(bundle, ceilings.cache_bytes)
    layers = tuple(
        layer_roofline(ceilings, layer.macs, bytes_, figure.milliseconds, figure.estimate)
        for layer, bytes_, figure in zip(bundle.layers, fetched, profile.layers, strict=True)
    )
    macs = sum(layer.macs for layer in bundle.layers)
    return Roofline(
        ceilings,
        floor_ms=round(fsum(layer.floor_ms for layer in layers), _DIGITS),
        compute_ms=_ms(ceilings.compute.nanoseconds(macs)),
        dram_ms=_ms(ceilings.dram.nanoseconds(sum(fetched))) if ceilings.dram else 0.0,
        dram_bytes=sum(fetched),
        layers=layers,
    )


def fetched_bytes(bundle: Bundle, cache_bytes: int) -> list[int]:
    """Bytes that each layer must fetch from DRAM in every inference; see above."""
    contents = bundle.manifest.contents
    image = _FLOAT_BYTES * prod(contents.input_shape)
    reads = [layer.weight_bytes + (image if i == 0 else 0) for i, layer in enumerate(contents.layers)]
    touched = contents.weight_bytes + image + contents.memory.arena_bytes + contents.code_bytes
    return reads if touched > cache_bytes else [0] * len(reads)


def layer_roofline(
    ceilings: Ceilings, macs: int, fetched: int, milliseconds: float, estimate: Estimate | None
) -> LayerRoofline:
    """One layer's. fetched: bytes that it must fetch from DRAM. estimate: None for a measured time."""
    multiplies = ceilings.compute.nanoseconds(macs)
    fetching = ceilings.dram.nanoseconds(fetched) if ceilings.dram else 0.0
    floor = _ms(max(multiplies, fetching))
    if estimate is None:
        return LayerRoofline(floor, None, None, None, None)
    l2 = ceilings.line_bytes * (
        ceilings.loads_counted * estimate.l1_load_misses + ceilings.stores_counted * estimate.l1_store_misses
    )
    dram = ceilings.line_bytes * estimate.dram_lines
    moving = ceilings.dram.nanoseconds(dram) if ceilings.dram else 0.0
    least: dict[Bound, float] = {
        "compute": multiplies,
        "L2": ceilings.l2.nanoseconds(l2) if ceilings.l2 else 0.0,
        "DRAM": moving if ceilings.writes_counted else min(moving, estimate.dram_ns),
    }
    bound = max(least, key=lambda name: least[name])
    known = least[bound] > 0
    return LayerRoofline(
        floor_ms=floor,
        bound=bound if known else None,
        bound_share=_digits(least[bound] * 1e-6 / milliseconds) if known and milliseconds else None,
        l2_intensity=_digits(macs / l2) if l2 and ceilings.l2 else None,
        dram_intensity=_digits(macs / dram) if dram and ceilings.dram else None,
    )


def _ms(nanoseconds: float) -> float:
    return round(nanoseconds * 1e-6, _DIGITS)


def _digits(value: float) -> float:
    return float(f"{value:.6g}")
