"""The training loop: deterministic for a seed, and resumable after every epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError, ShufflecError
from shufflec.models.checkpoint import Checkpoint, weights_of
from shufflec.models.families import AnyArchitecture
from shufflec.models.networks import build
from shufflec.training.evaluate import evaluate, torch_predict
from shufflec.training.loader import TrainingLoader
from shufflec.training.recipe import Recipe
from shufflec.training.resume import TrainingState, fingerprint, load_state, save_state


@dataclass(frozen=True)
class TrainingProgress:
    """After one step. loss, accuracy: over this epoch's training images so far, as they were augmented.

    resumed_epochs: whole epochs that an earlier run had done. test_top1: once an epoch, after its
    last step, except for the last epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    resumed_epochs: int = 0
    test_top1: float | None = None


def train(
    arch: AnyArchitecture,
    preprocessing: Preprocessing,
    train_data: Dataset,
    test_data: Dataset,
    recipe: Recipe,
    seed: int = 0,
    state_file: Path | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Checkpoint:
    """Trains a network and evaluates it on `test_data`; the last epoch's weights, not the best on the test split.

    state_file: written after every epoch and read at the start, if it is there: the run goes on from it and ends
    with the same bits as one that was never stopped. The caller removes it once the checkpoint is safe.

    Raises OptionError for data that does not fit the architecture, InputFileError for a state of another run,
    NoSpaceError when the state cannot be written, ShufflecError when the loss stops being a number.
    """
    _check(arch, preprocessing, train_data, test_data)
    run = fingerprint(arch, preprocessing, recipe, seed, train_data)
    loader = TrainingLoader(train_data, preprocessing, recipe, seed)
    with _deterministic(recipe.threads, seed):
        # Depthwise and grouped convolutions train half again as fast on a CPU with channels last.
        model = build(arch).to(memory_format=torch.channels_last)
        optimizer = recipe.optimizer(model)
        done = _restore(state_file, run, model, optimizer) if state_file else 0
        for epoch in range(done, recipe.epochs):
            for state in _epoch(model, optimizer, loader, recipe, epoch, done):
                if progress:
                    progress(state)
            if state_file:
                save_state(state_file, run, TrainingState(epoch + 1, model.state_dict(), optimizer.state_dict()))
            if progress and epoch + 1 < recipe.epochs:
                top1 = evaluate(torch_predict(model), test_data, preprocessing).top1
                progress(replace(state, test_top1=top1))
        checkpoint = Checkpoint(
            architecture=arch,
            preprocessing=preprocessing,
            class_names=list(train_data.class_names),
            state=weights_of(model),
            recipe=recipe.to_dict(),
            seed=seed,
            epochs=recipe.epochs,
        )
        # As everyone who loads the file computes it: another memory layout may round differently.
        metrics = evaluate(torch_predict(checkpoint.build()), test_data, preprocessing)
    checkpoint.metrics = {"top1": metrics.top1, "top5": metrics.top5, "count": metrics.count}
    return checkpoint


def _check(arch: AnyArchitecture, preprocessing: Preprocessing, train_data: Dataset, test_data: Dataset) -> None:
    if arch.classes != len(train_data.class_names):
        expected = f"expected the {len(train_data.class_names)} of {train_data.name}"
        raise OptionError("classes", arch.classes, expected)
    if preprocessing.input_size != arch.input_size:
        raise OptionError("input size", preprocessing.input_size, f"expected the architecture's {arch.input_size}")
    if len(train_data) < 2 or len(test_data) < 1:
        counts = f"{len(train_data)} training and {len(test_data)} test images"
        raise OptionError("data", train_data.name, f"has {counts}, expected at least 2 and 1")


def _epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.SGD,
    loader: TrainingLoader,
    recipe: Recipe,
    epoch: int,
    resumed: int,
) -> Iterator[TrainingProgress]:
    """One pass over the training split; yields after each step."""
    model.train()
    seen, right, loss_sum = 0, 0, 0.0
    for step, (inputs, labels) in enumerate(loader.epoch(epoch)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate(epoch * loader.steps + step, loader.steps)
        logits = model(inputs.to(memory_format=torch.channels_last))
        loss = cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            where = f"epoch {epoch + 1}, step {step + 1}"
            raise ShufflecError(f"the loss is {value} in {where}", "train again with a smaller --lr")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seen += len(labels)
        right += int((logits.argmax(1) == labels).sum())
        loss_sum += value * len(labels)
        yield TrainingProgress(epoch + 1, recipe.epochs, step + 1, loader.steps, loss_sum / seen, right / seen, resumed)


def _restore(path: Path, run: dict[str, str], model: torch.nn.Module, optimizer: torch.optim.SGD) -> int:
    """Loads the state at `path` into model and optimizer; the number of epochs that it has behind it."""
    state = load_state(path, run)
    if state is None:
        return 0
    try:
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(path, "is a damaged training state", "start over with --restart") from error
    return state.epoch


@contextmanager
def _deterministic(threads: int, seed: int) -> Iterator[None]:
    """Seeds torch and fixes its threads within the block; leaves both as they were."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
