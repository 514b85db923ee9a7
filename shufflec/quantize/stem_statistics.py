"""What a network's first batch norm remembers of the images it was trained on, against images at hand.

Its running mean and variance are those of the first convolution's outputs in training. A network of images prepared in
the same way finds them again within a few hundredths; swapped colours, another range or another look do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import conv2d

from shufflec.data.preprocessing import Preprocessing
from shufflec.quantize.preparations import other_preparations, prepared_again

# The bundled networks come to 0.02 at most on other images of their own kind, and photographs to 0.1 where those of the
# training were zoomed crops with jittered colours. Doubled values, inverted ones and noise come to 0.8 and more, one
# photograph out of many to 0.5.
FAR = 0.4
# A wrong order of the colours changes less (0.2 to 0.3 of photographs), and so does enlarging small images: these count
# where something else tells of them, such as half the distance with the colours turned round.
SUSPICIOUS = 0.1
_MOST_IMAGES = 64
_EPSILON = 1e-5  # batch norm's own
_DEAD = 1e-6  # channels with less of the largest variance say nothing


@dataclass(frozen=True)
class StemStatistics:
    """weight: float32 [C, 3, k, k] of the first convolution, stride 2, padding k // 2. mean, variance: float32 [C]."""

    weight: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor

    @staticmethod
    def of(state: Mapping[str, torch.Tensor]) -> StemStatistics:
        """Those of a checkpoint's weights, ShuffleNetV1's or V2's."""
        return StemStatistics(state["stem.conv.weight"], state["stem.bn.running_mean"], state["stem.bn.running_var"])

    def distance(self, images: np.ndarray) -> float:
        """How far the images, float32 [N, 3, H, W], are from those of the training, in standard deviations.

        The root mean square over channels of the difference of the means, plus that of the logarithms of the ratios
        of the deviations.
        """
        sums = torch.zeros(2, len(self.mean), dtype=torch.float64)
        with torch.inference_mode():
            for image in torch.from_numpy(images).split(1):
                outputs = conv2d(image, self.weight, stride=2, padding=self.weight.shape[-1] // 2).double()
                sums += torch.stack((outputs.mean((0, 2, 3)), outputs.square().mean((0, 2, 3))))
        mean, squares = sums / len(images)
        variance = (squares - mean.square()).clamp(min=0)
        alive = self.variance > _DEAD * self.variance.max()
        wanted = (self.variance.double() + _EPSILON).sqrt()
        shift = (mean - self.mean.double()) / wanted
        ratio = torch.log((variance + _EPSILON).sqrt() / wanted)
        return float(shift[alive].square().mean().sqrt() + ratio[alive].square().mean().sqrt())


@dataclass(frozen=True)
class Fit:
    """distance: of the images as they are. better: in words, another way to prepare them that fits far better; its
    distance is better_distance. Neither where there is none."""

    distance: float
    better: str | None = None
    better_distance: float = 0.0

    @property
    def is_far(self) -> bool:
        """Whether the images look unlike those of the training."""
        return self.distance > (FAR if self.better is None else SUSPICIOUS)


def fit(stem: StemStatistics, images: np.ndarray, preprocessing: Preprocessing) -> Fit:
    """Holds images, float32 [N, 3, H, W], that were prepared by `preprocessing`, against the training's."""
    some = images[np.linspace(0, len(images) - 1, min(len(images), _MOST_IMAGES)).round().astype(int)]
    distance = stem.distance(some)
    if distance <= SUSPICIOUS:
        return Fit(distance)
    others = {
        words: stem.distance(prepared_again(some, preprocessing, other))
        for words, other in other_preparations(preprocessing).items()
    }
    words, best = min(others.items(), key=lambda item: item[1])
    return Fit(distance, words, best) if 2 * best < distance else Fit(distance)
