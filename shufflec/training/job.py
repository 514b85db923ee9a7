"""One training run from the names of its data and its output: defaults, resuming, and the checkpoint on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from shufflec.data.dataset import Dataset, unreadable_note
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.errors import OptionError
from shufflec.files import write_errors
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.checkpoint import Checkpoint, save_checkpoint
from shufflec.models.families import AnyArchitecture
from shufflec.training.distributed import open_processes
from shufflec.training.recipe import Recipe
from shufflec.training.resume import state_path
from shufflec.training.runtime import Runtime
from shufflec.training.train import TrainingProgress, train

DIGITS_INPUT = (32, 32)
DEFAULT_INPUT = (224, 224)


@dataclass(frozen=True)
class TrainingJob:
    """What `shufflec train` was asked for. None stands for the default that fits the data.

    groups: None for ShuffleNetV2. variant: None for the family's own ("paper", "torchvision").
    data: see open_dataset. input_size: 32x32 for the digits, else 224x224. crop_fraction: 1 for the digits and .npz
    files, whose images are cut out already, else the 0.875 of the published models. resize: instead of a crop_fraction,
    see Preprocessing. recipe_name: of the recipe file, None for the usual one.
    """

    groups: int | None
    scale: float = 0.25
    variant: str | None = None
    data: str = "digits"
    input_size: tuple[int, int] | None = None
    crop_fraction: float | None = None
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    resize: int | None = None
    recipe_name: str | None = None

    def with_recipe(self, recipe: Recipe) -> TrainingJob:
        return replace(self, recipe=recipe)

    @property
    def resolved_input(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        return self.input_size or (DIGITS_INPUT if self.data == "digits" else DEFAULT_INPUT)

    def architecture(self, train_data: Dataset) -> AnyArchitecture:
        """The network to train, with as many classes as the data has."""
        classes, size = len(train_data.class_names), self.resolved_input
        if self.groups is None:
            return ArchitectureV2(self.scale, self.variant or "torchvision", classes, size)
        return Architecture(self.groups, self.scale, self.variant or "paper", classes, size)

    def preprocessing(self, arch: AnyArchitecture) -> Preprocessing:
        """Colours as the variant's published models take them."""
        cut_out = self.data == "digits" or self.data.endswith(".npz")
        fraction = self.crop_fraction or (1.0 if cut_out else 0.875)
        usual = variant_preprocessing(arch.variant, arch.input_size)
        if self.crop_fraction is None and self.resize is not None:
            return replace(usual, resize=self.resize)
        return replace(usual, crop_fraction=fraction)

    @property
    def data_name(self) -> str:
        """The data's name for the checkpoint: without its folder, so that equal runs give equal bytes."""
        return Path(self.data).name

    @property
    def default_output(self) -> Path:
        """A file in the current folder that tells groups, scale, variant and data."""
        family = "shufflenet_v2" if self.groups is None else f"shufflenet_v1_g{self.groups}"
        variant = "" if self.variant in (None, "paper", "torchvision") else f"_{self.variant}"
        data = Path(self.data).stem if self.data.endswith(".npz") else self.data_name
        return Path(f"{family}_x{self.scale:g}{variant}_{data or 'data'}.safetensors")


def run_job(
    job: TrainingJob,
    output: Path,
    resume: bool | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    runtime: Runtime | None = None,
    note: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Trains, writes the checkpoint to `output`, then removes the state that served for resuming.

    resume: None goes on with an interrupted run if there is one, True insists on one, False starts over.
    runtime: None: on the processor. With the processes that torchrun started the work is shared; the first of them
    alone writes and calls `progress` and `note`, which gets a sentence about images that cannot be read.
    Raises what open_dataset, train and save_checkpoint raise, and OptionError for --resume without anything to resume.
    """
    runtime = runtime or Runtime()
    state_file = state_path(output)
    train_data, test_data = open_dataset(job.data, "train"), open_dataset(job.data, "test")
    arch = job.architecture(train_data)
    preprocessing = job.preprocessing(arch)
    with open_processes(runtime) as processes:
        processes.from_first(lambda: _prepare(state_file, output, resume))
        checkpoint = train(
            arch,
            preprocessing,
            train_data,
            test_data,
            job.recipe,
            job.seed,
            state_file=state_file,
            progress=progress,
            runtime=runtime,
            processes=processes,
        )
        checkpoint.recipe["data"] = job.data_name
        if job.recipe_name is not None:
            checkpoint.recipe["recipe"] = job.recipe_name
        processes.from_first(lambda: _finish(state_file, output, checkpoint))
        for data in (train_data, test_data):
            data.unreadable = dict.fromkeys(processes.merge(data.unreadable))
            sentence = unreadable_note(data)
            if note and sentence and processes.rank == 0:
                note(sentence)
    return checkpoint


def _prepare(state_file: Path, output: Path, resume: bool | None) -> None:
    if resume and not state_file.exists():
        raise OptionError("--resume", output, f"there is no interrupted run to go on with ({state_file} is missing)")
    if resume is False:
        with write_errors(state_file):
            state_file.unlink(missing_ok=True)


def _finish(state_file: Path, output: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(output, checkpoint)
    with write_errors(state_file):
        state_file.unlink(missing_ok=True)
