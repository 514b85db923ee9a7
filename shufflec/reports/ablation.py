"""What `shufflec ablate` found: top-1 of every network and seed, and the comparisons of the paper's tables 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from shufflec.models.architecture import Architecture
from shufflec.models.published_accuracy import published_accuracy
from shufflec.reports.ablation_statistics import CONFIDENCE, Mean, PairedTest, mean_of, paired_tests

SCHEMA = 1


@dataclass(frozen=True)
class Arm:
    """One network over all seeds.

    shuffle: True for one group too, which has none to leave out. macs: of one inference, classifier included.
    right: test images whose class came first, a number a seed.
    """

    groups: int
    shuffle: bool
    macs: int
    params: int
    right: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Points of top-1 error (per cent) that `arm` has less than `against`, seed by seed."""

    arm: Arm
    against: Arm
    differences: tuple[float, ...]
    test: PairedTest


@dataclass(frozen=True)
class AblationReport:
    """All trainings of one ablation.

    data: the data set's name without its folder. train_images, test_images: in its splits. recipe: of every training.
    arms: by groups, with shuffle before without. environment: versions that decide the last bits.
    """

    data: str
    classes: int
    train_images: int
    test_images: int
    scale: float
    variant: str
    input_size: tuple[int, int]
    recipe: Mapping[str, object]
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    environment: Mapping[str, str]

    def errors(self, arm: Arm) -> list[float]:
        """Top-1 error in per cent, a number a seed."""
        return [100 * (1 - right / self.test_images) for right in arm.right]

    def mean(self, arm: Arm) -> Mean:
        return mean_of(self.errors(arm))

    @property
    def one_image(self) -> float:
        """Points of top-1 error that one test image makes: the finest difference that there is."""
        return 100 / self.test_images

    def find(self, groups: int, shuffle: bool) -> Arm | None:
        """The arm of that many groups; the one of one group answers for both."""
        return next(
            (arm for arm in self.arms if arm.groups == groups and arm.shuffle == (shuffle or groups == 1)), None
        )

    @property
    def group_counts(self) -> list[int]:
        return list(dict.fromkeys(arm.groups for arm in self.arms))

    def shuffle_comparisons(self) -> list[Comparison]:
        """With shuffle against without, for every number of groups that was trained both ways: the paper's table 3."""
        pairs = [(self.find(groups, True), self.find(groups, False)) for groups in self.group_counts]
        return self._compared([(on, off) for on, off in pairs if on and off and on is not off])

    def group_comparisons(self) -> list[Comparison]:
        """Every number of groups against the first one, with shuffle where that was trained: the paper's table 2."""
        shuffle = any(arm.shuffle and arm.groups > 1 for arm in self.arms)
        arms = [arm for arm in (self.find(groups, shuffle) for groups in self.group_counts) if arm is not None]
        return self._compared([(arm, arms[0]) for arm in arms[1:]])

    def _compared(self, pairs: list[tuple[Arm, Arm]]) -> list[Comparison]:
        lists = [
            tuple(b - a for a, b in zip(self.errors(arm), self.errors(against), strict=True)) for arm, against in pairs
        ]
        tests = paired_tests(lists)
        return [Comparison(*pair, values, test) for pair, values, test in zip(pairs, lists, tests, strict=True)]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; errors and differences in points of per cent, rounded to a thousandth."""
        return {
            "schema": SCHEMA,
            "data": {
                "name": self.data,
                "classes": self.classes,
                "train_images": self.train_images,
                "test_images": self.test_images,
            },
            "network": {"scale": self.scale, "variant": self.variant, "input_size": list(self.input_size)},
            "recipe": dict(self.recipe),
            "seeds": list(self.seeds),
            "confidence": CONFIDENCE,
            "arms": [self._arm_dict(arm) for arm in self.arms],
            "shuffle_on_against_off": [_comparison_dict(found) for found in self.shuffle_comparisons()],
            "groups_against_first": [_comparison_dict(found) for found in self.group_comparisons()],
            "environment": dict(self.environment),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def _arm_dict(self, arm: Arm) -> dict[str, object]:
        return {
            "groups": arm.groups,
            "shuffle": arm.shuffle if arm.groups > 1 else None,
            "macs": arm.macs,
            "params": arm.params,
            "right": list(arm.right),
            "top1_error_percent": _mean_dict(self.mean(arm)),
            "paper_imagenet_error_percent": paper_error(self.scale, arm),
        }


def paper_error(scale: float, arm: Arm) -> float | None:
    """Top-1 error in per cent that the paper gives this network on ImageNet, None where it gives none."""
    published = published_accuracy(Architecture(arm.groups, scale, "paper", shuffle=arm.shuffle))
    return None if published is None else round(100 * (1 - published.top1), 3)


def _mean_dict(mean: Mean) -> dict[str, object]:
    interval = None if mean.interval is None else [_thousandth(bound) for bound in mean.interval]
    return {"mean": _thousandth(mean.value), "interval": interval}


def _comparison_dict(found: Comparison) -> dict[str, object]:
    return {
        "groups": found.arm.groups,
        "against_groups": found.against.groups,
        "differences": [_thousandth(value) for value in found.differences],
        **_mean_dict(found.test.mean),
        "p": _rounded(found.test.p),
        "p_holm": _rounded(found.test.adjusted),
        "significant": found.test.significant,
    }


def _thousandth(value: float) -> float:
    return round(value, 3) + 0.0  # which makes of -0.0 a 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
