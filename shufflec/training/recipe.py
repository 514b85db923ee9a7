"""How a network is trained: the numbers, the learning rate over time, and the optimizer they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch

from shufflec.errors import OptionError

DECAYS = ("cosine", "linear")
POLICIES = ("none", "trivial_augment_wide")

# Of each number, what it may be; the fields of pairs have a range for both.
RANGES: Mapping[str, tuple[float, float]] = {
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
    "total_steps": (0, 100_000_000),
    "lr_batch": (0, 1_048_576),
    "bn_epochs": (0, 100),
    "ema": (0.0, 0.999999),
    "ema_every": (1, 10_000),
    "crop_area": (0.01, 1.0),
    "crop_ratio": (0.1, 10.0),
    "color_jitter": (0.0, 1.0),
    "erase": (0.0, 1.0),
    "mixup": (0.0, 10.0),
    "cutmix": (0.0, 10.0),
    "repeats": (1, 100),
    "train_size": (0, 4096),
}
# Recorded since the first version, and in this order: checkpoints of the same run have to stay the same bytes. A later
# field is recorded where it is not its default.
_ALWAYS_RECORDED = (
    "epochs", "batch_size", "lr", "momentum", "weight_decay", "label_smoothing", "warmup_epochs", "shift", "rotate",
    "zoom", "flip", "threads",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum; a learning rate that falls after a linear warm-up; label smoothing; augmentation.

    epochs, warmup_epochs: whole passes over the training split. total_steps: where above 0, the run ends after so many
        steps instead of `epochs`.
    batch_size: images a step, over all processes together. lr: peak learning rate, at `lr_batch` images a step: at
        another batch size it is scaled in proportion; 0: it is taken as it is. decay: "cosine" or "linear", to 0.
    weight_decay: on convolution and classifier weights only. label_smoothing: probability spread over all classes.
    ema: the result is the moving average of the weights with this decay, taken every `ema_every` steps; 0: the last
        weights. bn_epochs: passes at the end that train nothing and average batch-norm statistics. sync_bn: batch norm
        over the images of all processes instead of each one's own.

    Augmentation of each image as it is read: crop_area: a random part of that area, low and high as fractions, with a
        ratio of its sides from crop_ratio, is scaled to the input; None: no random crop. color_jitter: brightness,
        contrast and saturation, each by at most that fraction. policy: "none" or "trivial_augment_wide". erase:
        probability of a rectangle of zeros. train_size: pixels of the side that is trained on; 0: the network's input.
    Of a batch: shift: translation by at most so many pixels, each way. rotate: turn by at most so many degrees.
        zoom: enlargement or reduction by at most that fraction. mixup, cutmix: alpha of the mix of each image with
        another, 0: none; one of the two at random where both are given. flip: mirror half of the images.
    repeats: how often an image occurs in an epoch, which is as long as without.
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
    total_steps: int = 0
    lr_batch: int = 0
    decay: str = "cosine"
    nesterov: bool = True
    ema: float = 0.0
    ema_every: int = 1
    bn_epochs: int = 0
    sync_bn: bool = False
    crop_area: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)
    color_jitter: float = 0.0
    policy: str = "none"
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    repeats: int = 1
    train_size: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else () if value is None else (value,)
            if not all(low <= number <= high for number in numbers) or list(numbers) != sorted(numbers):
                expected = f"expected {low:g} to {high:g}" + (", low before high" if len(numbers) > 1 else "")
                raise OptionError(name.replace("_", " "), value, expected)
        for name, choices in (("decay", DECAYS), ("policy", POLICIES)):
            if getattr(self, name) not in choices:
                raise OptionError(name, getattr(self, name), f"expected one of {', '.join(choices)}")
        if self.train_size and self.train_size < 32:
            raise OptionError("train size", self.train_size, "expected 0 or 32 to 4096")

    @property
    def per_image(self) -> bool:
        """Whether images are augmented one by one as they are read, so that none can be kept between epochs."""
        return self.crop_area is not None or self.color_jitter > 0 or self.policy != "none" or self.erase > 0

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types: the fields of the first version, and of the later ones those that are not the default."""
        optimizer = "sgd_nesterov" if self.nesterov else "sgd"
        recorded: dict[str, object] = {"optimizer": optimizer, "schedule": f"warmup_{self.decay}"}
        recorded |= {name: getattr(self, name) for name in _ALWAYS_RECORDED}
        if self.total_steps:
            del recorded["epochs"]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in (*_ALWAYS_RECORDED, "decay", "nesterov") and value != item.default:
                recorded[item.name] = list(value) if isinstance(value, tuple) else value
        return recorded

    def epochs_of(self, steps_per_epoch: int) -> int:
        """Passes over the training split, the last of which may be cut short by total_steps."""
        return math.ceil(self.total_steps / steps_per_epoch) if self.total_steps else self.epochs

    def steps_of(self, steps_per_epoch: int) -> int:
        """Steps of the whole run."""
        return self.total_steps or self.epochs * steps_per_epoch

    @property
    def peak_lr(self) -> float:
        """The learning rate after the warm-up, at this batch size."""
        return self.lr * self.batch_size / self.lr_batch if self.lr_batch else self.lr

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The rate of step `step`, counted from 0 over all epochs: up in a line, then down to 0 as `decay` says."""
        total = self.steps_of(steps_per_epoch)
        warmup = min(self.warmup_epochs * steps_per_epoch, total)
        if step < warmup:
            return self.peak_lr * (step + 1) / warmup
        done = (step - warmup) / max(1, total - warmup)
        if self.decay == "linear":
            return self.peak_lr * (1.0 - done)
        return self.peak_lr * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    def optimizer(self, model: torch.nn.Module) -> torch.optim.SGD:
        """SGD over all parameters; those with one dimension (batch norm, biases) are not decayed."""
        decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        nesterov = self.nesterov and self.momentum > 0.0
        return torch.optim.SGD(groups, lr=self.peak_lr, momentum=self.momentum, nesterov=nesterov)
