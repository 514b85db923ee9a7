"""What computes a network's logits at each stage of its way to the board, or why it cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from shufflec.devices.qemu_board import find_board
from shufflec.errors import DeviceError, InputFileError, OptionError, ToolMissingError
from shufflec.ir.graph import Graph
from shufflec.profiling.check_bundle import check_bundle
from shufflec.profiling.firmware import FirmwareNetwork
from shufflec.profiling.open_device import open_device
from shufflec.profiling.predict import one_by_one, reference_predict
from shufflec.profiling.remote_network import RemoteNetwork
from shufflec.profiling.stages import BOARD, FLOAT, QDQ, REFERENCE, Stage
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.inspect import class_count, input_shape, load_onnx

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle

Say = Callable[[str], None]


def float_stage(model: onnx.ModelProto | None, missing: str) -> Stage:
    """The float network; missing: why there is none."""
    return Stage(FLOAT, "ONNX Runtime", predictor(model) if model is not None else None, "" if model else missing)


def model_stages(qdq: onnx.ModelProto, graph: Graph) -> tuple[Stage, Stage]:
    """The quantized network in ONNX Runtime, and as integers in NumPy."""
    return Stage(QDQ, "ONNX Runtime", predictor(qdq)), Stage(REFERENCE, "NumPy", reference_predict(graph))


def check_float(path: str | Path, model: onnx.ModelProto, bundle: Bundle) -> onnx.ModelProto:
    """The float model, if it takes and gives what the bundle does. Raises InputFileError otherwise."""
    shape, classes = tuple(input_shape(model))[1:], class_count(model)
    wanted, names = tuple(bundle.input_shape)[1:], len(bundle.class_names)
    if shape != wanted:
        raise InputFileError(path, f"takes inputs {list(shape)}, the bundle {list(wanted)}: it is another network")
    if classes != names:
        raise InputFileError(path, f"has {classes} classes, the bundle {names}: it is another network")
    return model


@contextmanager
def open_bundle_stages(
    bundle: Bundle, rpc: str | None = None, key: str = "", timeout_s: float = 120.0, say: Say = lambda _: None
) -> Iterator[tuple[Stage, Stage, Stage]]:
    """The stages of a bundle behind the float network: quantized, integer reference, compiled code on its board.

    rpc: "host:port" of the board; without it, the target's virtual board is started (for the host target, a server on
    this machine), and where that cannot be had the last stage says why. Raises InputFileError for a bundle that is not
    consistent, OptionError for rpc with a Cortex-M bundle, and DeviceError for a board that was asked for.
    """
    check_bundle(bundle)
    if rpc is not None and bundle.target.family == "baremetal":
        raise OptionError("--rpc", rpc, f"{bundle.target.name} has no RPC server", "leave it out: QEMU runs it")
    with ExitStack() as stack:
        board = _board(bundle, rpc, key, timeout_s, say, stack)
        yield (*model_stages(load_onnx(bundle.model_path), bundle.graph()), board)


def _board(bundle: Bundle, rpc: str | None, key: str, timeout_s: float, say: Say, stack: ExitStack) -> Stage:
    target = bundle.target
    if rpc is not None:
        session = stack.enter_context(open_device(target, rpc, key, None, timeout_s, say))
        return Stage(BOARD, f"device at {rpc}", one_by_one(RemoteNetwork(bundle, session).run))
    firmware = target.family == "baremetal"
    engine = "this machine" if target.family == "host" else f"virtual {target.title}"
    if target.family != "host" and not (target.machine if firmware else target.qemu_cpu):
        return Stage(BOARD, target.title, missing=f"no emulated core is known for {target.name}")
    try:
        if firmware:
            find_board(target, say)
            network = FirmwareNetwork(bundle, say)
            answer = lambda inputs: np.concatenate(network.run_all([x[None] for x in inputs]))  # noqa: E731
            return Stage(BOARD, f"QEMU's {target.machine} ({target.core})", answer)
        session = stack.enter_context(open_device(target, say=say, timeout_s=timeout_s))
        return Stage(BOARD, engine, one_by_one(RemoteNetwork(bundle, session).run))
    except (ToolMissingError, DeviceError) as error:
        return Stage(BOARD, engine, missing=f"{error.message} ({error.hint})" if error.hint else error.message)
