"""The stages of a network side by side: shares, agreement and equal bits on answers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError
from shufflec.profiling.stages import BOARD, FLOAT, QDQ, REFERENCE, Stage, compare_stages

COUNT, CLASSES = 40, 7


def dataset(broken=()) -> Dataset:
    def image(index):
        if index in broken:
            raise InputFileError(f"{index}.png", "is a damaged image")
        return np.full((4, 4, 3), index, np.uint8)

    return Dataset("set", [*"abcdefg"], np.arange(COUNT) % CLASSES, image)


def answering(wrong=(), shift=0.0, seen=None):
    """A network that knows every image but `wrong`, for which it takes the next class."""

    def predict(inputs):
        numbers = np.rint(inputs[:, 0, 0, 0] * 255).astype(int)
        if seen is not None:
            seen.extend(numbers.tolist())
        classes = [(number + (number in wrong)) % CLASSES for number in numbers]
        return (np.eye(CLASSES, dtype=np.float32)[classes] + np.float32(shift)).astype(np.float32)

    return predict


def compared(slow_images=COUNT, broken=(), **predicts):
    names = {"float": FLOAT, "qdq": QDQ, "reference": REFERENCE, "board": BOARD}
    stages = [
        Stage(names[key], "test", predict) if callable(predict) else Stage(names[key], "test", missing=predict)
        for key, predict in predicts.items()
    ]
    return compare_stages(stages, dataset(broken), Preprocessing((4, 4)), slow_images)


def test_each_stage_is_held_against_the_one_on_its_left():
    found = compared(
        float=answering(), qdq=answering({3, 4}), reference=answering({3, 4, 5, 6}), board=answering({3, 4, 5, 6})
    )
    first, second, third, last = found.stages
    assert [stage.top1 for stage in found.stages] == [1.0, 38 / 40, 36 / 40, 36 / 40]
    assert [stage.agreement for stage in found.stages] == [None, 38 / 40, 38 / 40, 1.0]
    assert (first.left, second.left, third.left, last.left) == (None, FLOAT, QDQ, REFERENCE)
    assert (found.compared, found.equal, found.differing) == (COUNT, COUNT, None)


def test_only_the_slow_stages_take_fewer_images():
    seen = {name: [] for name in ("float", "qdq", "reference", "board")}
    found = compared(10, **{name: answering({0, 39}, seen=images) for name, images in seen.items()})
    assert [stage.images for stage in found.stages] == [40, 40, 10, 10]
    assert seen["reference"] == seen["board"] == np.linspace(0, 39, 10).round().astype(int).tolist()
    # The first and the last image are wrong: 2 of 40, but 2 of the common 10.
    assert [stage.top1 for stage in found.stages] == [0.95, 0.95, 0.8, 0.8]
    assert [stage.common_top1 for stage in found.stages] == [0.8] * 4
    assert (found.common, found.stages[2].shared, found.stages[2].agreement) == (10, 10, 1.0)


def test_a_stage_that_cannot_be_had_says_why_and_the_next_one_is_held_against_the_one_before():
    found = compared(float="no float model", qdq=answering(), reference=answering({1}), board="no emulator")
    assert found.stages[0].to_dict()["missing"] == "no float model"
    assert (found.stages[0].images, found.stages[0].top1) == (0, None)
    assert (found.stages[1].left, found.stages[2].left) == (None, QDQ)
    assert found.stages[2].agreement == 39 / 40
    assert (found.compared, found.equal) == (0, 0)


def test_equal_classes_are_not_equal_bits():
    found = compared(reference=answering(), board=answering(shift=2**-20))
    assert found.stages[1].agreement == 1.0
    assert (found.compared, found.equal, found.differing) == (COUNT, 0, 0)

    def one_off(inputs):
        logits = answering()(inputs)
        logits[np.rint(inputs[:, 0, 0, 0] * 255).astype(int) == 23, 6] += 1e-6
        return logits

    found = compared(reference=answering(), board=one_off)
    assert (found.equal, found.differing) == (COUNT - 1, 23)


def test_images_that_cannot_be_read_are_no_part_of_any_stage():
    found = compared(12, broken={0, 5, 39}, float=answering(), reference=answering(), board=answering())
    assert [stage.images for stage in found.stages] == [37, 10, 10]
    assert (found.common, found.compared, found.equal) == (10, 10, 10)


def test_a_logit_that_is_no_number_is_nobodys_answer():
    found = compared(float=lambda inputs: np.full((len(inputs), CLASSES), np.nan, np.float32), qdq=answering())
    assert (found.stages[0].top1, found.stages[0].top5, found.stages[1].agreement) == (0.0, 0.0, 0.0)


def test_top5_and_error_rates():
    found = compared(float=lambda inputs: np.tile(np.arange(CLASSES, 0, -1.0), (len(inputs), 1)))
    (stage,) = found.to_dict()["stages"]
    labels = np.arange(COUNT) % CLASSES
    assert (stage["top1"], stage["top5"]) == ((labels == 0).mean(), (labels < 5).mean())
    assert (stage["top1_error"], stage["top5_error"]) == (1 - stage["top1"], 1 - stage["top5"])


def test_progress_names_the_stage():
    seen = []
    stages = [Stage(FLOAT, "test", answering()), Stage(BOARD, "test", answering())]
    compare_stages(stages, dataset(), Preprocessing((4, 4)), 20, lambda *told: seen.append(told))
    assert seen == [(FLOAT, n, 40) for n in (0, 16, 32, 40)] + [(BOARD, n, 20) for n in (0, 16, 20)]


def test_wrong_shapes_and_no_images():
    with pytest.raises(OptionError, match=r"int8 QDQ: gives logits \[16, 3\], expected \[16, 7\]"):
        compared(qdq=lambda inputs: np.zeros((len(inputs), 3)))
    empty = Dataset("set", [*"ab"], np.zeros(0), lambda index: None)
    with pytest.raises(OptionError, match="no images"):
        compare_stages([Stage(FLOAT, "test", answering())], empty, Preprocessing((4, 4)))
