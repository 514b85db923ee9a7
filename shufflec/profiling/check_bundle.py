"""Checks a bundle's manifest against its model, before memory is taken or answers are named by what it says."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from shufflec.errors import InputFileError

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle


def check_bundle(bundle: Bundle) -> None:
    """Raises InputFileError that names what does not fit: a layer, the input, the output or the class names."""
    graph = bundle.graph()
    for layer in bundle.layers:
        spec = graph.tensors.get(layer.tensor)
        if spec is None or prod(spec.shape) != prod(layer.output_shape) or spec.dtype != layer.output_dtype:
            raise _misfit(bundle, f"layer {layer.name[:80]}")
    if tuple(bundle.input_shape) != tuple(graph.tensors[graph.input].shape):
        raise _misfit(bundle, f"the input shape {list(bundle.input_shape)}")
    if tuple(bundle.preprocessing.input_size) != tuple(bundle.input_shape[2:]):
        raise _misfit(bundle, f"the preprocessing's input size {list(bundle.preprocessing.input_size)}")
    if tuple(bundle.output_shape) != tuple(graph.tensors[graph.output].shape):
        raise _misfit(bundle, f"the output shape {list(bundle.output_shape)}")
    if len(bundle.class_names) != bundle.output_shape[1]:
        raise _misfit(bundle, f"the number of class names, {len(bundle.class_names)},")


def _misfit(bundle: Bundle, what: str) -> InputFileError:
    return InputFileError(
        bundle.path / "manifest.json", f"{what} does not fit the bundle's model", "compile the model again"
    )
