"""What a model file says about itself: one JSON text in the ONNX metadata, under the key "shufflec".

Its fields:

    schema          1
    architecture    Architecture.to_dict(), or null for a network that shufflec did not build
    preprocessing   Preprocessing.to_dict()
    class_names     list of str, one a class
    random_weights  true for an untrained network
    recipe, metrics, seed   of the training, {} and 0 when unknown
    quantization    absent in a float model; else {"method", "tool", "images", "data", "sha256", "available", "seed",
                    "indices"}: which images it was calibrated on, see Calibration.record; behind a search also
                    {"settings", "training", "max_drop", "drop", "met", "decided_on"}, see controlled.py
"""

from __future__ import annotations

import json

import onnx

from shufflec.errors import UnsupportedModelError

SCHEMA = 1
_KEY = "shufflec"
_MAX_CHARACTERS = 32 << 20
_TYPES = {
    "architecture": (dict, type(None)),
    "preprocessing": (dict,),
    "class_names": (list,),
    "random_weights": (bool,),
    "recipe": (dict,),
    "metrics": (dict,),
    "seed": (int,),
}


def read_model_info(model: onnx.ModelProto) -> dict[str, object]:
    """The description as a dict, {} for a model without one.

    Raises UnsupportedModelError when there is one that cannot be read or lacks a field.
    """
    text = next((item.value for item in model.metadata_props if item.key == _KEY), None)
    if text is None:
        return {}
    try:
        info = json.loads(text) if len(text) <= _MAX_CHARACTERS else None
    except (ValueError, RecursionError) as error:
        raise UnsupportedModelError(f"the model's metadata {_KEY!r} is not JSON: {error}") from error
    if not isinstance(info, dict) or info.get("schema") != SCHEMA:
        found = info.get("schema") if isinstance(info, dict) else None
        raise UnsupportedModelError(f"the model's metadata has schema {found}, this shufflec reads {SCHEMA}")
    for name, kinds in _TYPES.items():
        if not isinstance(info.get(name, ...), kinds):
            raise UnsupportedModelError(f"the model's metadata {_KEY!r} has no valid {name}")
    if not all(isinstance(name, str) for name in info["class_names"]):
        raise UnsupportedModelError(f"the model's metadata {_KEY!r} has a class name that is not text")
    return info


def write_model_info(model: onnx.ModelProto, info: dict[str, object]) -> None:
    """Replaces the description; equal dicts give equal bytes. Other metadata stays."""
    others = [(item.key, item.value) for item in model.metadata_props if item.key != _KEY]
    text = json.dumps({**info, "schema": SCHEMA}, sort_keys=True, ensure_ascii=False, allow_nan=False)
    del model.metadata_props[:]
    for key, value in sorted([*others, (_KEY, text)]):
        model.metadata_props.add(key=key, value=value)
