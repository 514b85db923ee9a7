"""How a network is trained: the numbers, the learning rate over time, and the optimizer they make."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch

from shufflec.errors import OptionError


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum; cosine learning rate after a linear warm-up; label smoothing.

    epochs, warmup_epochs: whole passes over the training split. batch_size: images a step. lr: peak learning rate.
    weight_decay: on convolution and classifier weights only. label_smoothing: probability spread over all classes.
    shift: random translation by at most so many pixels, each way. rotate: random turn by at most so many degrees.
    zoom: random enlargement or reduction by at most that fraction. flip: mirror half of the images.
    threads: of the processor; part of the recipe because the order of additions, and so the last bits, follow it.

    Raises OptionError for a value out of range.
    """

    epochs: int = 60
    batch_size: int = 32
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    warmup_epochs: int = 3
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        ranges = {
            "epochs": (1, 100_000),
            "batch_size": (2, 65_536),
            "lr": (1e-8, 100.0),
            "momentum": (0.0, 0.9999),
            "weight_decay": (0.0, 1.0),
            "label_smoothing": (0.0, 0.9),
            "warmup_epochs": (0, 10_000),
            "shift": (0, 1024),
            "rotate": (0.0, 180.0),
            "zoom": (0.0, 0.9),
            "threads": (1, 1024),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(name.replace("_", " "), value, f"expected {low:g} to {high:g}")

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {"optimizer": "sgd_nesterov", "schedule": "warmup_cosine", **asdict(self)}

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The rate of step `step`, counted from 0 over all epochs: up in a line, then down in half a cosine to 0."""
        warmup = min(self.warmup_epochs, self.epochs) * steps_per_epoch
        total = self.epochs * steps_per_epoch
        if step < warmup:
            return self.lr * (step + 1) / warmup
        return self.lr * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    def optimizer(self, model: torch.nn.Module) -> torch.optim.SGD:
        """SGD over all parameters; those with one dimension (batch norm, biases) are not decayed."""
        decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0.0)
