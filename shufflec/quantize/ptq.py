"""Post-training quantization: float ONNX in, QDQ ONNX of integer islands out.

equalize.py evens out the channels behind depthwise convolutions; NNCF places the quantizers and measures ranges;
weights.py sets the weights' scales; islands.py moves quantizers to where integer arithmetic needs them;
bias_correction.py takes out what rounding shifted.

What the result looks like, for groups 1, 2, 3, 4, 8 and the three variants. All zero points are 0; weights are int8 in
[-127, 127], per output channel (axis 0); biases stay float32; `ch` marks per-channel activation scales (axis 1).

    place                     island
    input                     Q int8 (uint8 when no calibration image has a negative value)
    stem                      DQ -> Conv -> Relu -> Q uint8
    stem.pool                 DQ -> MaxPool -> Q uint8, same scale
    conv1                     DQ -> Conv -> Relu -> Q uint8 ch: NNCF quantizes per channel what a depthwise conv reads
    dw                        DQ ch [-> shuffle] -> Conv -> Q int8                  shuffle here: paper, mindcv
    conv2, stride 1           DQ [-> shuffle] -> Conv -> Add(DQ shortcut, .) -> Relu -> Q uint8     shuffle: megvii
    conv2, stride 2           DQ [-> shuffle] -> Conv -> Relu -> Concat(AveragePool(DQ input), .) -> Q uint8
    global_pool               DQ -> GlobalAveragePool -> Q uint8
    classifier                DQ -> Flatten -> Gemm -> float logits

A shuffle is Reshape, Transpose, Reshape behind the DQ, so per-channel scales are in the order before the shuffle.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import onnx

from shufflec.errors import OptionError, UnsupportedModelError
from shufflec.quantize.bias_correction import correct_biases
from shufflec.quantize.equalize import equalize
from shufflec.quantize.islands import make_islands
from shufflec.quantize.onnx_graph import slices_of_splits
from shufflec.quantize.runtime import runtime_errors
from shufflec.quantize.settings import DEFAULT, SMOOTH_ALPHA, PtqSettings
from shufflec.quantize.weights import requantize_weights

if TYPE_CHECKING:
    from nncf.quantization.range_estimator import RangeEstimatorParameters

_OUTSIDE = 1e-3  # of an image's values, at either end of a percentile range

Progress = Callable[[int, int], None]


def quantize_model(
    float_model: onnx.ModelProto,
    calibration: Iterable[np.ndarray],
    progress: Progress | None = None,
    settings: PtqSettings = DEFAULT,
) -> onnx.ModelProto:
    """Quantizes a float model with the ranges that its activations take on the calibration images.

    float_model: one input [1, 3, H, W] float32, one output. calibration: arrays [N, 3, H, W] float32, preprocessed as
    the model expects, at least one image in all. progress(done, total) is called per image. The same model and images
    give the same bytes. Metadata of the float model is kept.

    Raises OptionError without images, UnsupportedModelError for a model that does not become integer throughout.
    """
    images = _single_images(calibration)
    if not images:
        raise OptionError("calibration", "of 0 images", "at least 1 is needed to quantize", "pass --data")
    graph_input = float_model.graph.input[0]
    expected = tuple(dim.dim_value for dim in graph_input.type.tensor_type.shape.dim)
    if images[0].shape != expected:
        raise OptionError("calibration", f"of shape {images[0].shape}", f"the model takes {expected}")

    model = equalized_model(float_model, images, settings)
    quantized = _run_nncf(model, graph_input.name, images, progress, settings)
    requantize_weights(quantized, model)
    make_islands(quantized)
    if settings.bias == "own":
        correct_biases(quantized, model, images)
    del quantized.graph.value_info[:]  # shapes of tensors, some of which are gone
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(float_model.metadata_props)
    onnx.checker.check_model(quantized, full_check=True)
    return quantized


def equalized_model(
    float_model: onnx.ModelProto, calibration: Iterable[np.ndarray], settings: PtqSettings = DEFAULT
) -> onnx.ModelProto:
    """The float network as quantize_model hands it to NNCF: the same logits, and the very tensors that are rounded."""
    model = onnx.ModelProto()
    model.CopyFrom(float_model)
    slices_of_splits(model.graph)
    equalize(model, _single_images(calibration), SMOOTH_ALPHA if settings.smooth else None)
    return model


def quantizer_version() -> str:
    """Version of NNCF, as recorded in a quantized model."""
    return version("nncf")


def _single_images(calibration: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Batches as a list of [1, 3, H, W] float32 arrays."""
    images = []
    for batch in calibration:
        array = np.ascontiguousarray(batch, np.float32)
        images.extend(array[i : i + 1] for i in range(array.shape[0]))
    return images


def _run_nncf(
    model: onnx.ModelProto,
    input_name: str,
    images: list[np.ndarray],
    progress: Progress | None,
    settings: PtqSettings,
) -> onnx.ModelProto:
    nncf = load_nncf()
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    seen = 0

    def feed(image: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal seen
        seen += 1
        if progress is not None:
            progress(min(seen, len(images)), len(images))
        return {input_name: image}

    parameters = AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.DISABLE,  # halves the stem's weight range for old x86 only
        smooth_quant_alphas=AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),  # would add float Mul nodes
        # bias_correction.py does it, for grouped convolutions too
        disable_bias_correction=settings.bias in ("own", "off"),
        # The range over all images. NNCF's default averages the images' ranges and clips; in the narrow layers of a
        # small ShuffleNet that cost 5 dB of the logits' signal-to-noise ratio, and percents of accuracy.
        activations_range_estimator_params=(
            RangeEstimatorParametersSet.MINMAX if settings.ranges == "minmax" else _percentile_ranges()
        ),
    )
    # PERFORMANCE is symmetric: every zero point is 0.
    presets = {"symmetric": nncf.QuantizationPreset.PERFORMANCE, "mixed": nncf.QuantizationPreset.MIXED}
    try:
        with runtime_errors(), redirect_stdout(io.StringIO()):  # NNCF draws progress bars on stdout
            return nncf.quantize(
                model,
                nncf.Dataset(images, feed),
                preset=presets[settings.preset],
                subset_size=len(images),
                fast_bias_correction=settings.bias != "accurate",
                advanced_parameters=parameters,
            )
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        # A foreign graph that passed our checks; NNCF has no error class of its own for those it cannot follow.
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(f"NNCF cannot quantize the model: {type(error).__name__}: {reason}") from error


def _percentile_ranges() -> RangeEstimatorParameters:
    """The range that leaves out the outermost values of each image, the widest of all images.

    NNCF's own choice, the mean over images, would cut off the channels that fire on few of them.
    """
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    low, high = (
        StatisticsCollectorParameters(StatisticsType.QUANTILE, aggregator, quantile_outlier_prob=_OUTSIDE)
        for aggregator in (AggregatorType.MIN, AggregatorType.MAX)
    )
    return RangeEstimatorParameters(min=low, max=high)


def load_nncf() -> ModuleType:
    """Imports NNCF with its telemetry off: it would write a client id to the home folder and call out."""
    if "nncf" not in sys.modules:
        real = sys.modules.get("openvino_telemetry")
        sys.modules["openvino_telemetry"] = None  # import then fails, and NNCF falls back to a stub
        try:
            import nncf
        finally:
            if real is None:
                del sys.modules["openvino_telemetry"]
            else:
                sys.modules["openvino_telemetry"] = real
        nncf.set_log_level(logging.ERROR)
    return sys.modules["nncf"]
