"""Which network a set of weights belongs to, told from its names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.errors import InputFileError, OptionError, UnsupportedModelError
from shufflec.models.architecture import GROUPS, SCALE_RANGE, Architecture
from shufflec.models.architecture_v2 import SCALES, ArchitectureV2
from shufflec.models.families import AnyArchitecture
from shufflec.models.foreign.names import NAMINGS, Naming
from shufflec.models.foreign.names_v2 import NAMINGS_V2, NamingV2

#: Published widths; another width is worked out from the channels.
_SCALES = (0.5, 1.0, 1.5, 2.0, 0.25)
_TRAINED_SIZE = (224, 224)


@dataclass(frozen=True)
class Recognition:
    """What a file is.

    naming: whose names its weights have. architecture, preprocessing: of the network. reasons: what in the file says
    so, one sentence each. assumptions: what the file does not say, and what is taken instead, one sentence each.
    """

    naming: Naming | NamingV2
    architecture: AnyArchitecture
    preprocessing: Preprocessing
    reasons: tuple[str, ...]
    assumptions: tuple[str, ...]


def recognize(path: Path, state: Mapping[str, torch.Tensor], input_size: tuple[int, int] | None = None) -> Recognition:
    """The ShuffleNet that `state` holds the weights of.

    input_size: (H, W) to use it with; None: 224x224, which the published networks were trained at.
    Raises InputFileError when names or shapes are none of a known implementation's.
    """
    naming = next((naming for naming in (*NAMINGS, *NAMINGS_V2) if naming.mark in state), None)
    if naming is None:
        shown = ", ".join(sorted(state)[:3])
        raise InputFileError(
            path,
            f"has weights of no known ShuffleNet: {shown}, ...",
            f"expected {', '.join(known.title for known in (*NAMINGS, *NAMINGS_V2))}; other networks: as float ONNX",
        )
    size = input_size or _TRAINED_SIZE
    try:
        told = _tell_v2 if isinstance(naming, NamingV2) else _tell_v1
        arch, reasons = told(path, state, naming, size)
    except OptionError as error:
        raise UnsupportedModelError(f"{path}: {error.message}", error.hint) from error
    settled = f"{naming.mark} is a name of {naming.title} alone, which settles the variant: {naming.variant}."
    preprocessing = variant_preprocessing(naming.variant, arch.input_size)
    assumptions = [f"Images are prepared as {naming.title} does: {preprocessing.in_words()}."]
    if input_size is None:
        assumptions.append("The input is 224x224, as the published networks were trained; --input-size says otherwise.")
    return Recognition(naming, arch, preprocessing, (settled, *reasons), tuple(assumptions))


def _tell_v1(
    path: Path, state: Mapping[str, torch.Tensor], naming: Naming, size: tuple[int, int]
) -> tuple[Architecture, tuple[str, ...]]:
    groups, channels = _groups_and_channels(path, state, naming)
    classes = _shape(path, state, f"{naming.classifier}.weight", 2)[0]
    stem = _shape(path, state, "first_conv.0.weight", 4)[0]
    arch = architecture_of(naming.variant, groups, channels, classes, size, stem)
    if arch is None:
        raise InputFileError(path, f"has {channels} channels in stage 2, which no width from 0.25x to 2x gives")
    return arch, (
        f"The second unit's first convolution takes {channels // groups} of {channels} channels: {groups} groups.",
        f"Stages of {', '.join(map(str, arch.stage_channels))} channels are {arch.scale:g}x.",
    )


def _tell_v2(
    path: Path, state: Mapping[str, torch.Tensor], naming: NamingV2, size: tuple[int, int]
) -> tuple[ArchitectureV2, tuple[str, ...]]:
    classes = _shape(path, state, f"{naming.classifier}.weight", 2)[0]
    channels = 2 * _shape(path, state, naming.mark.rpartition(".")[0] + ".weight", 1)[0]
    for scale in SCALES:
        arch = ArchitectureV2(scale, naming.variant, classes, size)
        if arch.stage_channels[0] == channels:
            return arch, (f"Stages of {', '.join(map(str, arch.stage_channels))} channels are {arch.scale:g}x.",)
    raise InputFileError(path, f"has {channels} channels in stage 2, which no width of ShuffleNetV2 gives")


def _groups_and_channels(path: Path, state: Mapping[str, torch.Tensor], naming: Naming) -> tuple[int, int]:
    """Groups, and the channels of stage 2, from the second unit: the first one's 1x1 is not grouped."""
    prefix = "features.1."
    per_group = _shape(path, state, f"{prefix}{naming.layers['conv1']}.weight", 4)[1]
    channels = _shape(path, state, f"{prefix}{naming.layers['conv3']}.weight", 4)[0]
    groups = channels // per_group if per_group else 0
    if groups not in GROUPS or groups * per_group != channels:
        raise InputFileError(path, f"its second unit has {channels} channels in groups of {per_group}: no ShuffleNetV1")
    return groups, channels


def architecture_of(
    variant: str, groups: int, channels: int, classes: int, input_size: tuple[int, int], stem: int
) -> Architecture | None:
    """The network with `channels` in stage 2 and `stem` in the first convolution: of a published width if one fits,
    else of the smallest multiple of 1/400; None where no width gives these channels.

    Raises OptionError for groups, classes or a stem that no ShuffleNetV1 has.
    """
    low, high = (round(400 * bound) for bound in SCALE_RANGE)
    for scale in (*_SCALES, *(step / 400 for step in range(low, high + 1))):
        arch = Architecture(groups, scale, variant, classes, input_size)
        if arch.stage_channels[0] == channels:
            return arch if arch.stem == stem else replace(arch, stem_channels=stem)
    return None


def _shape(path: Path, state: Mapping[str, torch.Tensor], name: str, rank: int) -> tuple[int, ...]:
    if name not in state:
        raise InputFileError(path, f"has no weight {name}", "it is not the whole network; save all of its state dict")
    shape = tuple(state[name].shape)
    if len(shape) != rank:
        raise InputFileError(path, f"weight {name} has shape {list(shape)}, expected {rank} dimensions")
    return shape
