"""Keeps quantized models, so that compiling the same model again skips the quantizer."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import onnx

from shufflec.errors import InputFileError, UnsupportedModelError
from shufflec.files import cache_dir, write_atomic
from shufflec.quantize.calibration import Calibration
from shufflec.quantize.inspect import load_onnx, model_kind
from shufflec.quantize.settings import DEFAULT, PtqSettings

# What decides the result beside the model and the images: the packages that compute it and our rewrites.
_PACKAGES = ("nncf", "numpy", "onnx", "onnxruntime")
_SOURCES = (
    "bias_correction.py",
    "equalize.py",
    "islands.py",
    "onnx_graph.py",
    "ptq.py",
    "runtime.py",
    "shared_grids.py",
    "unsigned_grids.py",
    "weights.py",
)


def cache_key(float_model: onnx.ModelProto, calibration: Calibration, settings: PtqSettings = DEFAULT) -> str:
    """SHA-256 over everything that the quantized model depends on."""
    state = hashlib.sha256()
    for package in _PACKAGES:
        state.update(f"{package} {version(package)}\n".encode())
    for name in _SOURCES:
        state.update(Path(__file__).with_name(name).read_bytes())
    state.update(json.dumps(settings.to_dict(), sort_keys=True).encode())
    state.update(f"{calibration.data}\n{calibration.digest()}\n".encode())
    state.update(float_model.SerializeToString(deterministic=True))
    return state.hexdigest()


def load_cached(key: str) -> onnx.ModelProto | None:
    """The model kept under `key`; None when there is none, or when its file was damaged."""
    path = _path(key)
    if not path.is_file():
        return None
    try:
        model = load_onnx(path)
        return model if model_kind(model) == "qdq" else None
    except (InputFileError, UnsupportedModelError):
        return None


def store_cached(key: str, model: onnx.ModelProto) -> None:
    """Keeps a quantized model under `key`. Raises NoSpaceError when the disk is full."""
    write_atomic(_path(key), model.SerializeToString(deterministic=True))


def _path(key: str) -> Path:
    return cache_dir("quantize") / f"{key}.onnx"
