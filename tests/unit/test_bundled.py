"""The shipped checkpoints: they load, and they are as good as their README says."""

from __future__ import annotations

import re

import pytest

from shufflec.data.datasets import open_dataset
from shufflec.models.architecture import GROUPS, Architecture
from shufflec.models.checkpoint import bundled_checkpoint, load_checkpoint
from shufflec.training.evaluate import evaluate, torch_predict


@pytest.mark.parametrize("groups", GROUPS)
def test_bundled_checkpoint_reaches_97_percent(groups):
    path = bundled_checkpoint(groups)
    checkpoint = load_checkpoint(path)
    assert checkpoint.architecture == Architecture(groups, 0.25, "paper", 10, 32)
    assert checkpoint.recipe["data"] == "digits"
    assert checkpoint.random_weights is False
    metrics = evaluate(torch_predict(checkpoint.build()), open_dataset("digits", "test"), checkpoint.preprocessing)
    assert metrics.count == 359
    assert metrics.top1 >= 0.97
    # One image of leeway: another processor's float sums differ in their last bits.
    assert abs(metrics.top1 - checkpoint.metrics["top1"]) <= 1.01 / 359
    stated = re.search(rf"^\| {groups} \| ([\d.]+) % \|", path.with_name("README.md").read_text(), re.MULTILINE)
    assert stated.group(1) == f"{100 * checkpoint.metrics['top1']:.2f}"
    commands = path.with_name("README.md").read_text()
    assert f"shufflec train --groups {groups} " in commands
    assert f"-o {path.name}" in commands
