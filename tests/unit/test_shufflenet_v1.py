"""What tells the three variants apart, against plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shufflec.models.architecture import GROUPS, VARIANTS, Architecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.models.shufflenet_v1 import build


def _pool(x: np.ndarray, padding, reduce) -> np.ndarray:
    """3x3, stride 2, over [H, W] with explicit padding; reduce takes the pixels inside and the number outside."""
    top, left, bottom, right = padding
    height, width = x.shape
    rows, columns = (height + top + bottom - 3) // 2 + 1, (width + left + right - 3) // 2 + 1
    out = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            y0, x0 = 2 * row - top, 2 * column - left
            inside = x[max(y0, 0) : y0 + 3, max(x0, 0) : x0 + 3]
            out[row, column] = reduce(inside)
    return out


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(32, 32), (33, 46), (36, 35), (57, 58)])
def test_pools(variant, size):
    arch = Architecture(3, 0.25, variant, 10, size)
    model = build(arch)
    height, width = (size[0] + 1) // 2, (size[1] + 1) // 2
    x = np.random.default_rng(0).random((height, width)).astype(np.float32)
    padding = arch.pool_padding(height, width)
    pooled = model.stem.pool(torch.from_numpy(x)[None, None])[0, 0].numpy()
    np.testing.assert_array_equal(pooled, _pool(x, padding, np.max).astype(np.float32))

    height, width = pooled.shape
    padding = arch.pool_padding(height, width)
    mean = (lambda inside: inside.sum() / 9) if arch.pool_counts_padding else np.mean
    averaged = model.stage2[0].pool(torch.from_numpy(pooled)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(averaged, _pool(pooled, padding, mean), rtol=1e-5)
    assert averaged.shape == ((height + 1) // 2, (width + 1) // 2)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("groups", GROUPS)
def test_shuffle_is_the_architectures_permutation(groups, variant):
    arch = Architecture(groups, 0.25, variant, 10, 32)
    model = build(arch)
    units = [*model.stage2, *model.stage3, *model.stage4]
    shuffles = [unit.shuffle for unit in units if not isinstance(unit.shuffle, torch.nn.Identity)]
    assert len(shuffles) == arch.shuffle_count
    if shuffles:
        channels = arch.stage_channels[2] // 4
        x = torch.arange(channels, dtype=torch.float32).reshape(1, channels, 1, 1)
        assert shuffles[-1](x).flatten().int().tolist() == arch.shuffle_order(channels)


def test_without_shuffle_a_group_sees_its_own_channels_alone():
    """And both networks begin with the same weights, so that two trainings with one seed are a pair."""
    arch = Architecture(3, 0.25, "paper", 10, 32)
    states = []
    for shuffle in (True, False):
        torch.manual_seed(0)
        model = build(replace(arch, shuffle=shuffle)).eval()
        states.append(model.state_dict())
        x = torch.rand(1, 60, 4, 4)
        changed = x.clone()
        changed[:, :20] += 1.0  # the first group's inputs
        with torch.no_grad():
            beyond = (model.stage2[1](x) - model.stage2[1](changed))[:, 20:].abs().max()
        assert (beyond > 0) == shuffle
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_place_of_the_shuffle(variant):
    """megvii shuffles what leaves the depthwise convolution, the others what enters it."""
    arch = Architecture(3, 0.25, variant, 10, 32)
    unit = build(arch).eval().stage2[1]
    calls = []
    for name in ("conv1", "conv2", "conv3", "shuffle"):
        getattr(unit, name).register_forward_hook(lambda *_, name=name: calls.append(name))
    unit(torch.zeros(1, 60, 4, 4))
    after = ["conv1", "conv2", "shuffle", "conv3"]
    assert calls == (after if variant == "megvii" else ["conv1", "shuffle", "conv2", "conv3"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_output_for_a_batch_equals_that_of_its_images(variant):
    model = random_checkpoint(Architecture(2, 0.25, variant, 5, (40, 33))).build()
    x = torch.randn(3, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(image[None]) for image in x])
    assert together.shape == (3, 5)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert float(together.std()) > 1e-3


def test_classifier_bias_only_in_the_paper_variant():
    biases = {variant: build(Architecture(1, 0.25, variant, 3, 32)).fc.bias is not None for variant in VARIANTS}
    assert biases == {"paper": True, "megvii": False, "mindcv": False}
