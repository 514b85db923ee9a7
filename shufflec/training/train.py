"""One training: deterministic for a seed, and resumable after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError
from shufflec.models.checkpoint import Checkpoint, weights_of
from shufflec.models.families import AnyArchitecture
from shufflec.models.networks import build
from shufflec.training.distributed import ALONE, Processes
from shufflec.training.held_out import HeldOut
from shufflec.training.loader import TrainingLoader
from shufflec.training.loop import TrainingProgress, TrainingRun
from shufflec.training.recipe import Recipe
from shufflec.training.resume import fingerprint
from shufflec.training.runtime import Runtime

__all__ = ["TrainingProgress", "train"]


def train(
    arch: AnyArchitecture,
    preprocessing: Preprocessing,
    train_data: Dataset,
    test_data: Dataset,
    recipe: Recipe,
    seed: int = 0,
    state_file: Path | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    runtime: Runtime | None = None,
    processes: Processes = ALONE,
) -> Checkpoint:
    """Trains a network and evaluates it on `test_data`; the last epoch's weights, not the best on the test split.

    state_file: written after every epoch and read at the start, if it is there: the run goes on from it and, on a
    processor, ends with the same bits as one that was never stopped. The caller removes it once the checkpoint is safe.
    runtime: None: on the processor, in float32. processes: see open_processes; the first one alone writes and calls
    `progress`, and all return the same checkpoint. Images that cannot be read are left out, see Dataset.unreadable.

    Raises OptionError for data that does not fit the architecture or the number of processes, InputFileError for a
    state of another run, NoSpaceError when the state cannot be written, ShufflecError when the loss stops being a
    number, ToolMissingError for logs without TensorBoard, PeerError when another process ends.
    """
    _check(arch, preprocessing, train_data, test_data)
    runtime = runtime or Runtime()
    # Depthwise and grouped convolutions train half again as fast on a CPU with channels last.
    with _deterministic(recipe.threads, seed):
        model = build(arch).to(processes.device, memory_format=torch.channels_last)
        precision = runtime.precision(processes.device)
        loader = TrainingLoader(
            train_data, preprocessing, recipe, seed, runtime.workers, processes.rank, processes.world
        )
        held_out = HeldOut(test_data, preprocessing, runtime.workers, processes)
        place = f"{processes.world}, {processes.device.type}, {precision}"
        run = TrainingRun(model, loader, held_out, recipe, processes, precision)
        with closing(run):
            run.restore(state_file, fingerprint(arch, preprocessing, recipe, seed, train_data, place))
            run.train(progress, runtime.log_dir)
            checkpoint = Checkpoint(
                architecture=arch,
                preprocessing=preprocessing,
                class_names=list(train_data.class_names),
                state={name: tensor.cpu() for name, tensor in weights_of(run.result()).items()},
                recipe=recipe.to_dict() | _recorded(processes, precision),
                seed=seed,
                epochs=run.epochs,
            )
            # As everyone who loads the file computes it: another memory layout may round differently.
            metrics = held_out.evaluate(checkpoint.build().to(processes.device))
            run.log_result(metrics)
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


def _recorded(processes: Processes, precision: str) -> dict[str, object]:
    """What the checkpoint says of where it was trained, beside the recipe; nothing for one process in float32."""
    found = {"processes": processes.world, "device": processes.device.type, "precision": precision}
    usual = {"processes": 1, "device": "cpu", "precision": "float32"}
    return {name: value for name, value in found.items() if value != usual[name]}


@contextmanager
def _deterministic(threads: int, seed: int) -> Iterator[None]:
    """Seeds torch, fixes its threads and what cuDNN may choose within the block; leaves all as it was."""
    before = torch.get_num_threads()
    # No TF32: float32 is to be float32 on a GPU too.
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.random.fork_rng(devices=[]), cudnn:
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
