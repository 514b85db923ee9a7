"""How the published implementations of ShuffleNetV2 name their weights, and what those are called here."""

from __future__ import annotations

from dataclasses import dataclass

from shufflec.models.architecture_v2 import ArchitectureV2

_NORM = ("weight", "bias", "running_mean", "running_var")
_BRANCH1 = {"conv2": "0", "bn2": "1", "conv3": "2", "bn3": "3"}
_BRANCH2 = {"conv1": "0", "bn1": "1", "conv2": "3", "bn2": "4", "conv3": "5", "bn3": "6"}


@dataclass(frozen=True)
class NamingV2:
    """One implementation's names.

    variant: of ArchitectureV2. title: in words. stem, last: theirs, without the number behind. unit: theirs, with
    `{name}` for "stage2.0" or `{index}` for a number from 0 to 15. branches: theirs for branch1 and branch2.
    classifier: theirs. mark: a name that no other implementation has.
    """

    variant: str
    title: str
    stem: str
    unit: str
    branches: tuple[str, str]
    last: str
    classifier: str
    mark: str

    def theirs(self, arch: ArchitectureV2) -> dict[str, str]:
        """Our name of every weight -> their name."""
        names = self._conv("stem", self.stem) | self._conv("last", self.last)
        for index, unit in enumerate(arch.units()):
            prefix = self.unit.format(name=unit.name, index=index)
            for ours, theirs, layers in zip(("branch1", "branch2"), self.branches, (_BRANCH1, _BRANCH2), strict=True):
                if ours == "branch1" and unit.stride == 1:
                    continue
                for layer, number in layers.items():
                    for last in _NORM if layer.startswith("bn") else ("weight",):
                        names[f"{unit.name}.{ours}.{layer}.{last}"] = f"{prefix}.{theirs}.{number}.{last}"
        names["fc.weight"] = f"{self.classifier}.weight"
        if arch.classifier_bias:
            names["fc.bias"] = f"{self.classifier}.bias"
        return names

    @staticmethod
    def _conv(ours: str, theirs: str) -> dict[str, str]:
        names = {f"{ours}.conv.weight": f"{theirs}.0.weight"}
        return names | {f"{ours}.bn.{last}": f"{theirs}.1.{last}" for last in _NORM}


NAMINGS_V2 = (
    NamingV2(
        "torchvision",
        "torchvision's shufflenet_v2",
        "conv1",
        "{name}",
        ("branch1", "branch2"),
        "conv5",
        "fc",
        "stage2.0.branch2.6.weight",
    ),
    NamingV2(
        "megvii",
        "megvii's ShuffleNetV2",
        "first_conv",
        "features.{index}",
        ("branch_proj", "branch_main"),
        "conv_last",
        "classifier.0",
        "features.0.branch_proj.3.weight",
    ),
)
