"""A small report with every field filled, for the tests of rendering and of the schema."""

from __future__ import annotations

from dataclasses import replace

from shufflec.reports.schema import (
    SCHEMA_VERSION,
    Accuracy,
    ArenaTensor,
    Ceiling,
    Cost,
    Costly,
    Estimate,
    Layer,
    LayerRoofline,
    Report,
    Roofline,
    Shuffle,
    ShuffleSite,
    TargetInfo,
    Verification,
    Waits,
)

_LAYERS = (
    ("quantize", "quantize", (8, 8, 3), 0, 100),
    ("stage2.1.conv1", "conv2d", (8, 8, 24), 18_432, 600),
    ("stage2.1.conv2", "depthwise_conv2d", (8, 8, 24), 13_824, 250),
    ("classifier", "dense", (1, 1, 10), 240, 50),
)


_CLOCK_HZ = 1_800_000_000
_TARGET = TargetInfo("rasp4", "Raspberry Pi 4", "cortex-a72", "neon", _CLOCK_HZ)
_WAITS = {"dispatch": 0.5, "latency": 0.2, "store_misses": 0.15, "load_misses": 0.1, "dram": 0.05}
_FLOORS = (0.02, 0.15, 0.1, 0.03)  # of the layers, in milliseconds


def _estimate(cost: int) -> Estimate:
    """Parts of cost/1000 milliseconds."""
    waits = Waits(0.5 * cost / 1e3, 0.2 * cost / 1e3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    parts = (0.7 * cost / 1e3, 0.1 * cost / 1e3, 0.15 * cost / 1e3, 0.05 * cost / 1e3)
    return Estimate(*parts, 8 * cost, 2 * cost, cost, waits)


def _layer(name: str, kind: str, shape: tuple[int, ...], macs: int, cost: int, floor: float) -> Layer:
    milliseconds = cost / 1e3
    return Layer(
        name=name,
        kind=kind,
        shape=shape,
        macs=macs,
        milliseconds=milliseconds,
        estimate=_estimate(cost),
        instructions=cost,
        instructions_by_class={"load": cost // 2, "widening_multiply": cost - cost // 2},
        share=cost / sum(row[-1] for row in _LAYERS),
        cycles_per_mac=1e-3 * milliseconds * _CLOCK_HZ / macs if macs else None,
        macs_per_second=1e3 * macs / milliseconds,
        roofline=LayerRoofline(floor, "compute" if macs else "DRAM", floor / milliseconds, macs / 512 or None, None),
    )


def counted_report() -> Report:
    """The same of a board without a time model."""
    report = example_report()
    nothing = {"milliseconds": None, "estimate": None, "cycles_per_mac": None}
    layers = tuple(replace(layer, **nothing, macs_per_second=None, roofline=None) for layer in report.layers)
    costliest = tuple(replace(one, waits={}) for one in report.cost.costliest)
    cost = replace(report.cost, kind="counted", uncertainty_percent=None, costliest=costliest, **nothing)
    return replace(report, cost=cost, layers=layers, roofline=None)


def measured_report() -> Report:
    """The same of a real board, which counts nothing."""
    report = example_report()
    nothing = {"instructions": None, "instructions_by_class": None, "estimate": None}
    layers = tuple(
        replace(layer, **nothing, roofline=LayerRoofline(layer.roofline.floor_ms, None, None, None, None))
        for layer in report.layers
    )
    costliest = tuple(replace(one, waits={}) for one in report.cost.costliest)
    cost = replace(report.cost, kind="measured", uncertainty_percent=None, costliest=costliest, **nothing)
    return replace(report, cost=cost, layers=layers)


def example_report(**changes: object) -> Report:
    """An estimated profile of four layers; keyword arguments replace fields."""
    total = sum(row[-1] for row in _LAYERS)
    fields = {
        "schema": SCHEMA_VERSION,
        "model": "ShuffleNetV1",
        "variant": "paper",
        "groups": 8,
        "scale": 0.25,
        "input": (8, 8),
        "classes": 10,
        "random_weights": False,
        "macs": 32_496,
        "parameters": 1234,
        "accuracy": Accuracy(0.9861, 1.0, 0.9833, 0.9972, "digits"),
        "shuffle": Shuffle(1, 1, 0, (ShuffleSite("stage2.1.conv1", 8, (8, 8, 24)),)),
        "target": _TARGET,
        "code_bytes": 2048,
        "weight_bytes": 999,
        "peak_activation_bytes": 3072,
        "lower_bound_bytes": 3072,
        "stack_bytes": 288,
        "deepest_stack_bytes": 352,
        "cost": Cost(
            kind="estimated",
            device="virtual Raspberry Pi 4",
            board=_TARGET,
            method="a millisecond a thousand instructions",
            threads=1,
            repeats=1,
            milliseconds=1.01,
            cycles_per_mac=1e-3 * 1.01 * _CLOCK_HZ / 32_496,
            uncertainty_percent=10.0,
            estimate=_estimate(1010),
            instructions=1010,
            instructions_by_class={"load": 400, "widening_multiply": 610},
            layer_sum_difference=total / 1010 - 1,
            costliest=tuple(Costly(i, _WAITS) for i in (1, 2, 0)),
        ),
        "roofline": Roofline(
            compute=Ceiling(108e6, "a few MACs a cycle"),
            l2=Ceiling(5e6, "64-byte lines at 12800 ns"),
            dram=Ceiling(1e6, "64-byte lines at 64000 ns"),
            line_bytes=64,
            floor_ms=0.3,
            compute_ms=0.28,
            dram_ms=0.1,
            dram_bytes=100,
            times_floor=1.01 / 0.3,
        ),
        "layers": tuple(_layer(*row, floor) for row, floor in zip(_LAYERS, _FLOORS, strict=True)),
        "memory": (ArenaTensor("x", 0, 192, 0, 1), ArenaTensor("y", 1536, 1536, 1, 2), ArenaTensor("z", 0, 1536, 2, 3)),
        "verification": Verification("integer reference", "logits, bit for bit,", 4, "digits", True),
        "environment": {"shufflec": "0.1.0", "tvm": "0.27.0.post1"},
    }
    return Report(**(fields | changes))
