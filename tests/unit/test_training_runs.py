"""What recipes of published models need of a run: averages, batch-norm passes, steps, precision, logs, resuming."""

from __future__ import annotations

import importlib.util
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shufflec.errors import InputFileError, OptionError, ToolMissingError
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import Checkpoint, load_checkpoint
from shufflec.models.networks import build
from shufflec.training.ema import MovingAverage
from shufflec.training.job import TrainingJob, run_job
from shufflec.training.loader import TrainingLoader
from shufflec.training.recipe import Recipe
from shufflec.training.resume import state_path
from shufflec.training.runtime import Runtime

# Everything that a run has to bring back when it goes on, at once.
FULL = Recipe(
    epochs=2, batch_size=8, warmup_epochs=1, lr=0.02, ema=0.9, ema_every=2, bn_epochs=1, crop_area=(0.3, 1.0),
    color_jitter=0.4, erase=0.2, mixup=0.2, cutmix=1.0, flip=True, decay="linear", nesterov=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    random = np.random.RandomState(0)
    images = random.randint(0, 60, (25, 32, 32, 3)).astype(np.uint8)
    images[1::2] += 150
    path = tmp_path_factory.mktemp("data") / "light.npz"
    np.savez(path, images=images, labels=np.arange(25) % 2)
    return path


def _job(data: Path, recipe: Recipe, **changes) -> TrainingJob:
    return TrainingJob(**{"groups": 2, "data": str(data), "input_size": (32, 32), "recipe": recipe, **changes})


def _weights(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in checkpoint.state.items()}


def test_the_average_forgets_its_start_and_follows_slowly():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    weight = model[0].weight
    torch.nn.init.constant_(weight, 5.0)
    average, expected = MovingAverage(model, 0.5), 5.0
    for number, value in enumerate([1.0, 3.0, 2.0, -4.0, 0.5, 0.0, 0.0, 8.0], start=1):
        torch.nn.init.constant_(weight, value)
        model[1].num_batches_tracked += 1
        average.update(model)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * value
        assert float(average.weights["0.weight"]) == pytest.approx(expected)
    assert int(average.weights["1.num_batches_tracked"]) == 8
    other = MovingAverage(model, 0.5)
    other.load_state_dict(average.state_dict())
    torch.nn.init.constant_(weight, 1.0)
    average.update(model)
    other.update(model)
    assert torch.equal(average.weights["0.weight"], other.weights["0.weight"])


def test_the_average_is_what_is_saved_and_evaluated(data, tmp_path):
    recipe = Recipe(epochs=2, batch_size=8, lr=0.02, ema=0.9)
    averaged = run_job(_job(data, recipe), tmp_path / "ema.safetensors")
    last = run_job(_job(data, replace(recipe, ema=0.0)), tmp_path / "last.safetensors")
    never = run_job(_job(data, replace(recipe, ema_every=5)), tmp_path / "never.safetensors")
    start = _weights_at_start(averaged)
    for name, value in _weights(never).items():
        np.testing.assert_array_equal(value, start[name])
    for name in (name for name in start if name.endswith("conv1.weight")):
        way = _weights(averaged)[name] - start[name], _weights(last)[name] - start[name]
        assert 0 < np.abs(way[0]).mean() < np.abs(way[1]).mean()
    assert (averaged.recipe["ema"], "ema" in last.recipe) == (0.9, False)
    assert load_checkpoint(tmp_path / "ema.safetensors").metrics == averaged.metrics


def _weights_at_start(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checkpoint.seed)
        return {name: tensor.numpy() for name, tensor in build(checkpoint.architecture).state_dict().items()}


@pytest.fixture(scope="module")
def whole(data) -> bytes:
    """The checkpoint of a run that was never stopped."""
    output = data.with_name("whole.safetensors")
    run_job(_job(data, FULL), output)
    return output.read_bytes()


def test_a_run_with_everything_goes_on_bit_for_bit(data, whole, tmp_path):
    output = tmp_path / "stopped.safetensors"

    def stop(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(_job(data, FULL), output, progress=stop)
    assert state_path(output).exists()
    run_job(_job(data, FULL), output, resume=True, runtime=Runtime(workers=1))
    assert output.read_bytes() == whole


def test_a_run_stopped_between_training_and_batch_norm_passes(data, whole, tmp_path, monkeypatch):
    output, epoch = tmp_path / "stopped.safetensors", TrainingLoader.epoch

    def stop(self, number, steps=None):
        if number == FULL.epochs:
            raise KeyboardInterrupt
        return epoch(self, number, steps)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingLoader, "epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            run_job(_job(data, FULL), output)
    run_job(_job(data, FULL), output, resume=True)
    assert output.read_bytes() == whole


def test_batch_norm_passes_change_statistics_alone(data, tmp_path):
    recipe = Recipe(epochs=1, batch_size=20, lr=0.02)
    plain = _weights(run_job(_job(data, recipe), tmp_path / "plain.safetensors"))
    passed = run_job(_job(data, replace(recipe, bn_epochs=1)), tmp_path / "passed.safetensors")
    after = _weights(passed)
    for name, value in plain.items():
        assert np.array_equal(value, after[name]) != ("running" in name)
    # One batch holds all training images: its statistics are those of the last pass.
    inputs = next(iter(_all_inputs(data)))
    stem = torch.nn.functional.conv2d(inputs, torch.from_numpy(after["stem.conv.weight"]), stride=2, padding=1)
    np.testing.assert_allclose(after["stem.bn.running_mean"], stem.mean((0, 2, 3)).numpy(), rtol=1e-3, atol=1e-5)


def _all_inputs(data: Path):
    from shufflec.data.datasets import open_dataset

    job = _job(data, Recipe())
    train = open_dataset(str(data), "train")
    for images, _ in train.batches(job.preprocessing(job.architecture(train)), 100):
        yield torch.from_numpy(images)


def test_total_steps_end_within_an_epoch(data, tmp_path):
    seen = []
    recipe = Recipe(total_steps=5, batch_size=8, decay="linear", warmup_epochs=0)
    checkpoint = run_job(_job(data, recipe), tmp_path / "a.safetensors", progress=seen.append)
    steps = [(state.epoch, state.step) for state in seen if state.test_top1 is None]
    assert steps == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]
    assert checkpoint.epochs == 3
    assert checkpoint.recipe["total_steps"] == 5
    assert [recipe.learning_rate(step, 2) for step in range(5)] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_on_a_processor(data, tmp_path, precision):
    # In fp16 the first steps only find the scale at which gradients do not overflow.
    recipe = Recipe(epochs=1 if precision == "bf16" else 9, batch_size=20, lr=0.02)
    exact, mixed = [], []
    run_job(_job(data, recipe), tmp_path / "float.safetensors", progress=exact.append)
    checkpoint = run_job(
        _job(data, recipe), tmp_path / "mixed.safetensors", progress=mixed.append, runtime=Runtime(amp=precision)
    )
    assert checkpoint.recipe["precision"] == precision
    assert {tensor.dtype for tensor in checkpoint.state.values()} == {torch.float32}
    assert mixed[0].loss != exact[0].loss
    assert mixed[0].loss == pytest.approx(exact[0].loss, rel=0.05)
    start = _weights_at_start(checkpoint)
    assert not np.array_equal(_weights(checkpoint)["stem.conv.weight"], start["stem.conv.weight"])


def test_the_scale_of_gradients_is_resumed(data, tmp_path):
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    job, runtime = _job(data, Recipe(epochs=3, batch_size=4, lr=0.02)), Runtime(amp="fp16")
    run_job(job, whole, runtime=runtime)

    def stop(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, stopped, progress=stop, runtime=runtime)
    run_job(job, stopped, resume=True, runtime=runtime)
    assert stopped.read_bytes() == whole.read_bytes()


def test_a_state_of_another_precision_is_refused(data, tmp_path):
    output, recipe = tmp_path / "a.safetensors", Recipe(epochs=2, batch_size=8)

    def stop(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(_job(data, recipe), output, progress=stop)
    with pytest.raises(InputFileError, match="another number of processes, device or precision"):
        run_job(_job(data, recipe), output, runtime=Runtime(amp="bf16"))


def test_devices_and_precisions():
    assert Runtime("auto").open_device() == torch.device("cuda" if torch.cuda.is_available() else "cpu", *_index())
    assert Runtime("cpu").precision(torch.device("cpu")) == "float32"
    assert Runtime("cpu", "bf16").precision(torch.device("cpu")) == "bf16"
    with pytest.raises(OptionError, match="--device gpu: expected one of auto, cpu, cuda"):
        Runtime("gpu")
    with pytest.raises(OptionError, match="--amp on: expected one of auto, off, bf16, fp16"):
        Runtime("cpu", "on")


def _index() -> tuple[int, ...]:
    return (0,) if torch.cuda.is_available() else ()


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16"), (False, "fp16")])
def test_gpus_are_used_where_there_are_some(monkeypatch, bf16, expected):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    device = Runtime("auto").open_device(1)
    assert (str(device), chosen) == ("cuda:1", [device])
    assert Runtime("cuda").precision(device) == expected
    assert Runtime("cuda", "off").precision(device) == "float32"
    with pytest.raises(OptionError, match="this computer has 2, and torchrun starts at least 3 processes"):
        Runtime("cuda").open_device(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(Runtime("auto").open_device(1)) == "cpu"
    with pytest.raises(OptionError, match="--device cuda: torch sees no GPU here"):
        Runtime("cuda").open_device()


def test_the_preprocessing_of_the_recipe_is_recorded():
    arch = Architecture(3, 0.5, "mindcv", 10, 224)
    job = TrainingJob(3, 0.5, "mindcv", data="photos", resize=232)
    assert (job.preprocessing(arch).resize, job.preprocessing(arch).crop_fraction) == (232, 0.875)
    assert replace(job, crop_fraction=0.9).preprocessing(arch).resize is None
    assert replace(job, crop_fraction=0.9).preprocessing(arch).crop_fraction == 0.9
    assert TrainingJob(3, data="a.npz", crop_fraction=0.875).preprocessing(arch).crop_fraction == 0.875


class _Writer:
    """Stands in for torch.utils.tensorboard.SummaryWriter."""

    made: list[_Writer]

    def __init__(self, folder: str, purge_step: int):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        assert not self.closed
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def test_logs(data, tmp_path, monkeypatch):
    _Writer.made = []
    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = _Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    recipe = Recipe(epochs=3, batch_size=5, ema=0.5)
    runtime = Runtime(log_dir=tmp_path / "logs")
    checkpoint = run_job(_job(data, recipe), tmp_path / "a.safetensors", runtime=runtime)
    (writer,) = _Writer.made
    assert (writer.folder, writer.purge_step, writer.closed) == (str(tmp_path / "logs"), 1, True)
    steps = {name: [step for found, _, step in writer.scalars if found == name] for name, _, _ in writer.scalars}
    assert steps == {
        "train/loss": [10],
        "train/accuracy": [10],
        "train/learning_rate": [10],
        "test/top1": [4, 8, 12],
        "test/top5": [4, 8, 12],
    }
    assert writer.scalars[-2:] == [("test/top1", checkpoint.metrics["top1"], 12), ("test/top5", 1.0, 12)]
    rate = next(value for name, value, _ in writer.scalars if name == "train/learning_rate")
    assert rate == recipe.learning_rate(9, 4)

    def stop(state):
        if state.epoch == 3:
            raise KeyboardInterrupt

    output = tmp_path / "b.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_job(_job(data, recipe), output, progress=stop, runtime=runtime)
    assert _Writer.made[-1].closed
    run_job(_job(data, recipe), output)
    # Watching changes nothing, nor does to stop it.
    assert output.read_bytes() == (tmp_path / "a.safetensors").read_bytes()


def test_logs_go_on_where_the_run_does(data, tmp_path, monkeypatch):
    _Writer.made = []
    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = _Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    job, output = _job(data, Recipe(epochs=2, batch_size=10)), tmp_path / "a.safetensors"

    def stop(state):
        if state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, output, progress=stop)
    run_job(job, output, runtime=Runtime(log_dir=tmp_path))
    assert [writer.purge_step for writer in _Writer.made] == [3]


def test_logs_with_the_package_as_it_is_installed(data, tmp_path):
    """Event files where tensorboard is installed, else one line that says how to install it."""
    runtime = Runtime(log_dir=tmp_path / "logs")
    job = _job(data, Recipe(epochs=1, batch_size=8))
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(ToolMissingError, match=r"pip install 'shufflec\[tensorboard\]'"):
            run_job(job, tmp_path / "a.safetensors", runtime=runtime)
        return
    run_job(job, tmp_path / "a.safetensors", runtime=runtime)
    (events,) = (tmp_path / "logs").iterdir()
    assert b"test/top1" in events.read_bytes()
