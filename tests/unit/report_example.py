"""A small report with every field filled, for the tests of rendering and of the schema."""

from __future__ import annotations

from dataclasses import replace

from shufflec.reports.schema import (
    SCHEMA_VERSION,
    Accuracy,
    ArenaTensor,
    Cost,
    Estimate,
    Layer,
    Report,
    Shuffle,
    ShuffleSite,
    TargetInfo,
    Verification,
)

_LAYERS = (
    ("quantize", "quantize", (8, 8, 3), 0, 100),
    ("stage2.1.conv1", "conv2d", (8, 8, 24), 18_432, 600),
    ("stage2.1.conv2", "depthwise_conv2d", (8, 8, 24), 13_824, 250),
    ("classifier", "dense", (1, 1, 10), 240, 50),
)


def _estimate(cost: int) -> Estimate:
    """Parts of cost/1000 milliseconds."""
    return Estimate(0.7 * cost / 1e3, 0.1 * cost / 1e3, 0.15 * cost / 1e3, 0.05 * cost / 1e3, 8 * cost, 2 * cost, cost)


def simulated_report() -> Report:
    """The same of a board without a time model."""
    report = example_report()
    layers = tuple(replace(layer, estimate=None) for layer in report.layers)
    cost = replace(report.cost, kind="simulated", uncertainty_percent=None, estimate=None)
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
        "target": TargetInfo("rasp4", "Raspberry Pi 4", "cortex-a72", "neon", 1_800_000_000),
        "code_bytes": 2048,
        "weight_bytes": 999,
        "peak_activation_bytes": 3072,
        "lower_bound_bytes": 3072,
        "cost": Cost(
            kind="estimated",
            device="virtual Raspberry Pi 4",
            method="a millisecond a thousand instructions",
            threads=1,
            repeats=1,
            milliseconds=1.01,
            uncertainty_percent=10.0,
            estimate=_estimate(1010),
            instructions=1010,
            instructions_by_class={"load": 400, "widening_multiply": 610},
            layer_sum_difference=total / 1010 - 1,
        ),
        "layers": tuple(
            Layer(
                name,
                kind,
                shape,
                macs,
                cost / 1e3,
                _estimate(cost),
                cost,
                {"load": cost // 2, "widening_multiply": cost - cost // 2},
                cost / total,
            )
            for name, kind, shape, macs, cost in _LAYERS
        ),
        "memory": (ArenaTensor("x", 0, 192, 0, 1), ArenaTensor("y", 1536, 1536, 1, 2), ArenaTensor("z", 0, 1536, 2, 3)),
        "verification": Verification("integer reference", "logits, bit for bit,", 4, "digits", True),
        "environment": {"shufflec": "0.1.0", "tvm": "0.27.0.post1"},
    }
    return Report(**(fields | changes))
