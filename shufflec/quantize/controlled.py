"""From a float model to a quantized one that loses no more accuracy than allowed: prepare.py's way, with a search."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from shufflec.data.dataset import check_classes
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError
from shufflec.files import write_errors
from shufflec.models.checkpoint import Checkpoint
from shufflec.quantize.cache import cache_key, load_cached, store_cached
from shufflec.quantize.calibration import DEFAULT_IMAGES, Calibration
from shufflec.quantize.judge import MOST_TRAINED, DecidingSplit, Judge, split_off
from shufflec.quantize.model_info import read_model_info, write_model_info
from shufflec.quantize.prepare import FloatModel, Overrides, PreparedModel, about, calibrated, load_float
from shufflec.quantize.ptq import equalized_model, quantize_model, quantizer_version
from shufflec.quantize.qat.training import QatRecipe, fine_tune
from shufflec.quantize.search import Found, Search, check_wishes
from shufflec.quantize.sensitivity import MAX_IMAGES, LayerError, layer_errors
from shufflec.quantize.settings import DEFAULT, PtqSettings

DECIDE_ON = ("validation", "test")

#: Called with (what is being tried, steps done, steps in all or None, a note such as the loss).
Watch = Callable[[str, int, int | None, str], None]


@dataclass(frozen=True)
class Control:
    """How much may be lost and what may be tried for it.

    method: of search.METHODS. max_drop: points of top-1. decide_on: "validation" keeps images of the train split apart
    to decide by, "test" decides by the split that the final accuracy is of, which then flatters. seed: of the training.
    """

    method: str = "auto"
    max_drop: float = 0.5
    decide_on: str = "validation"
    recipe: QatRecipe = field(default_factory=QatRecipe)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.decide_on not in DECIDE_ON:
            raise OptionError("--decide-on", self.decide_on, f"expected one of {', '.join(DECIDE_ON)}")
        check_wishes(self.method, self.max_drop)


@dataclass(frozen=True)
class ControlledModel:
    """prepared: what was chosen, ready to be compiled. found: what was tried. decided_on: by which images, in words."""

    prepared: PreparedModel
    found: Found
    decided_on: str


def quantize_within(
    source: str | Path | Checkpoint,
    control: Control,
    *,
    data: str | Path | None = None,
    samples: int = DEFAULT_IMAGES,
    seed: int | None = None,
    overrides: Overrides | None = None,
    state_file: Path | None = None,
    watch: Watch | None = None,
) -> ControlledModel:
    """Searches a way to quantize that keeps the accuracy; the best one tried where none does.

    The other arguments are prepare_model's. state_file: where an interrupted training goes on from; removed at the end.
    Every way that was tried without training is kept in the cache.

    Raises what prepare_model raises, OptionError for weights that are random, and UnsupportedModelError when no way
    works at all.
    """
    watch = watch or (lambda name, done, total, note: None)
    float_model = load_float(source, overrides)
    if float_model.info["random_weights"]:
        raise OptionError("--method", control.method, "the weights are random: there is no accuracy to keep")
    calibration, info, notes = calibrated(float_model, data, samples, seed)
    preprocessing = Preprocessing.from_dict(info["preprocessing"])
    deciding = _deciding(data or info["recipe"]["data"], control, calibration, info["class_names"])
    with nullcontext() if isinstance(source, Checkpoint) else about(Path(source)):
        current = "float model"

        def announce(name: str) -> None:
            nonlocal current
            current = name
            watch(name, 0, None, "")

        def count(done: int, total: int) -> None:
            watch(current, done, total, "")

        def train(start: onnx.ModelProto, settings: PtqSettings) -> onnx.ModelProto:
            return fine_tune(
                start,
                equalized_model(float_model.model, [calibration.images], settings),
                deciding.trains,
                preprocessing,
                control.recipe,
                info["recipe"],
                control.seed,
                state_file,
                lambda done, total, loss: watch(current, done, total, f"loss {loss:.4f}"),
            )

        judge = Judge(float_model.model, deciding.decides, preprocessing, count)
        ptq = _ptq(float_model, calibration, count)
        found = Search(judge, ptq, train, control.method, control.max_drop, announce).run()
    if state_file is not None:
        with write_errors(state_file):
            state_file.unlink(missing_ok=True)
    model = onnx.ModelProto()
    model.CopyFrom(found.model)
    words = deciding.words
    write_model_info(model, {**info, "quantization": _record(found, control, calibration, words)})
    prepared = PreparedModel(
        model, read_model_info(model), float_model.model, float_model.notes + notes, calibration=calibration
    )
    return ControlledModel(prepared, found, words)


def layer_sensitivity(prepared: PreparedModel, settings: PtqSettings = DEFAULT) -> list[LayerError]:
    """The error of every layer of a model that was quantized here; [] for one that came quantized.

    settings: those that it was made with.
    """
    if prepared.float_model is None or prepared.calibration is None:
        return []
    images = prepared.calibration.images
    reference = equalized_model(prepared.float_model, [images], settings)
    return layer_errors(reference, prepared.model, [images[i : i + 1] for i in range(min(len(images), MAX_IMAGES))])


def _deciding(data: str | Path, control: Control, calibration: Calibration, class_names: list[str]) -> DecidingSplit:
    train = open_dataset(data, "train")
    check_classes(train.name, train, class_names)
    if control.decide_on == "validation":
        return split_off(train, calibration.indices)
    test = open_dataset(data, "test")
    return DecidingSplit(
        test, train.spread(MOST_TRAINED), f"{len(test)} images of the test split, which the accuracy is of as well"
    )


def _ptq(float_model: FloatModel, calibration: Calibration, progress: Callable[[int, int], None]):
    """quantize_model with settings, by way of the cache."""

    def ptq(settings: PtqSettings) -> onnx.ModelProto:
        key = cache_key(float_model.model, calibration, settings)
        model = load_cached(key)
        if model is None:
            model = quantize_model(float_model.model, [calibration.images], progress, settings)
            store_cached(key, model)
        return model

    return ptq


def _record(found: Found, control: Control, calibration: Calibration, words: str) -> dict[str, object]:
    """What the model says about how it was quantized."""
    chosen = found.chosen
    return {
        "method": "quantization-aware training" if chosen.trained else "post-training",
        "tool": f"nncf {quantizer_version()}",
        **calibration.record(),
        "settings": chosen.settings.to_dict(),
        "training": {**control.recipe.to_dict(), "seed": control.seed} if chosen.trained else None,
        "max_drop": control.max_drop,
        "drop": round(chosen.drop, 6),
        "met": found.met,
        "decided_on": words,
    }
