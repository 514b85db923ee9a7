"""Augmentation of photos: crops, colours, the policy, mixing; and loaders that agree whoever reads the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError
from shufflec.training.batch_augment import mix
from shufflec.training.loader import TrainingLoader
from shufflec.training.photo import PhotoAugment, jitter_colours, random_box
from shufflec.training.recipe import Recipe
from shufflec.training.trivial_augment import OPERATIONS, apply_operation, trivial_augment_wide

PHOTO = Recipe(batch_size=4, crop_area=(0.25, 1.0), color_jitter=0.4, flip=True)
PIXELS = Preprocessing((16, 16), value_scale=255.0)


def _random(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


def _image(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    return _random(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def test_boxes_keep_to_area_and_ratio():
    random = _random()
    boxes = [random_box(random, (60, 40), (0.1, 0.5), (0.5, 2.0)) for _ in range(500)]
    sizes = np.array([(right - left, bottom - top) for left, top, right, bottom in boxes])
    assert min(left for left, *_ in boxes) == 0
    assert max(box[2] for box in boxes) == 60
    assert max(box[3] for box in boxes) == 40
    areas, ratios = sizes.prod(1) / 2400, sizes[:, 0] / sizes[:, 1]
    # Sides are whole pixels.
    assert 0.09 < areas.min() < 0.12
    assert 0.45 < areas.max() < 0.54
    assert 0.45 < ratios.min() < 0.6
    assert 1.7 < ratios.max() < 2.2
    assert abs(np.log(ratios).mean()) < 0.1


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 10), (42, 0, 58, 10)), ((10, 100), (0, 43, 10, 56)), ((1, 1), (0, 0, 1, 1))]
)
def test_a_box_that_never_fits_is_the_middle(size, expected):
    assert random_box(_random(), size, (1.0, 1.0), (0.75, 1.6)) == expected


def test_colours_change_by_no_more_than_the_amount():
    grey = Image.new("RGB", (4, 4), (100, 100, 100))
    values = [jitter_colours(_random(seed), grey, 0.4).getpixel((0, 0)) for seed in range(200)]
    # One colour has no contrast and no saturation: what is left is the brightness.
    assert {pixel[0] - pixel[1] for pixel in values} == {0}
    assert 59 <= min(pixel[0] for pixel in values) < 65
    assert 135 < max(pixel[0] for pixel in values) <= 140
    colour = Image.new("RGB", (4, 4), (200, 100, 50))
    spread = [
        max(pixel) - min(pixel)
        for seed in range(50)
        for pixel in [jitter_colours(_random(seed), colour, 0.4).getpixel((0, 0))]
    ]
    assert min(spread) < 110
    assert max(spread) > 190


def test_an_image_is_augmented_by_its_seed_alone():
    augment = PhotoAugment(PHOTO, PIXELS)
    first = augment(_image(), 0, 1, 2)
    assert first.shape == (3, 16, 16)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, augment(_image(), 0, 1, 2))
    for other in ((0, 1, 3), (0, 2, 2), (1, 1, 2), (1 << 32, 1, 2), (-1, 1, 2)):
        assert not np.array_equal(first, augment(_image(), *other))


def test_without_any_draw_the_photo_is_as_the_evaluation_takes_it():
    usual = Preprocessing((16, 16), crop_fraction=0.5, channel_order="BGR", value_scale=255.0)
    augment = PhotoAugment(Recipe(erase=1e-9), usual)
    np.testing.assert_array_equal(augment(_image(), 0), usual.apply(_image()))


def test_colours_of_the_preprocessing_come_after_the_crop():
    normalised = Preprocessing((16, 16), channel_order="BGR", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    pixels = PhotoAugment(PHOTO, PIXELS)(_image(), 3)
    expected = (pixels[::-1] / 255 - np.float32([0.1, 0.2, 0.3])[:, None, None]) / np.float32([0.5, 0.6, 0.7])[
        :, None, None
    ]
    np.testing.assert_allclose(PhotoAugment(PHOTO, normalised)(_image(), 3), expected, atol=1e-5)


def test_training_on_another_size():
    assert PhotoAugment(Recipe(crop_area=(0.1, 1.0), train_size=48), PIXELS)(_image(), 0).shape == (3, 48, 48)


def test_half_of_the_photos_are_mirrored():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 255
    augment = PhotoAugment(Recipe(flip=True, erase=1e-9), PIXELS)
    left = [augment(image, number)[0, 0, 0] == 255.0 for number in range(200)]
    assert 80 < sum(left) < 120


def test_a_rectangle_is_left_out():
    image = np.full((64, 64, 3), 255, np.uint8)
    augment = PhotoAugment(Recipe(erase=0.5), Preprocessing((64, 64), value_scale=255.0))
    parts = [float((augment(image, number) == 0).mean()) for number in range(100)]
    erased = [part for part in parts if part]
    assert 35 < len(erased) < 65
    assert min(erased) > 0.015
    assert max(erased) < 0.35


def test_operations_of_the_policy():
    picture = Image.fromarray(_image())
    changed = {name: apply_operation(picture, name, 0.8) for name in OPERATIONS}
    assert len(OPERATIONS) == 14
    assert all((result.size, result.mode) == (picture.size, "RGB") for result in changed.values())
    same = {name for name, result in changed.items() if np.array_equal(result, picture)}
    # Noise has all values already, so that there is no contrast to gain.
    assert same == {"identity", "autocontrast"}
    mild = {name for name in OPERATIONS if not np.array_equal(apply_operation(picture, name, 0.0), picture)}
    assert mild == {"equalize"}
    moved = np.asarray(apply_operation(picture, "translate_x", 1.0))
    np.testing.assert_array_equal(moved[:, :-32], np.asarray(picture)[:, 32:])
    assert not moved[:, -32:].any()
    assert np.asarray(apply_operation(picture, "posterize", 1.0)).max() == 0b11000000
    drawn = {trivial_augment_wide(picture, _random(seed)).tobytes() for seed in range(60)}
    assert len(drawn) > 40


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_images_have_mixed_labels(kind):
    inputs = torch.arange(4.0)[:, None, None, None].expand(4, 1, 16, 16)
    labels = torch.tensor([0, 1, 2, 3])
    shares = []
    for seed in range(40):
        mixed, targets = mix(inputs, labels, 4, Recipe(**{kind: 1.0}), torch.Generator().manual_seed(seed))
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        # The mean of an image is the mean of the numbers that its label is made of.
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(4.0), atol=1e-4, rtol=0)
        shares.append(float(targets[0, 0]))
        values = {round(value, 4) for value in mixed[1].flatten().tolist()}
        assert len(values) == 1 if kind == "mixup" else values <= {0.0, 1.0}
    assert min(shares) < 0.4
    assert max(shares) > 0.8
    assert inputs[1].unique().tolist() == [1.0]


def test_nothing_is_mixed_without_the_recipe():
    inputs, labels = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    mixed, targets = mix(inputs, labels, 2, Recipe(), torch.Generator())
    assert mixed is inputs
    assert targets is labels


def _dataset(count: int = 18, broken: frozenset[int] = frozenset()) -> Dataset:
    images = [_image(24 + index, 40, index) for index in range(count)]

    def read(index: int) -> np.ndarray:
        if index in broken:
            raise InputFileError(f"{index}.png", "is a damaged image")
        return images[index]

    return Dataset("photos", ["a", "b", "c"], np.arange(count) % 3, read)


def _batches(recipe: Recipe, epoch: int = 1, steps: int | None = None, dataset: Dataset | None = None, **options):
    loader = TrainingLoader(dataset or _dataset(), PIXELS, recipe, 5, **options)
    return [(inputs.numpy(), labels.numpy()) for inputs, labels in loader.epoch(epoch, steps)]


def _assert_equal(first, second):
    assert len(first) == len(second)
    for (inputs, labels), (other_inputs, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(inputs, other_inputs)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.mark.parametrize(
    "recipe", [PHOTO, Recipe(batch_size=4, shift=2, rotate=5.0, flip=True)], ids=["photo", "batch"]
)
def test_workers_and_processes_see_the_same_images(recipe):
    alone = _batches(recipe)
    assert [inputs.shape for inputs, _ in alone] == [(4, 3, 16, 16)] * 4
    _assert_equal(alone, _batches(recipe, workers=2))
    parts = [_batches(recipe, rank=rank, world=2) for rank in (0, 1)]
    joined = [tuple(map(np.concatenate, zip(*pair, strict=True))) for pair in zip(*parts, strict=True)]
    for (inputs, labels), (other_inputs, other_labels) in zip(alone, joined, strict=True):
        np.testing.assert_allclose(inputs, other_inputs, atol=1e-3)
        np.testing.assert_array_equal(labels, other_labels)


def test_photos_differ_from_epoch_to_epoch():
    first, again, following = _batches(PHOTO), _batches(PHOTO), _batches(PHOTO, epoch=2)
    _assert_equal(first, again)
    assert not np.array_equal(first[0][0], following[0][0])


def test_part_of_an_epoch():
    _assert_equal(_batches(PHOTO)[:2], _batches(PHOTO, steps=2))


def test_repeated_images_in_an_epoch_of_the_same_length():
    recipe = Recipe(batch_size=4, repeats=2, crop_area=(0.25, 1.0))
    batches = _batches(recipe)
    assert len(batches) == 4
    for inputs, labels in batches:
        assert labels[0] == labels[1]
        assert labels[2] == labels[3]
        assert not np.array_equal(inputs[0], inputs[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_gives_way_to_the_next_with_its_label(workers):
    whole, broken = _dataset(), _dataset(broken=frozenset({3, 4}))
    plain = Recipe(batch_size=18)
    (inputs, labels), (seen, found) = (
        _batches(plain, dataset=whole)[0],
        _batches(plain, dataset=broken, workers=workers)[0],
    )
    assert list(broken.unreadable) == ["3.png: is a damaged image", "4.png: is a damaged image"] or list(
        broken.unreadable
    ) == ["4.png: is a damaged image", "3.png: is a damaged image"]
    fifth = next(image for image in inputs if np.array_equal(image, PIXELS.apply(whole.image(5))))
    replaced = [place for place in range(18) if not np.array_equal(inputs[place], seen[place])]
    assert len(replaced) == 2
    for place in replaced:
        np.testing.assert_array_equal(seen[place], fifth)
        assert found[place] == whole.label(5)
    assert [int(label) for place, label in enumerate(labels) if place not in replaced] == [
        int(label) for place, label in enumerate(found) if place not in replaced
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_no_readable_image_is_one_line(workers):
    with pytest.raises(InputFileError, match=r"photos: 18 of its images one after the other cannot be read, .*\.png"):
        _batches(Recipe(batch_size=4), dataset=_dataset(broken=frozenset(range(18))), workers=workers)


@pytest.mark.parametrize(("batch", "world"), [(5, 2), (4, 4), (2, 2)])
def test_a_batch_that_does_not_fit_the_processes(batch, world):
    with pytest.raises(OptionError, match=f"batch size {batch}: expected a multiple of the {world} processes"):
        _batches(Recipe(batch_size=batch), rank=0, world=world)


def test_too_many_workers():
    with pytest.raises(OptionError, match="--workers 1000: expected 0 to 256"):
        _batches(PHOTO, workers=1000)
