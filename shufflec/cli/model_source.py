"""From a command's MODEL argument and its options to a quantized model: what `compile` and `tune` share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from shufflec.cli.console import stderr_console
from shufflec.errors import OptionError

if TYPE_CHECKING:
    from rich.progress import Progress

    from shufflec.quantize.prepare import PreparedModel

#: Larger test sets are left to `shufflec quantize` and `shufflec eval`: compiling should take seconds.
MOST_TEST_IMAGES = 2000


class Stages:
    """Says which stage runs, and keeps how long each took. Seconds by name in `seconds`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.notes = stderr_console()
        self._bar: Progress | None = None
        self._task = None
        self._current = ""
        self._since = time.monotonic()

    def show(self, bar: Progress) -> None:
        """Draws on a progress bar from now on."""
        self._bar, self._task = bar, bar.add_task("", total=None, note="")

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        if stage != self._current:
            self.done()
            self._current = stage
        if self._bar is not None:
            self._bar.update(self._task, description=stage, completed=done, total=total)

    def done(self) -> None:
        """The current stage is over."""
        now = time.monotonic()
        if self._current:
            self.seconds[self._current] = self.seconds.get(self._current, 0.0) + now - self._since
        self._current, self._since = "", now

    def say(self, words: str) -> None:
        """One line on stderr."""
        self.notes.print(words, markup=False)


def wishes_of(
    groups: int | None,
    scale: float | None,
    variant: str | None,
    classes: int | None,
    input_size: str | None,
    family: str | None,
) -> dict[str, object]:
    """The options that say which network, by name, without those that were not given."""
    wishes = {"groups": groups, "scale": scale, "variant": variant, "classes": classes}
    wishes |= {"input_size": input_size, "family": family}
    return {name: value for name, value in wishes.items() if value is not None}


def model_source(model: Path | None, wishes: dict[str, object], random_weights: bool, stages: Stages):
    """(name of the model, what prepare_model takes): a checkpoint, a path of an ONNX file, or random weights."""
    from shufflec.models.architecture import parse_input_size
    from shufflec.models.checkpoint import bundled_checkpoint, check_matches
    from shufflec.models.foreign.load import open_checkpoint

    family = wishes.pop("family", None)
    if family not in (None, "v1", "v2"):
        raise OptionError("--family", family, "expected v1 or v2")
    if "input_size" in wishes:
        wishes["input_size"] = parse_input_size(str(wishes["input_size"]))
    if random_weights:
        from shufflec.models.random_weights import random_checkpoint

        if model is not None:
            raise OptionError("--random-weights", model, "has weights of its own", "give one or the other")
        architecture = _random_architecture(family or "v1", wishes)
        groups = f"_g{architecture.groups}" if architecture.groups else ""
        name = f"{architecture.family}{groups}_x{architecture.scale:g}_random"
        stages.say(f"Random weights: {architecture}. Its classes mean nothing; its speed does.")
        return name, random_checkpoint(architecture)
    if family is not None:
        raise OptionError("--family", family, "is for --random-weights; a model has its own", "leave the option out")
    if model is not None and model.suffix == ".onnx":
        for option, value in wishes.items():
            raise OptionError("--" + option.replace("_", "-"), value, f"{model} has its own", "leave the option out")
        return model.stem, model
    if model is None:
        path = bundled_checkpoint(int(wishes.get("groups", 8)))
        stages.say(f"No MODEL given: taking the bundled checkpoint {path.name} (0.25x, trained on digits).")
    else:
        path = model
    opened = open_checkpoint(path, wishes.get("input_size"))
    for note in opened.notes:
        stages.say(note)
    check_matches(path, opened.checkpoint, **wishes)
    return Path(path.name.removesuffix(".tar")).stem, opened.checkpoint


def _random_architecture(family: str, wishes: dict[str, object]):
    """The architecture that the options describe."""
    from shufflec.models.architecture import Architecture
    from shufflec.models.architecture_v2 import ArchitectureV2

    if family == "v1":
        return Architecture(**({"groups": 8} | wishes))
    if "groups" in wishes:
        raise OptionError("--groups", wishes["groups"], "ShuffleNetV2 has no groups", "leave the option out")
    return ArchitectureV2(**wishes)


def prepared_model(source: object, data: str | None, stages: Stages) -> PreparedModel:
    """The quantized model, with its accuracy in its description where there is a test set to take it from."""
    from shufflec.data.dataset import check_classes, unreadable_note
    from shufflec.data.datasets import open_dataset
    from shufflec.models.checkpoint import Checkpoint
    from shufflec.quantize.accuracy import accuracy_loss
    from shufflec.quantize.model_info import read_model_info, write_model_info
    from shufflec.quantize.prepare import PreparedModel, prepare_model

    test = None
    if data is not None and isinstance(source, Checkpoint) and not source.random_weights:
        test = open_dataset(data, "test")
        check_classes(data, test, source.class_names)  # now, and not behind minutes of quantizing
    prepared = prepare_model(source, data=data, progress=lambda done, total: stages("quantizing", done, total))
    for note in prepared.notes:
        stages.say(note)
    images = data or prepared.info["recipe"].get("data")
    known = "accuracy" in prepared.info or prepared.info["random_weights"]
    if known or prepared.float_model is None or (data is None and images != "digits"):
        return prepared
    if test is None:
        test = open_dataset(images, "test")
    if len(test) > MOST_TEST_IMAGES:
        stages.say(f"{len(test)} test images: not evaluated here; `shufflec quantize` and `shufflec eval` do.")
        return prepared
    stages("measuring accuracy")
    loss = accuracy_loss(
        prepared.float_model,
        prepared.model,
        test,
        prepared.preprocessing,
        lambda done, total: stages("measuring accuracy", done, total),
    )
    if (left_out := unreadable_note(test)) is not None:
        stages.say(left_out)
    write_model_info(prepared.model, {**prepared.info, "accuracy": loss.to_dict()})
    info = read_model_info(prepared.model)
    return PreparedModel(prepared.model, info, prepared.float_model, prepared.notes, prepared.cached)
