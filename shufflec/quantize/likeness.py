"""Whether calibration images look like those that a network was trained on: warnings, one sentence each."""

from __future__ import annotations

from shufflec.data.preprocessing import Preprocessing
from shufflec.quantize.image_statistics import ImageStatistics
from shufflec.quantize.stem_statistics import SUSPICIOUS, Fit

# Photographs prepared with ImageNet's mean and deviation stay within 1 and 0.6 to 1.4; handwritten digits, black on
# white or white on black, within 1.5 and 2.
_MOST_MEAN, _STD_RANGE = 1.7, (0.25, 3.0)
# Of inputs that are not normalised: parts of white.
_PLAIN_MEAN, _LEAST_PLAIN_STD = (0.05, 0.95), 0.04
_DARK = 64  # of 255: no set of real images is darker in its brightest pixel
_SMALL = 0.5  # of the network's input
_GREY = 0.95


def unlikeness(
    statistics: ImageStatistics, preprocessing: Preprocessing, same_data: bool = False, stem: Fit | None = None
) -> tuple[str, ...]:
    """Warnings about the images, one sentence each; nothing for images as they were in training.

    same_data: the network was trained on this data set, so that grey or small images are its own. stem: the images
    held against what the network remembers of the training's, where it does; then that decides.
    """
    if stem is not None and not same_data:
        return _unlike_remembered(stem, statistics, preprocessing)
    found = [_range(statistics, preprocessing)]
    if not same_data:
        found += [_grey(statistics), _small(statistics, preprocessing)]
    return tuple(f"The calibration images look unlike the training's: {words}." for words in found if words)


def _unlike_remembered(stem: Fit, statistics: ImageStatistics, preprocessing: Preprocessing) -> tuple[str, ...]:
    """One warning, or none: where the network finds its own images again, their size or greyness is no matter."""
    found = (_range(statistics, preprocessing), _grey(statistics), _small(statistics, preprocessing))
    clues = [clue for clue in found if clue is not None]
    if not stem.is_far and not (clues and stem.distance > SUSPICIOUS):
        return ()
    if stem.better is not None:
        clues.insert(0, f"{stem.better} they fit far better ({stem.better_distance:.2f})")
    measure = f"behind the first convolution they are {stem.distance:.2f} standard deviations off"
    return (f"The calibration images look unlike the training's: {'; '.join((measure, *clues))}.",)


def _range(statistics: ImageStatistics, preprocessing: Preprocessing) -> str | None:
    if statistics.brightest < _DARK:
        return f"their brightest pixel is {statistics.brightest} of 255, so they were scaled before they were stored"
    scale = preprocessing.value_scale
    plain = preprocessing.mean == (0.0, 0.0, 0.0) and preprocessing.std == (1.0, 1.0, 1.0)
    if plain:
        low, high = _PLAIN_MEAN
        fine = all(low <= mean / scale <= high for mean in statistics.mean)
        fine = fine and all(std / scale >= _LEAST_PLAIN_STD for std in statistics.std)
        expected = f"expected are {0.45 * scale:.3g} and {0.25 * scale:.3g}"
    else:
        fine = all(abs(mean) <= _MOST_MEAN for mean in statistics.mean)
        fine = fine and all(_STD_RANGE[0] <= std <= _STD_RANGE[1] for std in statistics.std)
        expected = "expected are 0 and 1; check mean, std and range"
    if fine:
        return None
    mean, std = (" ".join(f"{value:.3g}" for value in values) for values in (statistics.mean, statistics.std))
    return f"prepared, their channels have means {mean} and deviations {std}, {expected} or so"


def _grey(statistics: ImageStatistics) -> str | None:
    if statistics.grey < _GREY * statistics.count:
        return None
    count = "all" if statistics.grey == statistics.count else f"{statistics.grey} of {statistics.count}"
    return f"{count} are grey, the network takes colours"


def _small(statistics: ImageStatistics, preprocessing: Preprocessing) -> str | None:
    wanted = min(preprocessing.input_size)
    if statistics.short_side >= _SMALL * wanted:
        return None
    return f"their shorter side is {statistics.short_side:g} pixels (median), the input's {wanted}: they are enlarged"
