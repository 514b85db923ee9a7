"""Compares a network on a device with the NumPy integer reference, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from shufflec.backends.manifest import LayerEntry
from shufflec.errors import WrongResultError
from shufflec.ir.graph import Graph
from shufflec.ir.reference import execute


class Network(Protocol):
    """What is compared: RemoteNetwork, or a fake in tests."""

    def run(self, x: np.ndarray) -> np.ndarray: ...

    def layer_outputs(self, x: np.ndarray) -> Iterator[np.ndarray]: ...


def verify(
    network: Network,
    graph: Graph,
    layers: Sequence[LayerEntry],
    inputs: Sequence[np.ndarray],
    progress: Callable[[int, int], None] = lambda done, total: None,
    every_layer: bool = False,
) -> None:
    """Runs every input, float32 (1, 3, H, W), on both sides and compares the logits bit for bit.

    layers: of the compiled network, in order, each with its name, kind and the tensor of the graph that it computes.
    progress(done, total): inputs, at the start and after each.
    every_layer: compare each layer's tensor as well: equal logits can hide a wrong value that saturates later.
    Raises WrongResultError that names the first layer whose tensor differs.
    """
    progress(0, len(inputs))
    for number, x in enumerate(inputs):
        expected = execute(graph, x)
        logits = network.run(x)
        equal = same_bits(logits, expected[graph.output])
        found = _wrong_layer(network, layers, x, expected) if every_layer or not equal else ""
        if not equal and not found:
            difference = _difference(logits, expected[graph.output])
            found = f"every layer alone equals the integer reference, but the whole network does not: {difference}"
        if found:
            hint = "compile the model again; if it stays so, report it with the bundle"
            raise WrongResultError(f"input {number}: {found}", hint)
        progress(number + 1, len(inputs))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same type, shape and bytes; so -0.0 differs from 0.0, and NaN equals itself."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _wrong_layer(network: Network, layers: Sequence[LayerEntry], x: np.ndarray, expected: dict[str, np.ndarray]) -> str:
    """Runs layer by layer and describes the first tensor that differs, in one line; "" when none does."""
    for layer, value in zip(layers, network.layer_outputs(x), strict=True):
        wanted = expected[layer.tensor]
        if not same_bits(value.reshape(wanted.shape), wanted):
            found = _difference(value, wanted)
            return f"layer {layer.name} ({layer.kind}) differs from the integer reference: {found}"
    return ""


def _difference(value: np.ndarray, wanted: np.ndarray) -> str:
    value = value.reshape(wanted.shape)
    wrong = np.argwhere(value != wanted)
    if not len(wrong):
        return "equal values with other bits"
    place = tuple(int(i) for i in wrong[0])
    where = ", ".join(map(str, place))
    return f"{len(wrong)} of {wanted.size} values, the first at ({where}) is {value[place]}, expected {wanted[place]}"
