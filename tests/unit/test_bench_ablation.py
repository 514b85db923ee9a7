"""Which networks an ablation trains, and that nothing is trained twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shufflec.bench.ablation import AblationPlan, AblationProgress, run_ablation
from shufflec.data.datasets import open_dataset
from shufflec.errors import OptionError
from shufflec.training.job import TrainingJob
from shufflec.training.recipe import Recipe

RECIPE = Recipe(epochs=2, batch_size=8, warmup_epochs=1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bench"


def write_data(path: Path, brighter: int = 150) -> Path:
    random = np.random.RandomState(0)
    images = random.randint(0, 60, (25, 16, 16)).astype(np.uint8)
    images[1::2] += brighter
    np.savez(path, images=images, labels=np.arange(25) % 2)
    return path


@pytest.fixture
def plan(tmp_path: Path) -> AblationPlan:
    data = write_data(tmp_path / "light.npz")
    job = TrainingJob(2, data=str(data), input_size=(32, 32), recipe=RECIPE)
    return AblationPlan(job, (2,), (True, False), 1)


class Trainings:
    """Notes which trainings begin; stops as Ctrl-C does at (training, epoch, step)."""

    def __init__(self, stop: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.begun: list[str] = []
        self.first_epochs: list[int] = []
        self._stop = stop

    def __call__(self, state: AblationProgress) -> None:
        if state.training is None:
            self.begun.append(state.what)
            return
        if len(self.first_epochs) < len(self.begun):
            self.first_epochs.append(state.training.epoch)
        if (len(self.begun), state.training.epoch, state.training.step) == self._stop:
            raise KeyboardInterrupt


def test_each_network_is_trained_once_whatever_the_order_of_the_options(plan):
    wide = replace(plan, groups=(8, 1, 3, 8), shuffles=(False, True))
    found = wide.architectures(open_dataset(plan.job.data))
    assert [(arch.groups, arch.shuffle) for arch in found] == [(1, True), (3, True), (3, False), (8, True), (8, False)]
    assert found[0].classes == 2
    unshuffled = replace(plan, groups=(1, 3), shuffles=(False,)).architectures(open_dataset(plan.job.data))
    assert [(arch.groups, arch.shuffle) for arch in unshuffled] == [(1, True), (3, False)]


@pytest.mark.parametrize("change", [{"seeds": 0}, {"seeds": 1001}, {"groups": ()}, {"shuffles": ()}])
def test_plans_that_are_none(plan, change):
    with pytest.raises(OptionError):
        replace(plan, **change)


def test_an_interrupted_ablation_goes_on_to_the_same_report(plan, cache, monkeypatch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_ablation(plan, Trainings(stop=(2, 2, 1)))  # the first epoch of the second training is safe
    assert len(list(cache.glob("trainings/*.training"))) == 1
    seen = Trainings()
    report = run_ablation(plan, seen)
    assert seen.begun == ["g=2, no shuffle, seed 0"]
    assert seen.first_epochs == [2]
    assert list(cache.glob("trainings/*.training")) == []
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "other"))
    assert run_ablation(plan, Trainings()).to_json() == report.to_json()


def test_a_damaged_state_costs_its_epochs_and_no_more(plan, cache):
    with pytest.raises(KeyboardInterrupt):
        run_ablation(plan, Trainings(stop=(1, 2, 1)))
    (state,) = cache.glob("trainings/*.training")
    state.write_bytes(state.read_bytes()[:1000])
    seen = Trainings()
    run_ablation(plan, seen)
    assert seen.first_epochs == [1, 1]


def test_more_seeds_train_what_is_new(plan):
    run_ablation(plan, Trainings())
    seen = Trainings()
    report = run_ablation(replace(plan, seeds=2), seen)
    assert seen.begun == ["g=2, shuffle, seed 1", "g=2, no shuffle, seed 1"]
    assert [len(arm.right) for arm in report.arms] == [2, 2]
    assert report.test_images == 5 and report.data == "light.npz"


def test_other_pixels_under_the_same_labels_are_other_data(plan, tmp_path):
    run_ablation(plan, Trainings())
    write_data(tmp_path / "light.npz", brighter=100)
    seen = Trainings()
    run_ablation(plan, seen)
    assert len(seen.begun) == 2


def test_fresh_trains_all_of_it_again(plan):
    run_ablation(plan, Trainings())
    seen = Trainings()
    run_ablation(plan, seen, fresh=True)
    assert len(seen.begun) == 2
