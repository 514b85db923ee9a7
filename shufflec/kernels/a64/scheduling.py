"""LLVM's scheduling models as an axis of the tilings.

The order of the instructions inside a step is LLVM's choice, by the model of the core named as -mcpu; features are
pinned by the target, so the model changes nothing else. Emitter.settle keeps the models from spilling.
"""

from __future__ import annotations

from shufflec.kernels.kernel import Workload

SCHEDULE = "schedule"

#: A tiling names a model by its place here. The out-of-order ones keep the emitted order.
MODELS = ("cyclone", "cortex-a53", "exynos-m3")


def models(workload: Workload) -> tuple[int, ...]:
    """Places in MODELS, the default first.

    Without dot products an in-order core may run the code, which needs a result's users far behind it; an out-of-order
    core is none the slower for it.
    """
    return (0, 1, 2) if workload.isa == "dotprod" else (1, 0, 2)
