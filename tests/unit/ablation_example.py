"""An ablation report with figures that are easy to follow: 200 test images, so that one is half a point."""

from __future__ import annotations

from shufflec.reports.ablation import AblationReport, Arm


def example(seeds: int = 4, groups: tuple[int, ...] = (1, 3, 8), shuffles: tuple[bool, ...] = (True, False), **changes):
    """g=8 gains 4 points of shuffle, give or take; g=3 nothing that can be told from chance."""
    right = {
        (1, True): (180, 182, 181, 181),
        (3, True): (182, 178, 184, 180),
        (3, False): (180, 182, 181, 181),
        (8, True): (188, 191, 189, 188),
        (8, False): (181, 181, 180, 182),
    }
    arms = [
        Arm(count, shuffle, 1_000_000 + count, 60_000 + count, right[count, shuffle][:seeds])
        for count in groups
        for shuffle in (shuffles if count > 1 else (True,))
    ]
    return AblationReport(
        **{
            "data": "photos",
            "classes": 5,
            "train_images": 800,
            "test_images": 200,
            "scale": 0.25,
            "variant": "paper",
            "input_size": (32, 48),
            "recipe": {"optimizer": "sgd", "epochs": 7, "lr": 0.1},
            "seeds": tuple(range(seeds)),
            "arms": tuple(arms),
            "environment": {"torch": "2.0"},
            **changes,
        }
    )
