"""int8 costs the shipped digit networks at most half a point of top-1."""

from __future__ import annotations

import pytest

from shufflec.data.datasets import open_dataset
from shufflec.models.architecture import GROUPS
from shufflec.models.checkpoint import bundled_checkpoint
from shufflec.quantize.accuracy import accuracy_loss
from shufflec.quantize.prepare import prepare_model


@pytest.mark.parametrize("groups", GROUPS)
def test_bundled_networks(groups):
    prepared = prepare_model(bundled_checkpoint(groups))
    progress = []
    loss = accuracy_loss(
        prepared.float_model,
        prepared.model,
        open_dataset("digits", "test"),
        prepared.preprocessing,
        lambda done, total: progress.append((done, total)),
    )
    assert (loss.data, loss.images) == ("digits", 359)
    assert loss.float_top1 >= 0.97
    assert loss.lost_points <= 0.5
    assert loss.int8_top5 >= 0.99
    assert progress[-1] == (718, 718) and progress == sorted(progress)
