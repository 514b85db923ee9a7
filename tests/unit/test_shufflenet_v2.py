"""ShuffleNetV2: published counts, the two variants, its description and its checkpoint."""

from __future__ import annotations

import pytest
import torch

from shufflec.errors import InputFileError, OptionError
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import SCALES, ArchitectureV2
from shufflec.models.checkpoint import check_matches, load_checkpoint, save_checkpoint
from shufflec.models.complexity import PAPER_V2_MMACS, TORCHVISION_V2_MPARAMS, complexity
from shufflec.models.families import architecture_from_dict
from shufflec.models.networks import build
from shufflec.models.random_weights import random_checkpoint


@pytest.mark.parametrize("scale", SCALES)
def test_counts_are_the_published_ones(scale):
    counted = complexity(ArchitectureV2(scale))
    assert counted.params == round(TORCHVISION_V2_MPARAMS[scale] * 1e6)
    assert counted.macs / 1e6 == pytest.approx(PAPER_V2_MMACS[scale], rel=0.015)


@pytest.mark.parametrize("variant", ["torchvision", "megvii"])
def test_the_count_is_that_of_the_module(variant):
    arch = ArchitectureV2(1.0, variant, 10, (64, 96))
    assert complexity(arch).params == sum(weight.numel() for weight in build(arch).parameters())


def test_a_unit_shuffles_what_passes_by_with_what_it_made():
    arch = ArchitectureV2(0.5, "torchvision", 10, 32)
    unit = build(arch).eval().stage2[1]
    x = torch.randn(1, 48, 4, 4)
    with torch.no_grad():
        y, made = unit(x), unit.branch2(x[:, 24:])
    assert torch.equal(y[:, 0::2], x[:, :24])
    assert torch.equal(y[:, 1::2], made)


def test_megvii_takes_every_other_channel_and_shuffles_nothing_at_the_end():
    unit = build(ArchitectureV2(0.5, "megvii", 10, 32)).eval().stage2[1]
    x = torch.randn(1, 48, 4, 4)
    with torch.no_grad():
        y, made = unit(x), unit.branch2(x[:, 1::2])
    assert torch.equal(y[:, :24], x[:, 0::2])
    assert torch.equal(y[:, 24:], made)


@pytest.mark.parametrize(("variant", "count"), [("torchvision", 16), ("megvii", 13)])
def test_description_and_shuffles(variant, count):
    arch = ArchitectureV2(1.5, variant, 7, (48, 64))
    assert arch.shuffle_count == count
    assert architecture_from_dict(arch.to_dict()) == arch
    assert architecture_from_dict(Architecture(3).to_dict()) == Architecture(3)
    assert str(arch) == f"ShuffleNetV2 1.5x ({variant}), 48x64, 7 classes"


@pytest.mark.parametrize(
    "values", [{"scale": 0.75}, {"scale": True}, {"variant": "paper"}, {"classes": 1}, {"input_size": 8}]
)
def test_values_out_of_range_are_named(values):
    with pytest.raises(OptionError, match=next(iter(values)).replace("_", " ")):
        ArchitectureV2(**values)


@pytest.mark.parametrize("data", [{}, {"family": "resnet"}, {"family": "shufflenet_v2", "scale": 1.0}, [1]])
def test_another_description_is_an_error(data):
    with pytest.raises(OptionError, match="architecture"):
        architecture_from_dict(data)


def test_checkpoint_round_trip_and_wishes(tmp_path):
    checkpoint = random_checkpoint(ArchitectureV2(0.5, "torchvision", 4, 32), seed=3)
    path = save_checkpoint(tmp_path / "v2.safetensors", checkpoint)
    loaded = load_checkpoint(path)
    assert loaded.architecture == checkpoint.architecture
    x = torch.ones(1, 3, 32, 32)
    assert torch.equal(loaded.build()(x), checkpoint.build()(x))
    check_matches(path, loaded, scale=0.5)
    with pytest.raises(InputFileError, match="has no groups"):
        check_matches(path, loaded, groups=3)
    with pytest.raises(InputFileError, match=r"scale 0\.5 instead of 1\.0"):
        check_matches(path, loaded, scale=1.0)
