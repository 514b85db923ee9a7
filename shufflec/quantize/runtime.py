"""ONNX Runtime sessions whose results are the same on every run, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnxruntime
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


@contextmanager
def runtime_errors() -> Iterator[None]:
    """Turns an error of ONNX Runtime into an UnsupportedModelError of one line."""
    try:
        yield
    except _ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(f"ONNX Runtime cannot run the model: {reason}") from error
