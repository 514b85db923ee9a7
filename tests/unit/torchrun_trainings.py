"""What each process of test_distributed.py does: a few trainings, whose weights it writes to FOLDER/NAME.RANK.npz."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import ExitCode, ShufflecError
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import Checkpoint
from shufflec.training.distributed import ALONE, PeerError, Processes, open_processes
from shufflec.training.loader import TrainingLoader
from shufflec.training.recipe import Recipe
from shufflec.training.runtime import Runtime
from shufflec.training.train import train

ARCH = Architecture(2, 0.25, classes=2, input_size=32)
SYNC = Recipe(total_steps=3, batch_size=8, lr=1e-3, warmup_epochs=0, sync_bn=True, shift=2, flip=True)
OWN = Recipe(epochs=2, batch_size=8, lr=0.01, ema=0.8, crop_area=(0.3, 1.0), color_jitter=0.4, bn_epochs=1)


def dataset(count: int) -> Dataset:
    random = np.random.RandomState(count)
    images = random.randint(0, 60, (count, 32, 32, 3)).astype(np.uint8)
    images[1::2] += 150
    return Dataset("light", ["dark", "bright"], np.arange(count) % 2, lambda index: images[index])


def training(recipe: Recipe, processes: Processes = ALONE, state_file: Path | None = None) -> Checkpoint:
    data = dataset(20), dataset(7)
    return train(ARCH, Preprocessing((32, 32)), *data, recipe, state_file=state_file, processes=processes)


def main(folder: Path) -> None:
    with open_processes(Runtime()) as processes:

        def save(name: str, checkpoint: Checkpoint) -> None:
            figures = {f"metric {key}": value for key, value in checkpoint.metrics.items()}
            weights = {key: tensor.numpy() for key, tensor in checkpoint.state.items()}
            np.savez(folder / f"{name}.{processes.rank}.npz", **weights, **figures)

        save("sync", training(SYNC, processes))
        save("own", training(OWN, processes))

        state, epoch = folder / "state", TrainingLoader.epoch

        def stop(self: TrainingLoader, number: int, steps: int | None = None):
            if number == 1:
                raise KeyboardInterrupt
            return epoch(self, number, steps)

        TrainingLoader.epoch = stop
        try:
            training(OWN, processes, state)
        except KeyboardInterrupt:
            TrainingLoader.epoch = epoch
        save("resumed", training(OWN, processes, state))

        def fail() -> None:
            raise ShufflecError("no")

        try:
            processes.from_first(fail)
        except ShufflecError as error:
            assert isinstance(error, PeerError) == (processes.rank == 1)
            assert error.exit_code == ExitCode.INTERNAL
        assert processes.from_first(lambda: processes.rank) == 0
        assert processes.merge(["both", f"of {processes.rank}"]) == ["both", "of 0", "of 1"]
        (folder / f"done.{processes.rank}").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
