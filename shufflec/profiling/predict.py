"""A bundle's network as a function from inputs to logits, on a device or by the integer reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from shufflec.backends.bundle import Bundle
from shufflec.errors import OptionError
from shufflec.ir import reference
from shufflec.ir.graph import Graph
from shufflec.profiling.check_bundle import check_bundle
from shufflec.profiling.firmware import FirmwareNetwork
from shufflec.profiling.open_device import connect_device
from shufflec.profiling.remote_network import RemoteNetwork

Predict = Callable[[np.ndarray], np.ndarray]


def one_by_one(predict: Predict) -> Predict:
    """Turns a function of one input, float32 (1, 3, H, W), into one of batches: [N, 3, H, W] -> [N, classes]."""
    return lambda inputs: np.concatenate([predict(x[None]) for x in inputs])


def reference_predict(graph: Graph) -> Predict:
    """Logits by the NumPy integer reference, which compiled code equals bit for bit."""
    return one_by_one(lambda x: reference.predict(graph, x))


def firmware_predict(bundle: Bundle, board: str) -> Predict:
    """Logits by the bundle's firmware on the emulated board of its target, a batch in one run."""
    if board != bundle.target.name or bundle.target.family != "baremetal":
        kind = "a Cortex-M bundle" if bundle.target.family == "baremetal" else "no Cortex-M bundle: use --rpc"
        raise OptionError("--target", board, f"{bundle.path} is for {bundle.target.name}, {kind}")
    network = FirmwareNetwork(bundle)
    return lambda inputs: np.concatenate(network.run_all([x[None] for x in inputs]))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Scores float64 along the last axis; they add up to 1."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def top_classes(logits: np.ndarray, count: int) -> list[tuple[int, float]]:
    """The `count` best classes of logits (1, classes) with their scores, best first; of equal ones the first class."""
    scores = softmax(logits.reshape(-1))
    order = np.argsort(-scores, kind="stable")[:count]
    return [(int(i), float(scores[i])) for i in order]


@contextmanager
def open_predictor(
    bundle: Bundle, address: str | None, key: str, timeout_s: float, board: str | None = None
) -> Iterator[tuple[Predict, str]]:
    """What computes a bundle's logits, and its name: the device at address "host:port", else the integer reference.

    board: the name of a Cortex-M target, whose emulated board runs the bundle's firmware.
    Raises InputFileError for a manifest that does not fit its model, OptionError for a board that is not the bundle's,
    and DeviceError when the device cannot be reached or the connection is lost.
    """
    check_bundle(bundle)
    if board is not None:
        yield firmware_predict(bundle, board), f"firmware on QEMU's {bundle.target.machine} ({bundle.target.core})"
        return
    if address is None:
        yield reference_predict(bundle.graph()), "integer reference"
        return
    with connect_device(address, key, timeout_s) as session:
        yield one_by_one(RemoteNetwork(bundle, session).run), f"compiled code on {address}"
