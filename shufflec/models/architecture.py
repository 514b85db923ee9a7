"""What makes one ShuffleNetV1 differ from another, and the units that follow from it.

Everything that builds, counts or exports a network reads the same `Unit` list from here, so that the
torch module, the complexity table and the exported graph cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

from shufflec.errors import OptionError

VARIANTS = ("paper", "megvii", "mindcv")
GROUPS = (1, 2, 3, 4, 8)
SCALE_RANGE = (0.25, 2.0)
INPUT_RANGE = (32, 4096)
CLASSES_RANGE = (2, 100_000)

# Table 1 of arXiv 1707.01083v2: channels of stage 2 at 1x; stages 3 and 4 have twice and four times as many.
_STAGE2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
_STEM_CHANNELS = 24
_STAGE_UNITS = (4, 8, 4)

# The stems of the published models (ShuffleNet-Series' network.py; mindcv's shufflenetv1.py has the same table).
_PUBLISHED_STEMS = {
    (3, 0.5): 12, (3, 1.0): 24, (3, 1.5): 24, (3, 2.0): 48,
    (8, 0.5): 16, (8, 1.0): 24, (8, 1.5): 24, (8, 2.0): 48,
}  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """One ShuffleNet unit: conv1 (1x1) -> conv2 (3x3 depthwise) -> conv3 (1x1), beside a shortcut.

    in_channels, mid_channels and out_channels are those of the unit; conv3 yields `branch_channels`, which is
    out - in where the shortcut is concatenated (stride 2) and out where it is added (stride 1). conv1 has
    `conv1_groups` groups and conv3 has `groups`. `shuffle` tells whether the unit has a channel shuffle.
    """

    name: str
    stride: int
    in_channels: int
    mid_channels: int
    out_channels: int
    groups: int
    conv1_groups: int
    shuffle: bool

    @property
    def branch_channels(self) -> int:
        return self.out_channels - self.in_channels if self.stride == 2 else self.out_channels


@dataclass(frozen=True)
class Architecture:
    """One ShuffleNetV1: everything but its weights.

    groups: of the 1x1 convolutions, one of GROUPS. scale: of the channel counts, 0.25 to 2.0.
    variant: "paper", "megvii" or "mindcv"; they differ in
      - the shuffle. paper: reshape (g, n/g), transpose, after the first *grouped* 1x1, so not in the first unit,
        whose 1x1 is not grouped. mindcv: the inverse permutation at the same place, in every unit.
        megvii: the inverse permutation after the depthwise convolution, in every unit.
      - the pools. paper and megvii: padding 1 on every side, the average counts the padding. mindcv: `same`
        padding (on even sizes one row and column, at the bottom and right), the average leaves the padding out.
      - the classifier. paper: with a bias; the others: without.
      - the stem's channels, see `stem`.
    With equal weights megvii gives the outputs of ShuffleNet-Series' code, and mindcv those of mindcv 0.3.0 under
    MindSpore 2.10 (even, odd and mixed input sizes): both were run side by side.
    classes: of the classifier. input_size: (H, W) in pixels, or one number for a square; 32 up.
    stem_channels: overrides the variant's rule; a multiple of groups.
    shuffle: False leaves every channel shuffle out (the paper's table 3), so that a group sees only its own channels
    from unit to unit. One group has none to leave out: there it is always True.

    Raises OptionError for a value outside of these.
    """

    family: ClassVar[str] = "shufflenet_v1"
    title: ClassVar[str] = "ShuffleNetV1"

    groups: int
    scale: float = 1.0
    variant: str = "paper"
    classes: int = 1000
    input_size: int | tuple[int, int] = 224
    stem_channels: int | None = None
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise OptionError("variant", self.variant, f"expected one of {', '.join(VARIANTS)}")
        if not is_int(self.groups) or self.groups not in GROUPS:
            raise OptionError("groups", self.groups, f"expected one of {', '.join(map(str, GROUPS))}")
        low, high = SCALE_RANGE
        if not isinstance(self.scale, Real) or isinstance(self.scale, bool) or not low <= self.scale <= high:
            raise OptionError("scale", self.scale, f"expected a number from {low} to {high}")
        low, high = CLASSES_RANGE
        if not is_int(self.classes) or not low <= self.classes <= high:
            raise OptionError("classes", self.classes, f"expected a whole number from {low} to {high}")
        object.__setattr__(self, "scale", float(self.scale))
        object.__setattr__(self, "input_size", checked_size(self.input_size))
        if not isinstance(self.shuffle, bool):
            raise OptionError("shuffle", self.shuffle, "expected true or false")
        # Equal networks have equal descriptions.
        object.__setattr__(self, "shuffle", self.shuffle or self.groups == 1)
        if self.stem_channels is not None:
            self._check_stem(self.stem_channels)

    def _check_stem(self, stem: int) -> None:
        limit = self.stage_channels[0]
        if not is_int(stem) or stem % self.groups or not 0 < stem < limit:
            raise OptionError(
                "stem channels", stem, f"expected a multiple of the {self.groups} groups between 1 and {limit - 1}"
            )

    @property
    def stage_channels(self) -> tuple[int, int, int]:
        """Output channels of stages 2, 3 and 4.

        Stage 2 is the paper's count times the scale, rounded to a multiple of 4 * groups so that the bottleneck
        (a quarter) divides into the groups; each later stage doubles it (paper, section 3.3).
        """
        step = 4 * self.groups
        stage2 = max(step, math.floor(_STAGE2_CHANNELS[self.groups] * self.scale / step + 0.5) * step)
        return stage2, 2 * stage2, 4 * stage2

    @property
    def stem(self) -> int:
        """Output channels of the first convolution.

        24 * scale, rounded up to a multiple of the groups, which keeps the first unit's branch divisible by them;
        the models that megvii and mindcv published have a table of their own.
        """
        if self.stem_channels is not None:
            return self.stem_channels
        published = _PUBLISHED_STEMS.get((self.groups, self.scale))
        if self.variant != "paper" and published is not None:
            return published
        return math.ceil(_STEM_CHANNELS * self.scale / self.groups) * self.groups

    @property
    def classifier_bias(self) -> bool:
        """Whether the classifier adds a bias."""
        return self.variant == "paper"

    @property
    def pool_counts_padding(self) -> bool:
        """Whether average pools divide by 9 everywhere (True) or by the number of pixels inside (False)."""
        return self.variant != "mindcv"

    def pool_padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Padding (top, left, bottom, right) of a 3x3, stride-2 pool over an input of height x width.

        The order is that of ONNX `pads`. `same` (mindcv) puts an odd row or column at the end; checked against
        MindSpore 2.10, whose AvgPool2d also leaves the padding out of its divisor.
        """
        if self.variant == "mindcv":
            return height % 2, width % 2, 1, 1
        return 1, 1, 1, 1

    def shuffle_order(self, channels: int) -> list[int]:
        """The channel permutation of one shuffle: output channel i is input channel order[i]."""
        rows, columns = self.groups, channels // self.groups
        if self.variant != "paper":
            rows, columns = columns, rows
        return [row * columns + column for column in range(columns) for row in range(rows)]

    @property
    def shuffle_count(self) -> int:
        """Number of units with a channel shuffle: 0 for one group and where `shuffle` is False, else 15 for paper
        and 16 for megvii and mindcv.
        """
        return sum(unit.shuffle for unit in self.units())

    def units(self) -> list[Unit]:
        """The 16 units in order, named `stage2.0` to `stage4.3`."""
        units = []
        channels = self.stem
        for stage, (count, out) in enumerate(zip(_STAGE_UNITS, self.stage_channels, strict=True), start=2):
            for index in range(count):
                first = stage == 2 and index == 0
                units.append(
                    Unit(
                        name=f"stage{stage}.{index}",
                        stride=2 if index == 0 else 1,
                        in_channels=channels,
                        mid_channels=out // 4,
                        out_channels=out,
                        groups=self.groups,
                        # Paper, section 3.2: no grouped 1x1 on the stem's few channels. All variants keep to it.
                        conv1_groups=1 if first else self.groups,
                        shuffle=self.shuffle and self.groups > 1 and not (first and self.variant == "paper"),
                    )
                )
                channels = out
        return units

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; `from_dict` reverses it. `shuffle` is in it only where it is False."""
        fields = {
            "family": self.family,
            "groups": self.groups,
            "scale": self.scale,
            "variant": self.variant,
            "classes": self.classes,
            "input_size": list(self.input_size),
            "stem_channels": self.stem_channels,
        }
        return fields if self.shuffle else {**fields, "shuffle": False}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Architecture:
        """The Architecture that `to_dict` described. Raises OptionError for another shape or value."""
        fields = dict(data) if isinstance(data, Mapping) else {}
        if fields.pop("family", None) != cls.family:
            raise OptionError("architecture", data, "expected a description of family shufflenet_v1")
        expected = {"groups", "scale", "variant", "classes", "input_size", "stem_channels"}
        if differing := (set(fields) - {"shuffle"}) ^ expected:
            listed = ", ".join(sorted(differing, key=str))
            raise OptionError("architecture", listed, f"expected exactly {', '.join(sorted(expected))}")
        return cls(**fields)

    def __str__(self) -> str:
        height, width = self.input_size
        kind = self.variant if self.shuffle else f"{self.variant}, no shuffle"
        return f"{self.title} {self.scale:g}x g={self.groups} ({kind}), {height}x{width}, {self.classes} classes"


def is_int(value: object) -> bool:
    """Whether a value is a whole number and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def checked_size(size: object) -> tuple[int, int]:
    """(H, W) from one number or two. Raises OptionError for other values or sizes out of range."""
    low, high = INPUT_RANGE
    pair = (size, size) if is_int(size) else tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(pair) != 2 or not all(is_int(side) and low <= side <= high for side in pair):
        raise OptionError("input size", size, f"expected H and W, each a whole number from {low} to {high} pixels")
    return int(pair[0]), int(pair[1])


def parse_input_size(text: str) -> tuple[int, int]:
    """(H, W) from a command line's "224" or "480x640". Raises OptionError for other text or sizes out of range."""
    parts = str(text).lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
        raise OptionError("--input-size", text, "expected pixels, e.g. 224, or height x width, e.g. 480x640")
    sides = [int(part) for part in parts]
    return checked_size(sides[0] if len(sides) == 1 else sides)
