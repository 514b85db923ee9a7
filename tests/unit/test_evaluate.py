"""Metrics on logits that are known."""

from __future__ import annotations

import numpy as np
import pytest

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError
from shufflec.training.evaluate import evaluate

LABELS = np.array([0, 1, 2, 3, 4, 5, 6, 6])


def _evaluate(logits: np.ndarray, batch_size: int = 3, labels: np.ndarray = LABELS, **options):
    dataset = Dataset("test", [*"abcdefg"], labels, lambda index: np.full((4, 4, 3), index, np.uint8))

    def predict(inputs):
        return logits[np.rint(inputs[:, 0, 0, 0] * 255).astype(int)]

    return evaluate(predict, dataset, Preprocessing((4, 4)), batch_size, **options)


def test_all_right():
    metrics = _evaluate(np.eye(7)[LABELS])
    assert (metrics.top1, metrics.top5, metrics.count) == (1.0, 1.0, 8)
    np.testing.assert_array_equal(metrics.confusion, np.diag([1, 1, 1, 1, 1, 1, 2]))


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_top5_and_confusion(batch_size):
    # Every image's scores fall from class 0 to 6: class 0 is predicted, 0 to 4 are the top five.
    metrics = _evaluate(np.tile(np.arange(7)[::-1], (8, 1)), batch_size)
    assert metrics.top1 == 1 / 8
    assert metrics.top5 == 5 / 8
    np.testing.assert_array_equal(metrics.confusion[:, 0], [1, 1, 1, 1, 1, 1, 2])
    assert metrics.confusion.sum() == 8


def test_among_equal_logits_the_first_class_wins():
    tied = (np.arange(300) % 2).astype(np.int8)  # the most at 1, 3, 5, 7, 9, 11, ...

    def metrics_of(labels):
        names = [str(index) for index in range(300)]
        dataset = Dataset("test", names, np.array(labels), lambda index: np.zeros((4, 4, 3), np.uint8))
        return evaluate(lambda inputs: np.tile(tied, (len(inputs), 1)), dataset, Preprocessing((4, 4)))

    assert metrics_of([1, 1]).top1 == 1.0
    assert metrics_of([1, 3, 5, 7, 9]).top5 == 1.0
    assert metrics_of([*range(11, 300, 2)]).top5 == 0.0


def test_a_logit_that_is_no_number_is_never_right():
    metrics = _evaluate(np.full((8, 7), np.nan))
    assert metrics.top5 == 0.0


def test_progress_and_plain_types():
    seen = []
    metrics = _evaluate(np.eye(7)[LABELS], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 8), (6, 8), (8, 8)]
    assert metrics.to_dict()["confusion"][6] == [0, 0, 0, 0, 0, 0, 2]


def test_wrong_shapes_and_no_images():
    with pytest.raises(OptionError, match=r"logits \[3, 5\]"):
        _evaluate(np.zeros((8, 5)))
    with pytest.raises(OptionError, match="no images"):
        _evaluate(np.zeros((8, 7)), labels=LABELS[:0])
