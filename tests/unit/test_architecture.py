"""Channel rules, validation and the shuffle's permutation of every variant."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shufflec.errors import ExitCode, OptionError
from shufflec.models.architecture import GROUPS, VARIANTS, Architecture, parse_input_size

SCALES = (0.25, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)


@pytest.mark.parametrize("groups", GROUPS)
def test_stage_channels_at_1x_are_the_papers(groups):
    expected = {
        1: (144, 288, 576),
        2: (200, 400, 800),
        3: (240, 480, 960),
        4: (272, 544, 1088),
        8: (384, 768, 1536),
    }
    arch = Architecture(groups)
    assert arch.stage_channels == expected[groups]
    assert arch.stem == 24


@pytest.mark.parametrize(
    ("groups", "scale", "channels"),
    [
        (3, 0.5, (12, 120, 240, 480)),
        (3, 1.0, (24, 240, 480, 960)),
        (3, 1.5, (24, 360, 720, 1440)),
        (3, 2.0, (48, 480, 960, 1920)),
        (8, 0.5, (16, 192, 384, 768)),
        (8, 1.0, (24, 384, 768, 1536)),
        (8, 1.5, (24, 576, 1152, 2304)),
        (8, 2.0, (48, 768, 1536, 3072)),
    ],
)
@pytest.mark.parametrize("variant", ["megvii", "mindcv"])
def test_channels_of_the_published_models(variant, groups, scale, channels):
    arch = Architecture(groups, scale, variant)
    assert (arch.stem, *arch.stage_channels) == channels


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_grouped_convolution_divides_by_its_groups(groups, scale, variant):
    units = Architecture(groups, scale, variant).units()
    assert len(units) == 16
    for unit in units:
        assert unit.in_channels % unit.conv1_groups == 0
        assert unit.mid_channels % unit.groups == 0
        assert unit.branch_channels % unit.groups == 0
        assert unit.branch_channels > 0


def test_only_the_first_pointwise_convolution_is_not_grouped():
    assert [unit.conv1_groups for unit in Architecture(8).units()] == [1] + [8] * 15


@pytest.mark.parametrize(("variant", "count"), [("paper", 15), ("megvii", 16), ("mindcv", 16)])
def test_shuffle_count(variant, count):
    assert Architecture(3, variant=variant).shuffle_count == count
    assert Architecture(1, variant=variant).shuffle_count == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_shuffle_only_the_shuffles_are_gone(variant):
    plain, without = Architecture(3, variant=variant), Architecture(3, variant=variant, shuffle=False)
    assert without.shuffle_count == 0
    assert [replace(unit, shuffle=False) for unit in plain.units()] == without.units()
    assert str(without) == f"ShuffleNetV1 1x g=3 ({variant}, no shuffle), 224x224, 1000 classes"
    assert Architecture(1, variant=variant, shuffle=False) == Architecture(1, variant=variant)


def test_shuffle_order_of_the_paper_and_its_inverse():
    paper = Architecture(3).shuffle_order(12)
    # Figure 1 of the paper: the first outputs come from the first channel of each of the three groups.
    assert paper[:6] == [0, 4, 8, 1, 5, 9]
    megvii = Architecture(3, variant="megvii").shuffle_order(12)
    assert [paper[index] for index in megvii] == list(range(12))
    assert megvii != paper


def test_same_padding_follows_the_parity_of_the_input():
    arch = Architecture(3, variant="mindcv")
    assert arch.pool_padding(8, 8) == (0, 0, 1, 1)
    assert arch.pool_padding(7, 8) == (1, 0, 1, 1)
    assert Architecture(3).pool_padding(8, 8) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"groups": 5},
        {"groups": True},
        {"groups": "3"},
        {"groups": 3, "scale": 0.1},
        {"groups": 3, "scale": float("nan")},
        {"groups": 3, "variant": "v2"},
        {"groups": 3, "classes": 1},
        {"groups": 3, "classes": 10.0},
        {"groups": 3, "input_size": 31},
        {"groups": 3, "input_size": (224, 5000)},
        {"groups": 3, "input_size": (224, 224, 3)},
        {"groups": 3, "stem_channels": 25},
        {"groups": 3, "stem_channels": 240},
        {"groups": 3, "stem_channels": 0},
    ],
)
def test_wrong_values_are_refused(arguments):
    with pytest.raises(OptionError) as caught:
        Architecture(**arguments)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dictionary_round_trip():
    arch = Architecture(8, 0.5, "mindcv", 7, (33, 46), 24)
    assert Architecture.from_dict(arch.to_dict()) == arch
    assert arch.stem == 24
    without = replace(arch, shuffle=False)
    assert Architecture.from_dict(without.to_dict()) == without != arch


def test_a_plain_description_is_as_it_was_before_shuffles_could_be_left_out():
    """Checkpoints and manifests keep their bytes."""
    expected = '{"family": "shufflenet_v1", "groups": 3, "scale": 1.0, "variant": "paper", "classes": 1000, '
    assert json.dumps(Architecture(3).to_dict()) == expected + '"input_size": [224, 224], "stem_channels": null}'


@pytest.mark.parametrize(
    "change", [{"family": "resnet"}, {"extra": 1}, {"groups": [3]}, {"input_size": "224"}, {"shuffle": 0}]
)
def test_wrong_dictionaries_are_refused(change):
    with pytest.raises(OptionError):
        Architecture.from_dict(Architecture(3).to_dict() | change)
    with pytest.raises(OptionError):
        Architecture.from_dict([])


def test_input_size_of_a_command_line():
    assert parse_input_size("224") == (224, 224)
    assert parse_input_size("480X640") == (480, 640)


@pytest.mark.parametrize("text", ["", "x", "224x", "1x2x3", "-224", "22.4", "\u0662\u0662\u0664", "16", "99999999"])
def test_input_sizes_that_are_none(text):
    with pytest.raises(OptionError):
        parse_input_size(text)
