"""The report's part on cost: of the network, of every layer, and how far both are from the board's ceilings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shufflec.profiling.ceilings import Ceiling as BoardCeiling
from shufflec.profiling.profile import MIN_MS, Figure, Profile
from shufflec.profiling.roofline import Roofline as Limits
from shufflec.profiling.uncertainty import time_percent, wider_because
from shufflec.reports.schema import (
    Ceiling,
    Cost,
    CostKind,
    Costly,
    Estimate,
    Layer,
    LayerRoofline,
    Roofline,
    TargetInfo,
    Waits,
)
from shufflec.targets.target import Target
from shufflec.timing.estimate import Estimate as RegionEstimate
from shufflec.timing.waits import NAMES

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle

COSTLIEST = 3
_LOOPBACK = ("127.", "localhost:", "::1:")


def report_cost(bundle: Bundle, profile: Profile) -> Cost:
    """Cost of the whole network."""
    target, whole = profile.board or bundle.target, profile.whole
    kind = _kind(profile)
    estimate = whole.estimate
    return Cost(
        kind=kind,
        device=_device(target, profile),
        board=target_info(target),
        method=_method(target, profile),
        threads=profile.threads,
        repeats=profile.repeats,
        milliseconds=_milliseconds(kind, whole),
        cycles_per_mac=_cycles_per_mac(target, _milliseconds(kind, whole), bundle.manifest.contents.macs),
        uncertainty_percent=None if estimate is None else time_percent(target, estimate, profile.threads),
        estimate=_estimate(estimate),
        instructions=whole.total,
        instructions_by_class=whole.instructions,
        layer_sum_difference=profile.layer_sum_difference,
        costliest=_costliest(profile),
    )


def report_layers(bundle: Bundle, profile: Profile | None, limits: Limits | None) -> tuple[Layer, ...]:
    """Every layer, with its cost once it was profiled and its place under the ceilings where they are known."""
    if profile is None:
        unknown = dict.fromkeys(
            ("milliseconds", "estimate", "instructions", "instructions_by_class", "share", "cycles_per_mac",
             "macs_per_second", "roofline"),
        )  # fmt: skip
        return tuple(Layer(one.name, one.kind, one.output_shape, one.macs, **unknown) for one in bundle.layers)
    kind, target = _kind(profile), profile.board or bundle.target
    roofs = [None] * len(bundle.layers) if limits is None else limits.layers
    return tuple(
        Layer(
            name=layer.name,
            kind=layer.kind,
            shape=layer.output_shape,
            macs=layer.macs,
            milliseconds=(milliseconds := _milliseconds(kind, figure)),
            estimate=_estimate(figure.estimate),
            instructions=figure.total,
            instructions_by_class=figure.instructions,
            share=share,
            cycles_per_mac=_cycles_per_mac(target, milliseconds, layer.macs),
            macs_per_second=_digits(1e3 * layer.macs / milliseconds) if milliseconds else None,
            roofline=None if roof is None else LayerRoofline(**vars(roof)),
        )
        for layer, figure, share, roof in zip(bundle.layers, profile.layers, profile.shares, roofs, strict=True)
    )


def target_info(target: Target) -> TargetInfo:
    """What the report says of a board."""
    return TargetInfo(target.name, target.title, target.core, target.isa, target.clock_hz)


def report_roofline(limits: Limits, profile: Profile) -> Roofline:
    """The board's ceilings and the floor under the whole network."""
    ceilings = limits.ceilings
    return Roofline(
        compute=_ceiling(ceilings.compute),
        l2=None if ceilings.l2 is None else _ceiling(ceilings.l2),
        dram=None if ceilings.dram is None else _ceiling(ceilings.dram),
        line_bytes=ceilings.line_bytes,
        floor_ms=limits.floor_ms,
        compute_ms=limits.compute_ms,
        dram_ms=limits.dram_ms,
        dram_bytes=limits.dram_bytes,
        times_floor=_digits(profile.whole.milliseconds / limits.floor_ms) if limits.floor_ms else None,
    )


def time_shares(parts: RegionEstimate) -> dict[str, float]:
    """An estimated time by what the core waited for, the largest first; the shares add up to 1."""
    times = {name: getattr(parts.waits, name) for name in NAMES}
    times |= {"load_misses": parts.load_miss_ns, "store_misses": parts.store_miss_ns, "dram": parts.dram_ns}
    total = sum(times.values())
    found = {name: _digits(value / total) for name, value in times.items() if value > 0}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _ceiling(of_board: BoardCeiling) -> Ceiling:
    return Ceiling(_digits(of_board.per_second), of_board.source)


def _costliest(profile: Profile) -> tuple[Costly, ...]:
    order = sorted(range(len(profile.layers)), key=lambda i: (-profile.layers[i].weight, i))[:COSTLIEST]
    estimates = [profile.layers[i].estimate for i in order]
    return tuple(
        Costly(i, {} if parts is None else time_shares(parts)) for i, parts in zip(order, estimates, strict=True)
    )


def _kind(profile: Profile) -> CostKind:
    if profile.whole.estimate is not None:
        return "estimated"
    return "counted" if profile.kind == "simulated" else "measured"


def _milliseconds(kind: CostKind, figure: Figure) -> float | None:
    """Without a time model, the virtual board's clock counts instructions at fixed cycles: no time to plan with."""
    return None if kind == "counted" else figure.milliseconds


def _cycles_per_mac(target: Target, milliseconds: float | None, macs: int) -> float | None:
    """None too on this machine, whose clock is not known."""
    if milliseconds is None or not macs or target.family == "host":
        return None
    return _digits(1e-3 * milliseconds * target.clock_hz / macs)


def _estimate(parts: RegionEstimate | None) -> Estimate | None:
    if parts is None:
        return None
    return Estimate(
        compute_ms=_ms(parts.compute_ns),
        load_miss_ms=_ms(parts.load_miss_ns),
        store_miss_ms=_ms(parts.store_miss_ns),
        dram_ms=_ms(parts.dram_ns),
        l1_load_misses=parts.l1_load_misses,
        l1_store_misses=parts.l1_store_misses,
        dram_lines=parts.dram_lines,
        waits=Waits(**{f"{name}_ms": _ms(getattr(parts.waits, name)) for name in NAMES}),
    )


def _ms(nanoseconds: float) -> float:
    return round(nanoseconds * 1e-6, 9)


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def _device(target: Target, profile: Profile) -> str:
    if profile.kind == "simulated":
        return f"virtual {target.title}"
    if target.family == "host" and profile.address.startswith(_LOOPBACK):
        return "this machine, through TVM's RPC server"  # its port is another one every time
    if target.family == "baremetal":
        return f"board at {profile.address}"
    return f"RPC server at {profile.address}"


def _method(target: Target, profile: Profile) -> str:
    if profile.whole.estimate is not None:
        threads = (
            ""
            if profile.threads == 1
            else "; of several threads the slowest counts, and the memory's time for the lines of all"
        )
        reasons = wider_because(target, profile.whole.estimate, profile.threads)
        wider = f"; the range is wider: {'; '.join(reasons)}" if reasons else ""
        return (
            f"core and cache models of the {target.title} ({target.core} at {target.clock_hz / 1e9:g} GHz), over the "
            f"code that ran in an emulator{threads}; TLB, other programs and heat are not modelled; "
            f"the call itself is taken off{wider}"
        )
    if profile.kind == "simulated":
        threads = "" if profile.threads == 1 else f" in all {profile.threads} threads"
        return (
            f"instructions counted in an emulated {target.core}{threads}; no time, no roofline and no floor, as there "
            f"is no time model of {target.name}; the call itself is taken off"
        )
    if target.family == "baremetal":
        return (
            f"the core's cycle counter at its clock, median of {profile.repeats} inferences, and as many layer by "
            "layer; interrupts are in it; a real board does not say what its core waited for"
        )
    return (
        f"the device's clock, median of {profile.repeats} rounds, each the mean over at least {MIN_MS} ms of runs of "
        "the network and of each layer; the call itself is taken off; a measured time has no range, and a real board "
        "does not say what its core waited for"
    )
