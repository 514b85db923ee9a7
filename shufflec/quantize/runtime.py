"""ONNX Runtime sessions whose results are the same on every run."""

from __future__ import annotations

import onnx
import onnxruntime


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session on one thread, so that sums are formed in one order.

    QDQ nodes are executed as they stand: fused into ONNX Runtime's own integer kernels they would saturate on x86
    without VNNI.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
