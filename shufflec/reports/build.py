"""Makes the report of a bundle: what its manifest says and, once it was profiled, what it costs."""

from __future__ import annotations

from shufflec.backends.bundle import REPORT_HTML, REPORT_JSON, Bundle
from shufflec.backends.manifest import Accuracy as ManifestAccuracy
from shufflec.models.complexity import complexity
from shufflec.profiling.profile import MIN_MS, Profile
from shufflec.profiling.uncertainty import time_percent
from shufflec.reports import html
from shufflec.reports.schema import (
    SCHEMA_VERSION,
    Accuracy,
    ArenaTensor,
    Cost,
    CostKind,
    Estimate,
    Layer,
    Report,
    Shuffle,
    ShuffleSite,
    TargetInfo,
    Verification,
)
from shufflec.targets.target import Target
from shufflec.timing.estimate import Estimate as RegionEstimate

_LOOPBACK = ("127.", "localhost:", "::1:")


def bundle_report(bundle: Bundle, profile: Profile | None = None) -> Report:
    """The report of a bundle; without a profile, cost and verification are null."""
    contents, architecture = bundle.manifest.contents, bundle.architecture
    target = contents.target
    return Report(
        schema=SCHEMA_VERSION,
        model="ShuffleNetV1" if architecture is not None else bundle.name,
        variant=architecture.variant if architecture is not None else None,
        groups=architecture.groups if architecture is not None else None,
        scale=architecture.scale if architecture is not None else None,
        input=contents.input_shape[2:],
        classes=contents.output_shape[1],
        random_weights=contents.random_weights,
        macs=contents.macs,
        parameters=complexity(architecture).params if architecture is not None else None,
        accuracy=_accuracy(contents.accuracy),
        shuffle=Shuffle(
            contents.shuffle.found,
            contents.shuffle.folded,
            contents.shuffle.copies_left,
            tuple(ShuffleSite(site.layer, site.rows, site.shape) for site in contents.shuffle.sites),
        ),
        target=TargetInfo(target.name, target.title, target.core, target.isa, target.clock_hz),
        code_bytes=contents.code_bytes,
        weight_bytes=contents.weight_bytes,
        peak_activation_bytes=contents.memory.arena_bytes,
        lower_bound_bytes=contents.memory.lower_bound_bytes,
        cost=None if profile is None else _cost(target, profile),
        layers=_layers(bundle, profile),
        memory=tuple(
            ArenaTensor(buffer.name, buffer.offset, buffer.bytes, buffer.first, buffer.last)
            for buffer in contents.memory.buffers
        ),
        verification=None if profile is None else _verification(profile),
        environment=dict(contents.tools),
    )


def report_files(bundle: Bundle, profile: Profile | None = None) -> dict[str, str]:
    """Texts of report.json and report.html, by file name. Equal bundles and profiles give equal texts."""
    report = bundle_report(bundle, profile)
    return {REPORT_JSON: report.to_json(), REPORT_HTML: html.render(report)}


def _accuracy(known: ManifestAccuracy | None) -> Accuracy:
    if known is None:
        return Accuracy(None, None, None, None, None)
    dataset = f"{known.images} held-out images of {known.data}"
    return Accuracy(known.float_top1, known.float_top5, known.int8_top1, known.int8_top5, dataset)


def _cost(target: Target, profile: Profile) -> Cost:
    kind, estimate = _kind(profile), profile.whole.estimate
    return Cost(
        kind=kind,
        device=_device(target, profile),
        method=_method(target, profile),
        threads=profile.threads,
        repeats=profile.repeats,
        milliseconds=profile.whole.milliseconds,
        uncertainty_percent=None if estimate is None else time_percent(target, estimate, profile.threads),
        estimate=_estimate(estimate),
        instructions=profile.whole.total,
        instructions_by_class=profile.whole.instructions,
        layer_sum_difference=profile.layer_sum_difference,
    )


def _kind(profile: Profile) -> CostKind:
    if profile.whole.estimate is not None:
        return "estimated"
    return "simulated" if profile.kind == "simulated" else "measured"


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
    )


def _ms(nanoseconds: float) -> float:
    return round(nanoseconds * 1e-6, 9)


def _device(target: Target, profile: Profile) -> str:
    if profile.kind == "simulated":
        return f"virtual {target.title}"
    if target.family == "host" and profile.address.startswith(_LOOPBACK):
        return "this machine, through TVM's RPC server"  # its port is another one every time
    return f"RPC server at {profile.address}"


def _method(target: Target, profile: Profile) -> str:
    if profile.whole.estimate is not None:
        threads = "" if profile.threads == 1 else "; of several threads the busiest counts, and their waiting varies"
        return (
            f"core and cache models of the {target.title} ({target.core} at {target.clock_hz / 1e9:g} GHz), over the "
            f"code that ran in an emulator{threads}; TLB, other programs and heat are not modelled; "
            "the call itself is taken off"
        )
    if profile.kind == "simulated":
        threads = "" if profile.threads == 1 else f" in all {profile.threads} threads, with their waiting, which varies"
        return (
            f"instructions counted in an emulated {target.core}{threads}: each at its class's cycles for that core, "
            f"at {target.clock_hz / 1e9:g} GHz; caches and dependencies are not modelled, as there is no time model of "
            "this board; the call itself is taken off"
        )
    return (
        f"the device's clock, median of {profile.repeats} rounds, each the mean over at least {MIN_MS} ms of runs of "
        f"the network and of each layer; the call itself is taken off"
    )


def _layers(bundle: Bundle, profile: Profile | None) -> tuple[Layer, ...]:
    if profile is None:
        return tuple(
            Layer(layer.name, layer.kind, layer.output_shape, layer.macs, None, None, None, None, None)
            for layer in bundle.layers
        )
    return tuple(
        Layer(
            name=layer.name,
            kind=layer.kind,
            shape=layer.output_shape,
            macs=layer.macs,
            milliseconds=figure.milliseconds,
            estimate=_estimate(figure.estimate),
            instructions=figure.total,
            instructions_by_class=figure.instructions,
            share=share,
        )
        for layer, figure, share in zip(bundle.layers, profile.layers, profile.shares, strict=True)
    )


def _verification(profile: Profile) -> Verification:
    return Verification(
        against="NumPy integer reference",
        compared="logits, bit for bit,",
        inputs=profile.inputs,
        source="seeded images",
        equal=True,
    )
