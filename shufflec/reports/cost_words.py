"""Words for the roofline and for what the core waited for, which the terminal and the HTML report share."""

from __future__ import annotations

from collections import Counter

from shufflec.reports.schema import Costly, Layer, LayerRoofline, Report, Roofline
from shufflec.reports.wording import kibibytes, milliseconds, percent, short_count

#: What a layer's time goes into (Costly.waits), in the order of tables: its words and what they mean.
WAITS: dict[str, tuple[str, str]] = {
    "dispatch": ("dispatch", "the core issued as many instructions as it can in a cycle: it waited for nothing"),
    "latency": ("latency", "a result was not there yet"),
    "simd_port": ("SIMD port", "the port that computes on SIMD registers was in use"),
    "load_port": ("load port", "the port that loads was in use"),
    "store_port": ("store port", "the port that stores was in use"),
    "load_store_port": ("load/store port", "the port that loads and stores was in use"),
    "integer_port": ("integer port", "the port that computes on integers was in use"),
    "branch_port": ("branch port", "the port that branches was in use"),
    "load_misses": ("load misses", "loads that missed the first data cache"),
    "store_misses": ("store misses", "stores that missed the first data cache"),
    "dram": ("DRAM", "lines that moved between the last cache and DRAM"),
}
BOUNDS = ("compute", "L2", "DRAM")
# A wait of less than this share of a layer's time is no reason for its cost.
_WORTH_SAYING = 0.03
_MOST_SAID = 4


def layer_waits(layer: Layer) -> dict[str, float]:
    """Milliseconds of a layer by what the core waited for, by the names of WAITS; empty for a measured time."""
    parts = layer.estimate
    if parts is None:
        return {}
    memory = {"load_misses": parts.load_miss_ms, "store_misses": parts.store_miss_ms, "dram": parts.dram_ms}
    return {name: memory[name] if name in memory else getattr(parts.waits, f"{name}_ms") for name in WAITS}


def rate(per_second: float | None) -> str:
    """Multiply-accumulates a second, as in 4.21 GMAC/s; "-" when unknown."""
    return "-" if per_second is None else _per_second(per_second, "MAC/s")


def bandwidth(per_second: float) -> str:
    """Bytes a second, as in 21.3 GB/s."""
    return _per_second(per_second, "B/s")


def _per_second(value: float, unit: str) -> str:
    number = short_count(value)
    return f"{number}{'' if ' ' in number else ' '}{unit}"


def cycles_per_mac(value: float | None) -> str:
    """Three digits; "-" when unknown."""
    return "-" if value is None else f"{value:.3g}"


def bound(roof: LayerRoofline | None) -> str:
    """The bound with how much of the layer's time it explains, as in compute 47 %; "-" when unknown."""
    if roof is None or roof.bound is None:
        return "-"
    return roof.bound if roof.bound_share is None else f"{roof.bound} {percent(roof.bound_share, 0)}"


def floor_line(report: Report, roof: Roofline) -> str:
    """The best possible time and how far the network is from it, in one line."""
    cost = report.cost
    assert cost is not None and cost.milliseconds is not None  # a roofline comes with a time
    parts = [f"multiplies {milliseconds(roof.compute_ms)}"]
    if roof.dram_bytes:
        parts.append(f"{kibibytes(roof.dram_bytes)} from DRAM {milliseconds(roof.dram_ms)}")
    else:
        parts.append("nothing must come from DRAM")
    time = f"the {'estimate' if cost.kind == 'estimated' else 'measured time'} is"
    times = f"{roof.times_floor:.3g}x the floor" if roof.times_floor is not None else "far"
    return f"{time} {times} of {milliseconds(roof.floor_ms)}, the best possible on this board ({', '.join(parts)})"


def roofline_line(report: Report, roof: Roofline) -> str:
    """How fast the network multiplies, what bounds its layers, in one line."""
    cost = report.cost
    assert cost is not None and cost.milliseconds is not None
    words = []
    if cost.milliseconds and report.macs:
        achieved = 1e3 * report.macs / cost.milliseconds
        share = percent(achieved / roof.compute.per_second, 0)
        words.append(f"{rate(achieved)} of {rate(roof.compute.per_second)} ({share})")
    if cost.cycles_per_mac is not None:
        words.append(f"{cycles_per_mac(cost.cycles_per_mac)} cycles a MAC")
    counts = Counter(layer.roofline.bound for layer in report.layers if layer.roofline is not None)
    named = [f"{counts[name]} by {name}" for name in BOUNDS if counts[name]]
    if named:
        words.append(f"layers bound {', '.join(named)}")
    elif cost.kind == "measured":
        words.append("a real board counts no misses, so what bounds its layers is not known")
    return "; ".join(words)


def ceiling_lines(roof: Roofline) -> list[tuple[str, str]]:
    """(name, words) of each ceiling: the figure and where it comes from."""
    lines = [("compute", f"{rate(roof.compute.per_second)}: {roof.compute.source}")]
    for name, ceiling in (("L2", roof.l2), ("DRAM", roof.dram)):
        known = ceiling is not None
        words = f"{bandwidth(ceiling.per_second)}: {ceiling.source}" if known else "no limit in the time model"
        lines.append((name, words))
    return lines


def costly_line(report: Report, costly: Costly) -> str:
    """One of the costliest layers and why, in one line."""
    layer = report.layers[costly.layer]
    words = f"{layer.name}, {percent(layer.share)}"
    said = [(name, share) for name, share in costly.waits.items() if share >= _WORTH_SAYING][:_MOST_SAID]
    if not said:
        return words
    return f"{words}: " + ", ".join(f"{WAITS[name][0]} {percent(share, 0)}" for name, share in said)
