"""Resize, crop, channel order and normalisation."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.errors import OptionError
from shufflec.models.architecture import VARIANTS


def _plain(height: int, width: int, colour=(10, 20, 30)) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def test_same_size_is_only_scaled():
    image = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    x = Preprocessing((40, 32)).apply(image)
    assert x.dtype == np.float32
    assert x.shape == (3, 40, 32)
    np.testing.assert_allclose(x, image.transpose(2, 0, 1) / 255, atol=1e-6)


def test_channel_order_value_scale_mean_and_std():
    x = Preprocessing((32, 32), channel_order="BGR", value_scale=255.0, mean=(30, 0, 0), std=(1, 2, 1)).apply(
        _plain(50, 32)
    )
    assert np.unique(x[0]).tolist() == [0.0]  # blue 30 less its mean
    assert np.unique(x[1]).tolist() == [10.0]  # green 20 by its std
    assert np.unique(x[2]).tolist() == [10.0]  # red


def test_crop_is_the_centre():
    image = _plain(100, 200, (0, 0, 0))
    image[:, 50:150] = 255  # exactly the centre square
    assert Preprocessing((100, 100)).apply(image).min() == 1.0
    assert Preprocessing((100, 200)).apply(image).min() == 0.0


@pytest.mark.parametrize(("resize", "fraction"), [(256, 1.0), (None, 0.875)])
def test_resize_to_256_and_crop_224_equals_the_fraction(resize, fraction):
    """A 512x512 image with a white border of one sixteenth: the crop leaves the border out exactly."""
    image = _plain(512, 512, (255, 255, 255))
    image[32:480, 32:480] = 0
    x = Preprocessing((224, 224), resize=resize, crop_fraction=fraction).apply(image)
    assert x[:, 2:-2, 2:-2].max() == 0.0
    assert x[0, 0, 112] < 0.2
    assert Preprocessing((224, 224), resize=224).apply(image)[0, 0, 0] == 1.0


def test_resize_follows_pillow():
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    x = Preprocessing((32, 32), value_scale=255.0).apply(image)
    np.testing.assert_array_equal(np.rint(x).astype(np.uint8), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (31, 33)])
def test_any_image_size_covers_the_input(shape):
    for resize in (None, 40):
        x = Preprocessing((48, 64), resize=resize).apply(_plain(*shape))
        assert x.shape == (3, 48, 64)
        np.testing.assert_allclose(x[2], 30 / 255, atol=1e-6)


def test_grey_and_transparent_images():
    grey = Preprocessing((32, 32)).apply(Image.new("L", (32, 32), 51))
    np.testing.assert_allclose(grey, 0.2, atol=1e-6)
    assert Preprocessing((32, 32)).apply(Image.new("RGBA", (64, 32), (255, 0, 0, 0))).shape == (3, 32, 32)


@pytest.mark.parametrize("image", [np.zeros((32, 32), np.uint8), np.zeros((32, 32, 3)), np.zeros((0, 3, 3), np.uint8)])
def test_other_arrays_are_refused(image):
    with pytest.raises(OptionError, match="expected uint8"):
        Preprocessing((32, 32)).apply(image)


@pytest.mark.parametrize(
    "change",
    [
        {"input_size": (32,)},
        {"input_size": (0, 32)},
        {"resize": 0},
        {"crop_fraction": 0.0},
        {"crop_fraction": float("nan")},
        {"channel_order": "GRB"},
        {"value_scale": 2.0},
        {"mean": (0, 0)},
        {"std": (1, 1, 0)},
        {"std": (1, 1, "1")},
    ],
)
def test_wrong_values_are_refused(change):
    with pytest.raises(OptionError):
        Preprocessing.from_dict(Preprocessing((32, 32)).to_dict() | change)


@pytest.mark.parametrize("variant", VARIANTS)
def test_dictionary_round_trip(variant):
    preprocessing = variant_preprocessing(variant, (224, 160))
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    with pytest.raises(OptionError, match="expected exactly"):
        Preprocessing.from_dict({"input_size": [32, 32]})


def test_published_preprocessing_of_the_variants():
    white = _plain(300, 300, (255, 255, 255))
    ranges = {variant: variant_preprocessing(variant, (224, 224)).apply(white)[:, 0, 0] for variant in VARIANTS}
    assert ranges["megvii"].tolist() == [255, 255, 255]
    np.testing.assert_allclose(
        ranges["paper"], (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5
    )
    np.testing.assert_allclose(ranges["mindcv"], ranges["paper"], rtol=1e-5)
