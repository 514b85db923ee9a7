"""The order of the search, where it stops, and what it takes when nothing is good enough."""

from __future__ import annotations

import numpy as np
import pytest

from shufflec.data.dataset import Dataset
from shufflec.errors import OptionError, UnsupportedModelError
from shufflec.quantize.judge import MOST_DECIDING, MOST_TRAINED, Score, split_off
from shufflec.quantize.search import Search
from shufflec.quantize.settings import DEFAULT, SINGLE_CHANGES, PtqSettings


class FakeJudge:
    """Scores "models" by a table: name of the way -> (top-1 in percent, dB)."""

    float_top1 = 0.9

    def __init__(self, scores):
        self.scores = scores

    def score(self, model):
        top1, decibels = self.scores.get(model, (50.0, 1.0))
        return Score(top1 / 100, decibels)

    def drop(self, score):
        return 100 * (self.float_top1 - score.top1)


def search(scores, method="auto", max_drop=1.0, broken=()):
    announced = []

    def ptq(settings):
        if settings.label in broken:
            raise UnsupportedModelError("NNCF cannot")
        return settings.label

    def qat(start, settings):
        return f"qat from {start}"

    found = Search(FakeJudge(scores), ptq, qat, method, max_drop, announced.append).run()
    return found, announced


def test_stops_at_the_first_that_is_good_enough():
    found, announced = search({"ptq": (89.0, 30.0)})
    assert announced == ["ptq"] and found.model == "ptq" and found.met
    assert found.chosen.drop == pytest.approx(1.0)
    found, announced = search({"ptq": (88.9, 30.0), "ptq, percentile ranges": (89.5, 20.0)})
    assert announced == ["ptq", "ptq, mixed", "ptq, percentile ranges"]
    assert found.model == "ptq, percentile ranges" and found.met
    assert [trial.met for trial in found.trials] == [False, False, True]


def test_goes_on_to_what_was_better_together_then_trains_from_the_best_symmetric():
    scores = {
        "ptq": (80.0, 10.0),
        "ptq, mixed": (82.0, 10.0),
        "ptq, percentile ranges": (80.0, 12.0),
        "ptq, mixed, percentile ranges": (83.0, 10.0),
        "qat from ptq, percentile ranges": (89.9, 5.0),
    }
    found, announced = search(scores)
    singles = [settings.label for settings in SINGLE_CHANGES]
    assert announced == ["ptq", *singles, "ptq, mixed, percentile ranges", "qat, percentile ranges"]
    assert found.model == "qat from ptq, percentile ranges" and found.chosen.trained and found.met


def test_takes_the_best_when_nothing_is_good_enough():
    found, announced = search({"ptq": (70.0, 10.0), "ptq, SmoothQuant": (70.0, 11.0)}, method="ptq")
    assert not found.met and found.model == "ptq, SmoothQuant"
    assert "qat" not in announced[-1]
    found, _ = search({"ptq": (70.0, 10.0), "qat from ptq": (60.0, 11.0)}, method="qat")
    assert not found.met and found.model == "ptq"


def test_qat_trains_even_where_there_is_no_need():
    found, announced = search({"ptq": (90.0, 10.0), "qat from ptq": (89.5, 11.0)}, method="qat")
    assert announced == ["ptq", "qat"] and found.chosen.trained


def test_a_way_that_does_not_work_is_a_row_and_not_the_end():
    broken = [DEFAULT.label, "ptq, mixed"]
    found, _ = search({"ptq, SmoothQuant": (90.0, 10.0)}, broken=broken)
    assert found.model == "ptq, SmoothQuant"
    assert [trial.problem for trial in found.trials] == ["NNCF cannot", "NNCF cannot", "", ""]
    assert found.trials[0].top1 is None and found.trials[0].to_dict()["settings"]["preset"] == "symmetric"
    everything = [DEFAULT.label, *(settings.label for settings in SINGLE_CHANGES)]
    with pytest.raises(UnsupportedModelError, match="no method can quantize the model: NNCF cannot"):
        search({}, broken=everything)


def test_the_better_of_two_changes_of_one_setting_is_combined():
    scores = {"ptq": (70.0, 1.0), "ptq, no bias correction": (71.0, 1.0), "ptq, SmoothQuant": (71.0, 1.0)}
    scores["ptq, NNCF's fast bias correction"] = (72.0, 1.0)
    _, announced = search(scores, method="ptq")
    assert announced[-1] == PtqSettings(bias="fast", smooth=True).label


@pytest.mark.parametrize(("method", "drop"), [("best", 0.5), ("auto", -0.1), ("auto", 101.0), ("auto", float("nan"))])
def test_options_that_make_no_sense(method, drop):
    with pytest.raises(OptionError, match="expected"):
        search({}, method, drop)


def dataset(labels):
    return Dataset("set", ["a", "b"], np.asarray(labels), lambda index: np.full((4, 4, 3), index % 256, np.uint8))


def test_deciding_images_are_neither_calibrated_on_nor_trained_on():
    train = dataset(np.arange(100) % 2)
    calibrated = tuple(range(0, 100, 3))
    split = split_off(train, calibrated)

    def pixels(part):
        return {int(part.image(index)[0, 0, 0]) for index in range(len(part))}

    assert len(split.trains) == 80 and 10 <= len(split.decides) <= 15
    assert not pixels(split.decides) & pixels(split.trains)
    assert not pixels(split.decides) & set(calibrated)
    assert split.words == f"{len(split.decides)} images of the train split, neither calibrated on nor trained on"
    assert pixels(split_off(train, calibrated).decides) == pixels(split.decides)


def test_small_and_large_splits():
    everything = split_off(dataset(np.arange(20) % 2), tuple(range(20)))
    assert len(everything.decides) == 4 and "calibrated on, but not trained on" in everything.words
    large = split_off(dataset(np.arange(70_000) % 2), ())
    assert len(large.decides) == MOST_DECIDING and len(large.trains) == MOST_TRAINED
    with pytest.raises(OptionError, match="too small to take images out of it"):
        split_off(dataset([0, 1]), ())
