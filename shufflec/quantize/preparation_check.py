"""Whether a float network is right more often on calibration images that are prepared in another way.

For networks that remember nothing of their training, as batch norm is folded into them: only their answers can tell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shufflec.data.preprocessing import Preprocessing
from shufflec.quantize.calibration import Calibration
from shufflec.quantize.preparations import other_preparations, prepared_again

_MOST_IMAGES = 64
#: In standard deviations of a fair coin that decides which way is right where only one is.
_SURE = 3.0


def preparation_note(
    predict: Callable[[np.ndarray], np.ndarray], calibration: Calibration, preprocessing: Preprocessing
) -> str | None:
    """One sentence that names a way to prepare the images with which the network is right far more often, or None.

    predict: float32 [N, 3, H, W] -> logits [N, classes]. Of images that only one of both ways gets right, nearly all
    must speak for the other one, so that chance does not warn.
    """
    if calibration.labels is None:
        return None
    chosen = np.linspace(0, len(calibration.images) - 1, min(len(calibration.images), _MOST_IMAGES)).round().astype(int)
    images, labels = calibration.images[chosen], calibration.labels[chosen]
    right = predict(images).argmax(axis=1) == labels
    best, words = right, ""
    for name, other in other_preparations(preprocessing).items():
        found = predict(prepared_again(images, preprocessing, other)).argmax(axis=1) == labels
        if found.sum() > best.sum() and _surely_better(found, right):
            best, words = found, name
    if not words:
        return None
    return (
        f"The calibration images may be prepared wrongly: {words} the float network gets {best.sum()} of {len(labels)} "
        f"right, as they are {right.sum()}; see --mean, --std and --bgr, or the order of the stored colours."
    )


def _surely_better(other: np.ndarray, right: np.ndarray) -> bool:
    """The sign test: only images on which the two differ say anything."""
    gained, lost = int((other & ~right).sum()), int((right & ~other).sum())
    return gained - lost > _SURE * np.sqrt(max(gained + lost, 1))
