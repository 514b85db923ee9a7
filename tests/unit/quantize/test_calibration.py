"""Which images a network is calibrated on, and warnings about those that look unlike the training's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from quantized import copied, quantized
from sklearn.datasets import load_sample_images
from torch.nn.functional import conv2d

from shufflec.data.dataset import Dataset
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.errors import InputFileError, OptionError
from shufflec.models.architecture import GROUPS, Architecture
from shufflec.models.checkpoint import bundled_checkpoint, load_checkpoint
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize import prepare
from shufflec.quantize.calibration import dataset_calibration, synthetic_calibration
from shufflec.quantize.image_statistics import ImageStatistics
from shufflec.quantize.likeness import unlikeness
from shufflec.quantize.model_info import read_model_info
from shufflec.quantize.stem_statistics import StemStatistics, fit

SIZE = (32, 32)


def photographs(count: int, seed: int = 0, side: int = 48) -> np.ndarray:
    """uint8 [N, side, side, 3]: smooth shapes in earthy colours under a blue sky, as photographs have them."""
    random = np.random.RandomState(seed)
    images = []
    for _ in range(count):
        coarse = random.uniform(0, 1, (6, 6, 1)) * [0.75, 0.6, 0.4] + random.normal(0, 0.05, (6, 6, 3))
        coarse[: random.randint(1, 4)] = [0.45, 0.62, 0.9]
        pixels = Image.fromarray((255 * np.clip(coarse, 0, 1)).astype(np.uint8)).resize((side, side), Image.BILINEAR)
        images.append(np.asarray(pixels))
    return np.stack(images)


def dataset(images: np.ndarray, name: str = "photos") -> Dataset:
    return Dataset(name, ["a", "b"], np.arange(len(images)) % 2, lambda index: images[index])


def trained_stem(preprocessing: Preprocessing, images: np.ndarray) -> StemStatistics:
    """What the first batch norm of a network remembers that was trained on these images."""
    weight = torch.from_numpy(np.random.RandomState(7).normal(0, 0.2, (24, 3, 3, 3)).astype(np.float32))
    inputs = torch.from_numpy(np.stack([preprocessing.apply(image) for image in images]))
    variance, mean = torch.var_mean(conv2d(inputs, weight, stride=2, padding=1), (0, 2, 3))
    return StemStatistics(weight, mean, variance)


def warnings_of(images: np.ndarray, preprocessing: Preprocessing, stem: StemStatistics | None = None, same=False):
    made = dataset_calibration(dataset(images), preprocessing, 60)
    held = None if stem is None else fit(stem, made.images, preprocessing)
    return unlikeness(made.statistics, preprocessing, same, held)


def test_the_default_choice_is_the_one_that_it_always_was():
    preprocessing = load_checkpoint(bundled_checkpoint(8)).preprocessing
    made = dataset_calibration(open_dataset("digits"), preprocessing)
    assert made.indices == tuple(np.linspace(0, 1437, 300).round().astype(int).tolist())
    assert made.digest() == "fabf5346c8dcf2ba2ff3124045cac411df92c3e50ad9963309ba62e683c21251"
    record = made.record()
    assert (record["images"], record["available"], record["seed"], record["data"]) == (300, 1438, None, "digits")
    assert record["indices"][:4] == [0, 5, 10, 14]


def test_a_seed_draws_other_images_and_the_same_ones_again():
    images = photographs(50)
    first, again, other = (dataset_calibration(dataset(images), Preprocessing(SIZE), 10, seed) for seed in (1, 1, 2))
    assert first.digest() == again.digest() != other.digest()
    assert first.record() == again.record()
    assert first.record()["seed"] == 1
    assert len(set(first.indices)) == 10 and first.indices == tuple(sorted(first.indices))
    expected = np.stack([Preprocessing(SIZE).apply(images[index]) for index in first.indices])
    np.testing.assert_array_equal(first.images, expected)
    # Frozen: a seed in an old model's description must still name the same images.
    assert first.indices == (2, 3, 27, 29, 31, 35, 38, 40, 46, 48)


@pytest.mark.parametrize(("count", "seed"), [(0, None), (5, -1), (5, 1 << 32)])
def test_counts_and_seeds_out_of_range(count, seed):
    with pytest.raises(OptionError, match=r"samples 0|seed"):
        dataset_calibration(dataset(photographs(4)), Preprocessing(SIZE), count, seed)


def _folder(tmp_path, broken):
    for number, pixels in enumerate(photographs(12)):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        content = data.getvalue()
        (folder / f"{number:02}.png").write_bytes(content[: len(content) // 2] if number in broken else content)
    return tmp_path


def test_images_that_cannot_be_read_are_left_out_counted_and_named(tmp_path):
    opened = open_dataset(_folder(tmp_path, broken={0, 2, 4, 6, 1}), "train")
    made = dataset_calibration(opened, Preprocessing(SIZE), 300)
    assert len(made.images) == len(made.indices) < len(opened)
    broken = len(opened) - len(made.images)
    assert made.unreadable.startswith(f"{broken} images of {tmp_path} cannot be read and are left out: ")
    assert made.unreadable.count("is a damaged image") == 3
    assert f"and {broken - 3} more" in made.unreadable
    assert "00.png" in made.unreadable


def test_no_readable_image_is_an_error(tmp_path):
    opened = open_dataset(_folder(tmp_path, broken=set(range(12))), "train")
    with pytest.raises(InputFileError, match=r"none of its images can be read: .*\.png: is a damaged image"):
        dataset_calibration(opened, Preprocessing(SIZE), 5)


def test_synthetic_images_have_no_place_in_a_data_set():
    record = synthetic_calibration(Preprocessing(SIZE)).record()
    assert (record["indices"], record["available"], record["seed"]) == ([], 0, 0)


@pytest.mark.parametrize("variant", ["paper", "megvii", "mindcv"])
def test_photographs_are_like_photographs(variant):
    preprocessing = variant_preprocessing(variant, SIZE)
    stem = trained_stem(preprocessing, photographs(200, seed=1))
    assert warnings_of(photographs(60), preprocessing) == ()
    assert warnings_of(photographs(60), preprocessing, stem) == ()
    assert fit(stem, dataset_calibration(dataset(photographs(60)), preprocessing).images, preprocessing).distance < 0.15


@pytest.mark.parametrize("groups", GROUPS)
def test_the_bundled_networks_know_the_digits(groups):
    checkpoint = load_checkpoint(bundled_checkpoint(groups))
    made = dataset_calibration(open_dataset("digits", "test"), checkpoint.preprocessing, 40)
    held = fit(StemStatistics.of(checkpoint.state), made.images, checkpoint.preprocessing)
    assert held.distance < 0.05
    # Grey and small, but so were the training's: neither by memory nor by name.
    assert unlikeness(made.statistics, checkpoint.preprocessing, stem=held) == ()
    assert unlikeness(made.statistics, checkpoint.preprocessing, same_data=True) == ()


@pytest.mark.parametrize("variant", ["paper", "megvii"])
def test_swapped_colours_are_seen(variant):
    preprocessing = variant_preprocessing(variant, SIZE)
    stem = trained_stem(preprocessing, photographs(200, seed=1))
    (warning,) = warnings_of(photographs(60)[..., ::-1], preprocessing, stem)
    assert "with red and blue swapped they fit far better" in warning


@pytest.fixture(scope="module")
def real():
    """(images as in training: zoomed crops with jittered colours; others as for calibration), of real photographs."""
    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    random = np.random.RandomState(0)

    def crop(photo, least, jitter):
        share = np.sqrt(random.uniform(least, 1))
        width, height = int(photo.width * share), int(photo.height * share)
        x, y = random.randint(photo.width - width + 1), random.randint(photo.height - height + 1)
        part = photo.crop((x, y, x + width, y + height)).resize((96, 96), Image.BILINEAR)
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color) if jitter else ():
            part = enhance(part).enhance(random.uniform(0.6, 1.4))
        return np.asarray(part)

    training = np.stack([crop(photos[index % 2], 0.08, True) for index in range(300)])
    return training, np.stack([crop(photos[index % 2], 0.55, False) for index in range(60)])


@pytest.mark.parametrize("variant", ["paper", "megvii"])
def test_real_photographs(real, variant):
    preprocessing = variant_preprocessing(variant, (96, 96))
    training, others = real
    stem = trained_stem(preprocessing, training)
    assert warnings_of(others, preprocessing, stem) == ()
    (warning,) = warnings_of(others[..., ::-1], preprocessing, stem)
    assert "with red and blue swapped they fit far better" in warning
    (warning,) = warnings_of(others[:, ::4, ::4], preprocessing, stem)
    assert "24 pixels (median), the input's 96" in warning
    # One photograph of the two alone is another look.
    assert "standard deviations off" in warnings_of(others[::2], preprocessing, stem)[0]


def test_another_preparation_is_named():
    stem = trained_stem(variant_preprocessing("megvii", SIZE), photographs(200, seed=1))
    (warning,) = warnings_of(photographs(60), variant_preprocessing("paper", SIZE), stem)
    assert "as BGR, 0 to 255, not normalised they fit far better" in warning


def test_grey_small_and_inverted_images_are_unlike_colour_photographs():
    preprocessing = variant_preprocessing("paper", SIZE)
    stem = trained_stem(preprocessing, photographs(200, seed=1))
    colour = photographs(60)
    grey = np.repeat(colour.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    for images, words in ((grey, "all are grey"), (colour[:, ::8, ::8], "6 pixels (median), the input's 32")):
        assert any(words in warning for warning in warnings_of(images, preprocessing))
        assert warnings_of(images, preprocessing, same=True) == ()
    (warning,) = warnings_of(grey, preprocessing, stem)
    assert "all are grey" in warning
    (warning,) = warnings_of(255 - colour, preprocessing, stem)
    assert "standard deviations off" in warning


def test_a_few_grey_images_are_no_reason_to_warn():
    images = photographs(60).copy()
    images[::3] = images[::3].mean(-1, keepdims=True)
    assert warnings_of(images, variant_preprocessing("paper", SIZE)) == ()


def test_pixels_that_were_scaled_before_they_were_stored():
    (warning,) = warnings_of(photographs(60) // 100, variant_preprocessing("paper", SIZE), same=True)
    assert "brightest pixel is 2 of 255" in warning


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(SIZE, value_scale=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        Preprocessing(SIZE, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)),
    ],
)
def test_mean_and_deviation_of_another_range(preprocessing):
    (warning,) = warnings_of(photographs(60), preprocessing)
    assert "expected are 0 and 1; check mean, std and range" in warning


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_inputs_that_are_not_normalised(scale):
    preprocessing = Preprocessing(SIZE, value_scale=scale)
    assert warnings_of(photographs(60), preprocessing) == ()
    flat = np.full((8, 48, 48, 3), [120, 121, 122], np.uint8)
    assert "expected are" in warnings_of(flat, preprocessing)[0]


def test_statistics_are_those_of_the_inputs():
    inputs = np.random.RandomState(0).normal([[[[2.0]], [[0.0]], [[-1.0]]]], 0.5, (20, 3, 8, 8)).astype(np.float32)
    found = ImageStatistics.of([(10, True, 7), (20, False, 9), (40, True, 8)], inputs)
    np.testing.assert_allclose(found.mean, inputs.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.std, inputs.std((0, 2, 3)), rtol=1e-5)
    assert (found.count, found.short_side, found.grey, found.brightest) == (3, 20, 2, 9)


def test_what_is_known_of_the_images_reaches_the_user_and_the_model(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepare, "quantize_model", lambda *_, **__: copied(quantized(3, "paper")))
    checkpoint = random_checkpoint(Architecture(3, 0.25, "paper", 10, 32))
    checkpoint.random_weights = False
    checkpoint.recipe = {"data": "photos"}
    # Made-up statistics of the first layer, which no images have.
    checkpoint.state["stem.bn.running_mean"] += 3
    np.savez(tmp_path / "set.npz", images=photographs(40), labels=np.arange(40) % 10)
    result = prepare.prepare_model(checkpoint, data=tmp_path / "set.npz", samples=8, seed=5)
    assert len(result.notes) == 1
    assert "standard deviations off" in result.notes[0]
    record = result.info["quantization"]
    assert (record["seed"], record["images"], record["available"], len(record["indices"])) == (5, 8, 30, 8)
    assert read_model_info(result.model)["quantization"] == record
    # The same images are known as its own, and random weights know none.
    checkpoint.recipe = {"data": "set.npz"}
    assert prepare.prepare_model(checkpoint, data=tmp_path / "set.npz").notes == ()
    checkpoint.recipe, checkpoint.random_weights = {}, True
    assert prepare.prepare_model(checkpoint, data=tmp_path / "set.npz").notes == ()
