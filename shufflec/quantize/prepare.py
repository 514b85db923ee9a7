"""From whatever model a user has to the quantized model that gets compiled.

checkpoint   -> export to float ONNX -> calibrate -> QDQ ONNX
float ONNX   -> standardize          -> calibrate -> QDQ ONNX
QDQ ONNX     -> checked, taken as it is
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from shufflec.data.dataset import are_unknown, unknown_names
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.errors import InputFileError, OptionError, UnsupportedModelError
from shufflec.models.architecture import INPUT_RANGE
from shufflec.models.checkpoint import Checkpoint
from shufflec.models.families import architecture_from_dict
from shufflec.models.foreign.load import KINDS, SUFFIXES, open_checkpoint
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.cache import cache_key, load_cached, store_cached
from shufflec.quantize.calibration import (
    DEFAULT_IMAGES,
    Calibration,
    dataset_calibration,
    synthetic_calibration,
)
from shufflec.quantize.check_weights import variance_note
from shufflec.quantize.export import export_onnx
from shufflec.quantize.float_model import pools_of_means, set_batch_to_one, standardize
from shufflec.quantize.gathered_parts import splits_of_gathers
from shufflec.quantize.inspect import class_count, input_shape, load_onnx, model_kind
from shufflec.quantize.islands import check_islands, check_operators, merge_moves
from shufflec.quantize.likeness import unlikeness
from shufflec.quantize.model_info import read_model_info, write_model_info
from shufflec.quantize.onnx_graph import GraphEditor, hold_constants, name_nodes
from shufflec.quantize.preparation_check import preparation_note
from shufflec.quantize.ptq import quantize_model, quantizer_version
from shufflec.quantize.recognize_graph import recognize_graph
from shufflec.quantize.runtime import run_once
from shufflec.quantize.stem_statistics import StemStatistics, fit

Progress = Callable[[int, int], None]
Overrides = Mapping[str, object]


@dataclass(frozen=True)
class FloatModel:
    """A float network ready to be quantized, with `info` (see model_info.py) in its metadata.

    notes: what was assumed, one sentence each, for the user. stem: what its first batch norm remembers of the training
    images, None where batch norm is folded already.
    """

    model: onnx.ModelProto
    info: dict[str, object]
    notes: tuple[str, ...] = ()
    stem: StemStatistics | None = None


@dataclass(frozen=True)
class PreparedModel:
    """A quantized network ready to be compiled, with `info` (see model_info.py) in its metadata.

    float_model: what it was made from, None for a model that came quantized. notes: what was assumed, one sentence
    each, for the user. cached: whether it was taken from the cache. calibration: the images that it was quantized on.
    """

    model: onnx.ModelProto
    info: dict[str, object]
    float_model: onnx.ModelProto | None = None
    notes: tuple[str, ...] = ()
    cached: bool = False
    calibration: Calibration | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.from_dict(self.info["preprocessing"])


def prepare_model(
    source: str | Path | Checkpoint,
    *,
    data: str | Path | None = None,
    samples: int = DEFAULT_IMAGES,
    seed: int | None = None,
    overrides: Overrides | None = None,
    progress: Progress | None = None,
    use_cache: bool = True,
) -> PreparedModel:
    """Makes a QDQ model with complete metadata out of a checkpoint, a float ONNX file or a QDQ ONNX file.

    data: the data set whose train split is calibrated on, as open_dataset takes it. Without it, a checkpoint trained
    on the embedded digits takes those, and random weights take synthetic images. samples: at most that many of its
    images, at equal distances or, with a seed, drawn at random. overrides: fields of Preprocessing,
    for an ONNX file that says nothing or something wrong. progress(done, total) is called per calibration image.

    Raises InputFileError and UnsupportedModelError for what cannot be read or compiled, OptionError when a float model
    has nothing to be calibrated on.
    """
    if not isinstance(source, Checkpoint) and _is_onnx(Path(source)):
        model = load_onnx(source)
        if model_kind(model) == "qdq":
            return _take_quantized(Path(source), model, overrides)
        float_model = _take_float(Path(source), model, overrides)
    else:
        float_model = load_float(source)
    calibration, info, notes = calibrated(float_model, data, samples, seed)
    with nullcontext() if isinstance(source, Checkpoint) else about(Path(source)):
        model, cached = _quantize(float_model.model, info, calibration, progress, use_cache)
    notes = float_model.notes + notes
    return PreparedModel(model, read_model_info(model), float_model.model, notes, cached, calibration)


def load_float(source: str | Path | Checkpoint, overrides: Overrides | None = None) -> FloatModel:
    """The float network of a checkpoint or of a float ONNX file.

    Raises InputFileError and UnsupportedModelError; a QDQ model is an InputFileError here.
    """
    if not isinstance(source, Checkpoint) and _is_onnx(Path(source)):
        model = load_onnx(source)
        if model_kind(model) == "qdq":
            raise InputFileError(source, "is quantized already", "give a checkpoint or a float ONNX model")
        return _take_float(Path(source), model, overrides)
    if isinstance(source, Checkpoint):
        checkpoint, notes = source, ()
    else:
        opened = open_checkpoint(source)
        checkpoint, notes = opened.checkpoint, opened.notes
    model = export_onnx(checkpoint)
    stem = None if checkpoint.random_weights else StemStatistics.of(checkpoint.state)
    return FloatModel(model, read_model_info(model), notes, stem)


def _is_onnx(path: Path) -> bool:
    if path.suffix not in (".onnx", *SUFFIXES):
        raise InputFileError(path, f"is neither {KINDS} nor an .onnx model")
    return path.suffix == ".onnx"


def _take_float(path: Path, model: onnx.ModelProto, overrides: Overrides | None) -> FloatModel:
    with about(path):
        strange = variance_note(model)  # before batch norms are folded
        ours = bool(read_model_info(model))
        # Our own export has the form already, and node names that reports rely on.
        model = model if ours else standardize(model)
        check_operators(model)
        info, notes = _complete_info(model, overrides)
        run_once(model)  # finds shapes that do not fit
    write_model_info(model, info)
    return FloatModel(model, info, notes if strange is None else (*notes, strange))


def _take_quantized(path: Path, model: onnx.ModelProto, overrides: Overrides | None) -> PreparedModel:
    with about(path):
        info, notes = _complete_info(model, overrides)
        set_batch_to_one(model)
        hold_constants(model.graph)
        pools_of_means(model)
        name_nodes(model.graph)
        merge_moves(GraphEditor(model.graph))
        splits_of_gathers(model)
        check_islands(model)
        run_once(model)  # finds shapes that do not fit
    write_model_info(model, info)
    return PreparedModel(model, info, None, notes)


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Names the file in errors of checks that see only the model in it."""
    try:
        yield
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{path}: {error.message}", error.hint) from error


def _complete_info(model: onnx.ModelProto, overrides: Overrides | None) -> tuple[dict[str, object], tuple[str, ...]]:
    """The model's description, checked against the model or, without one, made up; and notes on what was made up."""
    shape, classes = input_shape(model), class_count(model)
    if not all(shape[1:]):
        raise UnsupportedModelError("the input leaves its height or width open", "export the model for one input size")
    size = (shape[2], shape[3])
    if max(size) > INPUT_RANGE[1]:
        raise UnsupportedModelError(f"the input is {size[0]}x{size[1]}, expected at most {INPUT_RANGE[1]} on a side")
    info = read_model_info(model)
    notes = []
    if not info:
        found = recognize_graph(model, size, classes)
        preprocessing = variant_preprocessing(found.architecture.variant if found else "paper", size)
        info = {
            "architecture": found.architecture.to_dict() if found else None,
            "preprocessing": preprocessing.to_dict(),
            "class_names": unknown_names(classes),
            "random_weights": False,
            "recipe": {},
            "metrics": {},
            "seed": 0,
        }
        if not overrides:
            notes.append(
                f"The model does not say how images are prepared: {preprocessing.in_words()} is assumed; "
                "--mean, --std and --bgr say otherwise."
            )
    try:
        preprocessing = replace(Preprocessing.from_dict(info["preprocessing"]), **(overrides or {}))
        if info["architecture"] is not None:
            architecture_from_dict(info["architecture"])
    except OptionError as error:
        raise UnsupportedModelError(f"its description is wrong: {error}") from error
    if preprocessing.input_size != size:
        raise UnsupportedModelError(f"its description says input size {preprocessing.input_size}, its input is {size}")
    if len(info["class_names"]) != classes:
        raise UnsupportedModelError(
            f"its description names {len(info['class_names'])} classes, it has {classes} outputs"
        )
    return {**info, "preprocessing": preprocessing.to_dict()}, tuple(notes)


def calibrated(
    float_model: FloatModel, data: str | Path | None, samples: int, seed: int | None
) -> tuple[Calibration, dict[str, object], tuple[str, ...]]:
    """The images, the description with class names from the data set if it had none, and notes for the user."""
    info = float_model.info
    preprocessing = Preprocessing.from_dict(info["preprocessing"])
    if data is None and info["random_weights"]:
        note = "The weights are random, so the model is quantized on synthetic images and its classes mean nothing."
        return synthetic_calibration(preprocessing), info, (note,)
    if data is None and info["recipe"].get("data") == "digits":
        data = "digits"
    if data is None:
        raise OptionError(
            "--data",
            "(none)",
            "a float model needs images to be quantized on",
            "pass digits, a folder of class folders, or a .npz file; or give a QDQ ONNX model",
        )
    dataset = open_dataset(data, "train")
    count = len(info["class_names"])
    if are_unknown(info["class_names"]) and len(dataset.class_names) == count:
        info = {**info, "class_names": dataset.class_names}
    calibration = dataset_calibration(dataset, preprocessing, samples, seed)
    if dataset.class_names != info["class_names"]:
        calibration = replace(calibration, labels=None)
    return calibration, info, _about_images(calibration, float_model, preprocessing)


def _about_images(calibration: Calibration, float_model: FloatModel, preprocessing: Preprocessing) -> tuple[str, ...]:
    """What the user should know of the calibration images, one sentence each."""
    info = float_model.info
    notes = () if calibration.unreadable is None else (calibration.unreadable,)
    if info["random_weights"]:
        return notes
    same = str(info["recipe"].get("data", "")).rstrip("/") == calibration.data.rstrip("/")
    stem = float_model.stem
    held = fit(stem, calibration.images, preprocessing) if stem is not None and not same else None
    notes += unlikeness(calibration.statistics, preprocessing, same, held)
    better = None if stem is not None else preparation_note(predictor(float_model.model), calibration, preprocessing)
    return notes if better is None else (*notes, better)


def _quantize(
    float_model: onnx.ModelProto,
    info: dict[str, object],
    calibration: Calibration,
    progress: Progress | None,
    use_cache: bool,
) -> tuple[onnx.ModelProto, bool]:
    key = cache_key(float_model, calibration)
    model = load_cached(key) if use_cache else None
    cached = model is not None
    if model is None:
        model = quantize_model(float_model, [calibration.images], progress)
        if use_cache:
            store_cached(key, model)
    quantization = {
        "method": "post-training",
        "tool": f"nncf {quantizer_version()}",
        **calibration.record(),
    }
    write_model_info(model, {**info, "quantization": quantization})
    return model, cached
