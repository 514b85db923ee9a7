"""The paper's tables 2 and 3 on any data set: networks of all group counts, with shuffle and without, over seeds.

Every finished training is kept by what decides it, and an unfinished one goes on after its last whole epoch; several
processes with the same options share the work.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from shufflec.bench.saved import Job, complete, key_digest, source_digest
from shufflec.data.dataset import Dataset
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError
from shufflec.files import cache_dir, write_errors
from shufflec.models.architecture import Architecture
from shufflec.models.complexity import complexity
from shufflec.reports.ablation import AblationReport, Arm
from shufflec.training.job import TrainingJob
from shufflec.training.train import TrainingProgress, train

# What decides the weights that a training ends with.
_SOURCES = ("models/architecture.py", "models/shufflenet_v1.py", "data", "training")
_HASHED_IMAGES = 256
MAX_SEEDS = 1000


@dataclass(frozen=True)
class AblationPlan:
    """job: what all trainings share; its groups are not used. groups, shuffles: to combine. seeds: how many, from 0.

    Raises OptionError for a list that is empty or a number of seeds out of range.
    """

    job: TrainingJob
    groups: tuple[int, ...]
    shuffles: tuple[bool, ...]
    seeds: int

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise OptionError("seeds", self.seeds, f"expected a whole number from 1 to {MAX_SEEDS}")
        if not self.groups or not self.shuffles:
            raise OptionError("ablation", "", "expected at least one number of groups, and shuffle on or off")

    def architectures(self, train_data: Dataset) -> list[Architecture]:
        """The networks in the report's order: by groups, with shuffle before without; each once."""
        found = []
        for groups in sorted(set(self.groups)):
            plain = replace(self.job, groups=groups).architecture(train_data)
            found += [replace(plain, shuffle=shuffle) for shuffle in sorted(set(self.shuffles), reverse=True)]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class AblationProgress:
    """what: the training in hand. done, total: trainings. training: where that one is; None before its first step."""

    what: str
    done: int
    total: int
    training: TrainingProgress | None = None


def run_ablation(
    plan: AblationPlan, progress: Callable[[AblationProgress], None], fresh: bool = False
) -> AblationReport:
    """Trains what is missing, seed by seed, and gathers the report.

    fresh: trains all of it again. Raises what open_dataset and train raise.
    """
    train_data, test_data = open_dataset(plan.job.data, "train"), open_dataset(plan.job.data, "test")
    networks = plan.architectures(train_data)
    run = _Trainings(plan.job, train_data, test_data, progress)
    jobs = [run.job(arch, seed, fresh) for seed in range(plan.seeds) for arch in networks]
    results = complete(jobs, run.begin, fresh)
    arms = []
    for index, arch in enumerate(networks):
        count = complexity(arch)
        right = tuple(result["right"] for result in results[index :: len(networks)])
        arms.append(Arm(arch.groups, arch.shuffle, count.macs, count.params, right))
    first = networks[0]
    return AblationReport(
        data=plan.job.data_name,
        classes=first.classes,
        train_images=len(train_data),
        test_images=len(test_data),
        scale=first.scale,
        variant=first.variant,
        input_size=first.input_size,
        recipe=plan.job.recipe.to_dict(),
        seeds=tuple(range(plan.seeds)),
        arms=tuple(arms),
        environment={"torch": str(torch.__version__), "machine": platform.machine()},
    )


class _Trainings:
    """Makes a job of each training, and tells how far the one in hand is."""

    def __init__(
        self,
        job: TrainingJob,
        train_data: Dataset,
        test_data: Dataset,
        progress: Callable[[AblationProgress], None],
    ):
        self._job = job
        self._train, self._test = train_data, test_data
        self._progress = progress
        self._at = ("", 0, 0)
        self._data = {"train": _content_digest(train_data), "test": _content_digest(test_data)}

    def begin(self, what: str, done: int, total: int) -> None:
        self._at = (what, done, total)
        self._progress(AblationProgress(*self._at))

    def job(self, arch: Architecture, seed: int, fresh: bool) -> Job:
        preprocessing = self._job.preprocessing(arch)
        key = {
            "table": "ablation",
            "architecture": arch.to_dict(),
            "preprocessing": preprocessing.to_dict(),
            "recipe": self._job.recipe.to_dict(),
            "seed": seed,
            "data": self._data,
            "sources": source_digest(_SOURCES),
            "environment": [str(torch.__version__), platform.machine()],
        }

        shuffle = "" if arch.groups == 1 else ", shuffle" if arch.shuffle else ", no shuffle"
        state_file = cache_dir("bench", "trainings") / f"{key_digest(key)}.training"
        return Job(
            f"g={arch.groups}{shuffle}, seed {seed}",
            key,
            lambda: self._run(arch, preprocessing, seed, state_file, fresh),
        )

    def _run(
        self, arch: Architecture, preprocessing: Preprocessing, seed: int, state_file: Path, fresh: bool
    ) -> dict[str, object]:
        """Trains, or goes on from the state that an interrupted run left."""
        if fresh:
            _remove(state_file)

        def show(state: TrainingProgress) -> None:
            self._progress(AblationProgress(*self._at, state))

        arguments = (arch, preprocessing, self._train, self._test, self._job.recipe, seed, state_file, show)
        try:
            checkpoint = train(*arguments)
        except InputFileError as error:
            if error.path != state_file:
                raise
            _remove(state_file)  # a damaged state costs its epochs, no more
            checkpoint = train(*arguments)
        _remove(state_file)
        metrics = checkpoint.metrics
        return {"right": round(metrics["top1"] * metrics["count"]), "count": metrics["count"]}


def _remove(path: Path) -> None:
    with write_errors(path):
        path.unlink(missing_ok=True)


def _content_digest(dataset: Dataset) -> str:
    """Hash of class names, of all labels, and of the pixels of images spread over the split."""
    digest = hashlib.sha256("\0".join(dataset.class_names).encode() + dataset.labels.tobytes())
    some = dataset.spread(_HASHED_IMAGES)
    for index in range(len(some)):
        image = some.image(index)
        digest.update(f"{image.shape}".encode() + image.tobytes())
    return digest.hexdigest()[:24]
