"""Every width of ShuffleNetV2, in both forms, compiles for boards of both families without a copy of any channel."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest

from shufflec.backends.baremetal.firmware import compile_firmware
from shufflec.backends.compile import compile_model
from shufflec.ir.pipeline import lower
from shufflec.ir.rules import M
from shufflec.kernels.a64 import pointwise_parts
from shufflec.models.architecture_v2 import SCALES, ArchitectureV2
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.prepare import prepare_model
from shufflec.targets.target import load_target

pytestmark = pytest.mark.board

SIZE = 32
MOVES = {"channel_slice", "channel_shuffle", "requantize", "copy", "pad"}
WIDTHS = [*((scale, "torchvision") for scale in SCALES), (1.0, "megvii")]


@cache
def quantized(scale: float, variant: str) -> onnx.ModelProto:
    return prepare_model(random_checkpoint(ArchitectureV2(scale, variant, 10, SIZE)), use_cache=False).model


@pytest.mark.parametrize(("scale", "variant"), WIDTHS)
def test_every_width_compiles_for_a_pi_without_a_copy(scale, variant):
    compiled = compile_model(quantized(scale, variant), load_target("rasp4"), "v2")
    found = 16 if variant == "torchvision" else 13
    assert compiled.integer.shuffle == {"found": found, "folded": found, "copies_left": 0}
    assert not MOVES & {step.kernel.workload.kind for step in compiled.program.steps}
    parted = [layer for layer in compiled.program.layers if layer.steps[0].targets]
    # Of 16 + 3 convolutions that end a branch, all but the last of each stage have several readers.
    assert len(parted) == 16
    assert {layer.steps[0].kernel.family for layer in parted} == {pointwise_parts.NAME}
    assert len(compiled.library) > 100_000


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
def test_the_smallest_width_compiles_for_a_microcontroller_without_a_copy(target):
    images = [np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)]
    compiled = compile_firmware(quantized(0.5, "torchvision"), load_target(target), "v2", images)
    assert compiled.integer.shuffle == {"found": 16, "folded": 16, "copies_left": 0}
    kinds = {step.kernel.workload.kind for step in compiled.firmware.program.steps}
    assert not (MOVES - {"pad"}) & kinds


@pytest.mark.parametrize(("scale", "variant"), WIDTHS)
def test_the_other_rounding_rule_moves_nothing_either(scale, variant):
    lowered = lower(quantized(scale, variant), rule=M)
    assert lowered.shuffle["copies_left"] == 0
    assert not {"channel_slice", "channel_shuffle"} & {op.kind for op in lowered.graph.ops}
