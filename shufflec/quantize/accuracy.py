"""Runs a float or QDQ ONNX model with ONNX Runtime: the accuracy before and after quantization."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime

from shufflec.data.datasets import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.training.evaluate import Metrics, evaluate

_BATCH = 32


def predictor(model: onnx.ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    """A function from float32 [N, 3, H, W] to float32 logits [N, classes]; the model itself takes one image.

    One thread, so that sums are formed in one order and results are the same on every run. QDQ nodes are executed
    as they stand: fusing them into ONNX Runtime's own integer kernels would saturate on x86 without VNNI.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(images, np.float32)
        return np.concatenate([session.run(None, {name: images[i : i + 1]})[0] for i in range(len(images))])

    return predict


def evaluate_onnx(
    model: onnx.ModelProto, dataset: Dataset, preprocessing: Preprocessing, batch_size: int = _BATCH
) -> Metrics:
    """Top-1, top-5 and the confusion matrix of a model on a data set."""
    return evaluate(predictor(model), dataset, preprocessing, batch_size)
