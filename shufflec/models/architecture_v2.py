"""What makes one ShuffleNetV2 differ from another, and the units that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from shufflec.errors import OptionError
from shufflec.models.architecture import CLASSES_RANGE, checked_size, is_int

SCALES = (0.5, 1.0, 1.5, 2.0)
VARIANTS_V2 = ("torchvision", "megvii")

# Table 5 of arXiv 1807.11164: channels of stages 2, 3 and 4, and of the last convolution.
_CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
_STEM_CHANNELS = 24
_STAGE_UNITS = (4, 8, 4)


@dataclass(frozen=True)
class UnitV2:
    """One unit. Stride 1: half of the channels pass by, the other half go through branch2. Stride 2: all go through
    both branches.

    branch2 is conv1 (1x1) -> conv2 (3x3 depthwise) -> conv3 (1x1), each of `branch_channels`; branch1, where the stride
    is 2, is conv2 (depthwise, in_channels) -> conv3 (1x1). The unit's output is both joined.
    """

    name: str
    stride: int
    in_channels: int
    branch_channels: int

    @property
    def out_channels(self) -> int:
        return 2 * self.branch_channels


@dataclass(frozen=True)
class ArchitectureV2:
    """One ShuffleNetV2: everything but its weights.

    scale: 0.5, 1.0, 1.5 or 2.0. variant: "torchvision" or "megvii"; they differ in
      - the shuffle. torchvision: two groups, at the end of every unit. megvii: channels are told apart into even and
        odd at the start of a unit of stride 1, so that nothing is shuffled before a unit of stride 2.
      - the classifier. megvii's has no bias.
    classes: of the classifier. input_size: (H, W) in pixels, or one number for a square; 32 up.

    Raises OptionError for a value outside of these.
    """

    family: ClassVar[str] = "shufflenet_v2"
    title: ClassVar[str] = "ShuffleNetV2"
    groups: ClassVar[None] = None

    scale: float = 1.0
    variant: str = "torchvision"
    classes: int = 1000
    input_size: int | tuple[int, int] = 224

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS_V2:
            raise OptionError("variant", self.variant, f"expected one of {', '.join(VARIANTS_V2)} for ShuffleNetV2")
        if isinstance(self.scale, bool) or self.scale not in SCALES:
            known = ", ".join(f"{scale:g}" for scale in SCALES)
            raise OptionError("scale", self.scale, f"expected one of {known} for ShuffleNetV2")
        low, high = CLASSES_RANGE
        if not is_int(self.classes) or not low <= self.classes <= high:
            raise OptionError("classes", self.classes, f"expected a whole number from {low} to {high}")
        object.__setattr__(self, "scale", float(self.scale))
        object.__setattr__(self, "input_size", checked_size(self.input_size))

    @property
    def stem(self) -> int:
        """Output channels of the first convolution."""
        return _STEM_CHANNELS

    @property
    def stage_channels(self) -> tuple[int, int, int]:
        """Output channels of stages 2, 3 and 4."""
        return _CHANNELS[self.scale][:3]

    @property
    def last_channels(self) -> int:
        """Output channels of the 1x1 convolution behind stage 4."""
        return _CHANNELS[self.scale][3]

    @property
    def classifier_bias(self) -> bool:
        """Whether the classifier adds a bias."""
        return self.variant == "torchvision"

    @property
    def shuffle_count(self) -> int:
        """Number of channel shuffles: one in each of the 16 units, or in the 13 of stride 1 (megvii)."""
        return sum(self.variant == "torchvision" or unit.stride == 1 for unit in self.units())

    def units(self) -> list[UnitV2]:
        """The 16 units in order, named `stage2.0` to `stage4.3`."""
        units = []
        channels = self.stem
        for stage, (count, out) in enumerate(zip(_STAGE_UNITS, self.stage_channels, strict=True), start=2):
            for index in range(count):
                units.append(UnitV2(f"stage{stage}.{index}", 2 if index == 0 else 1, channels, out // 2))
                channels = out
        return units

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; `from_dict` reverses it."""
        return {
            "family": self.family,
            "scale": self.scale,
            "variant": self.variant,
            "classes": self.classes,
            "input_size": list(self.input_size),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> ArchitectureV2:
        """The ArchitectureV2 that `to_dict` described. Raises OptionError for another shape or value."""
        fields = dict(data) if isinstance(data, Mapping) else {}
        if fields.pop("family", None) != cls.family:
            raise OptionError("architecture", data, f"expected a description of family {cls.family}")
        expected = {"scale", "variant", "classes", "input_size"}
        if set(fields) != expected:
            differing = ", ".join(sorted(set(fields) ^ expected, key=str))
            raise OptionError("architecture", differing, f"expected exactly {', '.join(sorted(expected))}")
        return cls(**fields)

    def __str__(self) -> str:
        height, width = self.input_size
        return f"{self.title} {self.scale:g}x ({self.variant}), {height}x{width}, {self.classes} classes"
