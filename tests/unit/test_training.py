"""The recipe, determinism, and resuming bit for bit."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from shufflec.data.dataset import Dataset
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError, ShufflecError
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import load_checkpoint
from shufflec.training.batch_augment import _turned, augment
from shufflec.training.job import TrainingJob, run_job
from shufflec.training.loader import TrainingLoader
from shufflec.training.recipe import Recipe
from shufflec.training.resume import state_path
from shufflec.training.train import train

RECIPE = Recipe(epochs=3, batch_size=8, warmup_epochs=1, shift=2, rotate=10, zoom=0.1, flip=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Dark and bright images: a network that trains at all tells them apart."""
    random = np.random.RandomState(0)
    images = random.randint(0, 60, (25, 32, 32, 3)).astype(np.uint8)
    images[1::2] += 150
    path = tmp_path_factory.mktemp("data") / "light.npz"
    np.savez(path, images=images, labels=np.arange(25) % 2)
    return path


def _job(data: Path, **changes) -> TrainingJob:
    return TrainingJob(**{"groups": 2, "data": str(data), "input_size": (32, 32), "recipe": RECIPE, **changes})


def test_training_learns_and_describes_itself(data, tmp_path):
    output = tmp_path / "model.safetensors"
    run_job(_job(data, recipe=Recipe(epochs=12, batch_size=4, warmup_epochs=1, lr=0.05)), output)
    checkpoint = load_checkpoint(output)
    assert checkpoint.metrics == {"top1": 1.0, "top5": 1.0, "count": 5}
    assert checkpoint.architecture == Architecture(2, 0.25, "paper", 2, 32)
    assert checkpoint.epochs == 12
    assert checkpoint.recipe["data"] == "light.npz"
    assert checkpoint.recipe["lr"] == 0.05
    assert checkpoint.random_weights is False
    assert not state_path(output).exists()


def test_same_seed_gives_the_same_bytes(data, tmp_path):
    torch.manual_seed(123)  # what the caller did with torch's generator must not matter
    run_job(_job(data), tmp_path / "a.safetensors")
    torch.manual_seed(456)
    run_job(_job(data), tmp_path / "b.safetensors")
    run_job(_job(data, seed=1), tmp_path / "c.safetensors")
    first = (tmp_path / "a.safetensors").read_bytes()
    assert first == (tmp_path / "b.safetensors").read_bytes()
    assert first != (tmp_path / "c.safetensors").read_bytes()


@pytest.mark.parametrize("stop_at", [(1, 2), (2, 1), (2, 2), (3, 2)])
def test_a_stopped_run_goes_on_bit_for_bit(data, tmp_path, stop_at):
    """Stopped in the first epoch (nothing saved yet), after one, at the end of the second, in the last."""
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    run_job(_job(data), whole)

    def stop(state):
        if (state.epoch, state.step) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(_job(data), stopped, progress=stop)
    assert not stopped.exists()
    assert state_path(stopped).exists() == (stop_at[0] > 1)

    seen = []
    run_job(_job(data), stopped, progress=seen.append)
    assert seen[0].epoch == stop_at[0]
    assert seen[0].resumed_epochs == stop_at[0] - 1
    assert stopped.read_bytes() == whole.read_bytes()


def _stop_in_second_epoch(state):
    if state.epoch == 2:
        raise KeyboardInterrupt


@pytest.fixture
def stopped(data, tmp_path) -> Path:
    output = tmp_path / "model.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_job(_job(data), output, progress=_stop_in_second_epoch)
    return output


def test_state_of_another_run_is_refused(data, stopped):
    with pytest.raises(InputFileError, match="another recipe") as caught:
        run_job(_job(data, recipe=Recipe(epochs=4, batch_size=8)), stopped)
    assert "--restart" in str(caught.value)
    with pytest.raises(InputFileError, match="another architecture, seed"):
        run_job(_job(data, groups=4, seed=3), stopped)
    epochs = []
    run_job(_job(data, seed=3), stopped, resume=False, progress=lambda state: epochs.append(state.epoch))
    assert epochs[0] == 1


def test_resume_needs_an_interrupted_run(data, tmp_path):
    with pytest.raises(OptionError, match="--resume"):
        run_job(_job(data), tmp_path / "model.safetensors", resume=True)


@pytest.mark.parametrize("keep", [0, 10, 5000, -100])
def test_damaged_state(data, stopped, keep):
    path = state_path(stopped)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputFileError, match="damaged"):
        run_job(_job(data), stopped)


class _Bomb:
    """What a hostile pickle looks like: unpickling it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("as_torch", [True, False])
def test_state_never_runs_code(data, tmp_path, as_torch):
    output, proof = tmp_path / "model.safetensors", tmp_path / "proof"
    if as_torch:
        torch.save({"schema": 1, "run": _Bomb(proof)}, state_path(output))
    else:
        state_path(output).write_bytes(pickle.dumps(_Bomb(proof), protocol=2))
    with pytest.raises(InputFileError, match="damaged"):
        run_job(_job(data), output)
    assert not proof.exists()


def test_learning_rate_warms_up_and_falls_to_zero():
    recipe = Recipe(epochs=10, warmup_epochs=2, lr=0.4)
    rates = [recipe.learning_rate(step, 5) for step in range(50)]
    assert rates[:10] == pytest.approx([0.04 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.4)
    assert rates[30] == pytest.approx(0.2)
    assert 0 < rates[-1] < 0.001
    assert sorted(rates[10:], reverse=True) == rates[10:]
    assert Recipe(epochs=1, warmup_epochs=5).learning_rate(3, 4) == pytest.approx(0.1)


def test_only_weights_of_convolutions_and_classifier_decay():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    decayed, others = Recipe(weight_decay=0.01).optimizer(model).param_groups
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(4, 3, 1, 1), (2, 4)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert len(others["params"]) == 4


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"batch_size": 1}, {"lr": 0.0}, {"lr": float("nan")}, {"momentum": 1.0}, {"label_smoothing": 1.0}],
)
def test_wrong_recipes_are_refused(change):
    with pytest.raises(OptionError, match="expected"):
        Recipe(**change)


def test_augmentation_moves_and_mirrors_each_image_by_itself():
    images = torch.zeros(64, 1, 9, 9)
    images[:, 0, 4, 3] = 1.0
    moved = augment(images, Recipe(shift=2, flip=True), torch.Generator().manual_seed(0))
    places = {tuple((image[0] == 1).nonzero()[0].tolist()) for image in moved}
    assert {row for row, _ in places} == {2, 3, 4, 5, 6}
    assert {column for _, column in places} == set(range(1, 8))
    assert float(moved.sum()) == 64.0
    assert augment(images, Recipe(), torch.Generator()) is images


def test_turning_and_zooming():
    square = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    quarter, half = torch.tensor([math.pi / 2, math.pi])
    turned = _turned(square, torch.stack((quarter, half)), torch.ones(2))
    torch.testing.assert_close(turned[0], torch.rot90(square[0], 1, (1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned[1], square[1].flip(1, 2), atol=1e-5, rtol=0)
    # A round hill in a wide image stays round at any angle, and is twice as wide at zoom 2.
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(60) - 29.5, indexing="ij")

    def hill(width: float) -> torch.Tensor:
        return torch.exp(-(x**2 + y**2) / (2 * width**2))[None, None]

    torch.testing.assert_close(_turned(hill(5), torch.tensor([0.6]), torch.ones(1)), hill(5), atol=0.02, rtol=0)
    torch.testing.assert_close(_turned(hill(4), torch.tensor([0.6]), torch.tensor([2.0])), hill(8), atol=0.02, rtol=0)


def test_every_augmentation_is_drawn_from_the_generator():
    images = torch.rand(6, 3, 16, 16)
    for recipe in (Recipe(rotate=20), Recipe(zoom=0.2), Recipe(shift=1), Recipe(flip=True)):
        first = augment(images, recipe, torch.Generator().manual_seed(0))
        assert torch.equal(first, augment(images, recipe, torch.Generator().manual_seed(0)))
        assert not torch.equal(first, augment(images, recipe, torch.Generator().manual_seed(1)))
        assert first.shape == images.shape


def test_epochs_differ_and_repeat():
    dataset = open_dataset("digits", "test").spread(35)
    preprocessing = Preprocessing((32, 32))
    batches = {}
    for name, seed, epoch in (("first", 0, 0), ("again", 0, 0), ("next", 0, 1), ("other", 1, 0)):
        loader = TrainingLoader(dataset, preprocessing, Recipe(batch_size=10), seed)
        batches[name] = [labels.tolist() for _, labels in loader.epoch(epoch)]
    assert [len(labels) for labels in batches["first"]] == [10, 10, 10]
    assert batches["first"] == batches["again"]
    assert batches["first"] != batches["next"]
    assert batches["first"] != batches["other"]


def test_data_that_does_not_fit():
    digits, preprocessing = open_dataset("digits", "test"), Preprocessing((32, 32))
    with pytest.raises(OptionError, match="classes 9: expected the 10 of digits"):
        train(Architecture(1, 0.25, classes=9, input_size=32), preprocessing, digits, digits, RECIPE)
    with pytest.raises(OptionError, match="input size"):
        train(Architecture(1, 0.25, classes=10, input_size=64), preprocessing, digits, digits, RECIPE)
    one = Dataset("one", digits.class_names, digits.labels[:1], digits.image)
    with pytest.raises(OptionError, match="1 training and 1 test images"):
        train(Architecture(1, 0.25, classes=10, input_size=32), preprocessing, one, one, RECIPE)


def test_diverging_loss_is_one_line(data):
    with pytest.raises(ShufflecError, match="smaller --lr"):
        run_job(
            _job(data, recipe=Recipe(epochs=40, batch_size=8, lr=100.0, weight_decay=1.0, warmup_epochs=0)),
            data.with_suffix(".safetensors"),
            resume=False,
        )


def test_default_names_and_sizes():
    assert TrainingJob(8).default_output.name == "shufflenet_v1_g8_x0.25_digits.safetensors"
    job = TrainingJob(3, 1.0, "megvii", data="some/photos")
    assert job.default_output.name == "shufflenet_v1_g3_x1_megvii_photos.safetensors"
    assert job.resolved_input == (224, 224)
    assert TrainingJob(8).resolved_input == (32, 32)
    arch = Architecture(3, 1.0, "megvii")
    assert job.preprocessing(arch).crop_fraction == 0.875
    assert TrainingJob(3, data="a.npz").preprocessing(arch).crop_fraction == 1.0
