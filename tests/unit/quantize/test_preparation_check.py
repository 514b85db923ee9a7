"""A float network that is right more often when its images are prepared in another way tells of it; chance does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.quantize.calibration import dataset_calibration
from shufflec.quantize.preparation_check import preparation_note
from shufflec.quantize.preparations import other_preparations, prepared_again

SIZE = (8, 8)
COLOURS = np.uint8([[220, 60, 40], [50, 200, 60], [40, 70, 210]])


def calibration(preprocessing, noise=10, count=60, labels=None, grey=False):
    """Images in three colours, which are their classes."""
    random = np.random.RandomState(0)
    classes = np.arange(count) % 3
    images = np.clip(COLOURS[classes][:, None, None] + random.normal(0, noise, (count, *SIZE, 3)), 0, 255)
    if grey:
        images = np.repeat(images.mean(-1, keepdims=True), 3, -1)
    images = images.astype(np.uint8)
    labels = classes if labels is None else labels
    return dataset_calibration(Dataset("set", ["r", "g", "b"], labels, lambda i: images[i]), preprocessing)


def network(trained: Preprocessing):
    """Knows each colour, prepared as in its training: the nearest of the three."""
    centres = np.stack([trained.apply(np.full((*SIZE, 3), colour, np.uint8)).mean((1, 2)) for colour in COLOURS])
    return lambda images: -np.square(images.mean((2, 3))[:, None] - centres).sum(-1)


@pytest.mark.parametrize("variant", ["paper", "megvii"])
def test_the_right_preparation_is_not_spoken_of(variant):
    preprocessing = variant_preprocessing(variant, SIZE)
    assert preparation_note(network(preprocessing), calibration(preprocessing), preprocessing) is None


@pytest.mark.parametrize("variant", ["paper", "megvii"])
def test_swapped_colours(variant):
    trained = variant_preprocessing(variant, SIZE)
    taken = next(other for words, other in other_preparations(trained).items() if "swapped" in words)
    note = preparation_note(network(trained), calibration(taken), taken)
    assert "with red and blue swapped the float network gets 60 of 60 right, as they are 20" in note


def test_another_range():
    taken = variant_preprocessing("paper", SIZE)
    note = preparation_note(network(variant_preprocessing("megvii", SIZE)), calibration(taken), taken)
    assert "as BGR, 0 to 255, not normalised the float network gets 60 of 60 right" in note


def test_grey_images_random_labels_and_few_images_say_nothing():
    trained, taken = (Preprocessing(SIZE, channel_order=order) for order in ("RGB", "BGR"))
    random = np.random.RandomState(1).randint(0, 3, 60)
    assert preparation_note(network(trained), calibration(taken, grey=True), taken) is None
    assert preparation_note(network(trained), calibration(trained, labels=random), trained) is None
    assert preparation_note(network(trained), calibration(taken, count=6), taken) is None
    assert preparation_note(network(trained), calibration(taken), taken) is not None


def test_classes_of_another_data_set_say_nothing():
    trained, taken = (Preprocessing(SIZE, channel_order=order) for order in ("RGB", "BGR"))
    assert preparation_note(network(trained), replace(calibration(taken), labels=None), taken) is None


@pytest.mark.parametrize("variant", ["paper", "mindcv", "megvii"])
def test_prepared_again_equals_prepared_so_from_the_start(variant):
    taken = variant_preprocessing("paper", SIZE)
    image = np.random.RandomState(0).randint(0, 256, (*SIZE, 3)).astype(np.uint8)
    other = variant_preprocessing(variant, SIZE)
    again = prepared_again(taken.apply(image)[None], taken, other)[0]
    np.testing.assert_allclose(again, other.apply(image), atol=2e-6 * other.value_scale, rtol=1e-4)


def test_equal_ways_are_left_out():
    assert len(other_preparations(variant_preprocessing("mindcv", SIZE))) == 4
    assert len(other_preparations(Preprocessing(SIZE))) == 4
    assert len(other_preparations(Preprocessing(SIZE, mean=(0.5,) * 3, std=(0.5,) * 3))) == 5
