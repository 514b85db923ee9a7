"""LLVM's scheduling models as an axis of the tilings.

The order of the instructions inside a step is LLVM's choice, by the model of the core named as -mcpu; features are
pinned by the target, so the model changes nothing else. Emitter.settle keeps the models from spilling.
"""

from __future__ import annotations

SCHEDULE = "schedule"

#: Out-of-order models first: they keep the emitted order, which the micro-kernels have interleaved already.
MODELS = ("cyclone", "cortex-a53", "exynos-m3")
