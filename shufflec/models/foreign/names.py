"""How the published implementations of ShuffleNetV1 name their weights, and what those are called here.

`{i}` counts the 16 units. megvii and mindcv agree on the stem and on the first convolution of a unit only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shufflec.models.architecture import Architecture

_NORM = ("weight", "bias", "running_mean", "running_var")
UNITS = 16


@dataclass(frozen=True)
class Naming:
    """One implementation's names.

    variant: of Architecture. title: in words. layers: our layer in a unit -> theirs. classifier: theirs.
    mark: a name that no other implementation has.
    """

    variant: str
    title: str
    layers: Mapping[str, str]
    classifier: str
    mark: str

    def theirs(self, arch: Architecture) -> dict[str, str]:
        """Our name of every weight -> their name."""
        names = {"stem.conv.weight": "first_conv.0.weight"}
        names |= {f"stem.bn.{last}": f"first_conv.1.{last}" for last in _NORM}
        for index, unit in enumerate(arch.units()):
            for ours, theirs in self.layers.items():
                for last in _NORM if ours.startswith("bn") else ("weight",):
                    names[f"{unit.name}.{ours}.{last}"] = f"features.{index}.{theirs}.{last}"
        names["fc.weight"] = f"{self.classifier}.weight"
        return names


NAMINGS = (
    Naming(
        "megvii",
        "megvii's ShuffleNet-Series",
        {
            "conv1": "branch_main_1.0", "bn1": "branch_main_1.1",
            "conv2": "branch_main_1.3", "bn2": "branch_main_1.4",
            "conv3": "branch_main_2.0", "bn3": "branch_main_2.1",
        },
        "classifier.0",
        "features.0.branch_main_1.3.weight",
    ),
    Naming(
        "mindcv",
        "mindcv's shufflenet_v1",
        {
            "conv1": "branch_main_1.0", "bn1": "branch_main_1.1",
            "conv2": "branch_main_2.0", "bn2": "branch_main_2.1",
            "conv3": "branch_main_2.2", "bn3": "branch_main_2.3",
        },
        "classifier",
        "features.0.branch_main_2.2.weight",
    ),
)  # fmt: skip
