"""ONNX Runtime sessions whose results are the same on every run, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as states

from shufflec.errors import UnsupportedModelError

# ONNX Runtime's errors have no common base but Exception.
_ERRORS = (
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoModel,
    states.NotImplemented,
    states.RuntimeException,
    RuntimeError,
    ValueError,
)


def open_session(model: onnx.ModelProto, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on one thread, so that sums are formed in one order.

    QDQ nodes are executed as they stand: fused into ONNX Runtime's own integer kernels they would saturate on x86
    without VNNI. optimized: where to write the model after the basic rewrites, which keep to standard operators.

    Raises UnsupportedModelError for a model that is not consistent or has operators unknown to ONNX Runtime.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if optimized is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(optimized)
    with runtime_errors():
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_once(model: onnx.ModelProto) -> None:
    """Runs a model on a black image. Raises UnsupportedModelError when its shapes do not fit together."""
    session = open_session(model)
    image = session.get_inputs()[0]
    with runtime_errors():
        session.run(None, {image.name: np.zeros(image.shape, np.float32)})


def watch(model: onnx.ModelProto, names: list[str], images: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Runs a float model on each image, [1, 3, H, W], and yields its tensors `names`."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    existing = {output.name for output in model.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in existing
    )
    session = open_session(watched)
    input_name = model.graph.input[0].name
    for image in images:
        with runtime_errors():
            tensors = session.run(names, {input_name: image})
        yield tensors


@contextmanager
def runtime_errors() -> Iterator[None]:
    """Turns an error of ONNX Runtime into an UnsupportedModelError of one line."""
    try:
        yield
    except _ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(f"ONNX Runtime cannot run the model: {reason}") from error
