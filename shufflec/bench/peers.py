"""The engines that shufflec is compared with: versions, how each gets its model, and how it is set up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shufflec.bench.executorch_model import EXECUTORCH, executorch_files
from shufflec.bench.ncnn_model import to_ncnn
from shufflec.bench.tflite_model import to_tflite
from shufflec.bench.workload import Workload, absmax

_NUMPY = "numpy==2.4.6"
_NCNN = "ncnn==1.0.20261020"
_MNN = "MNN==3.6.1"
_ONNXRUNTIME = "onnxruntime==1.31.1"
_LITERT = "ai-edge-litert==2.3.0"
_IMAGE_STEPS = 28.0  # of an image's bytes for 1.0: calibration images are noise of standard deviation 1


@dataclass(frozen=True)
class PeerModel:
    """Files that the engine loads, and the names of its input and output where it asks for them."""

    files: tuple[Path, ...]
    input: str = "input"
    output: str = "logits"


@dataclass(frozen=True)
class Peer:
    """One row of the comparison.

    engine: its key in guest/run_engine.py. requirements: arm64 wheels, pinned. convert: makes the model's files in a
    folder. options: settings of the engine.
    """

    name: str
    precision: str
    how: str
    engine: str
    requirements: tuple[str, ...]
    convert: Callable[[Workload, Path], PeerModel]
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What --engine matches, e.g. "ncnn int8, packing off"."""
        return f"{self.name} {self.precision}"


def _float_onnx(workload: Workload, folder: Path) -> PeerModel:
    del folder
    return PeerModel((workload.float_onnx,))


def _same_qdq(workload: Workload, folder: Path) -> PeerModel:
    del folder
    return PeerModel((workload.qdq_onnx,))


def _onnxruntime_int8(workload: Workload, folder: Path) -> PeerModel:
    """ONNX Runtime's own static quantization: uint8 activations, int8 weights per channel, QDQ."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(workload.calibration)

        def get_next(self) -> dict | None:
            image = next(self.rest, None)
            return None if image is None else {"input": image}

    prepared, quantized = folder / "prepared.onnx", folder / "onnxruntime-int8.onnx"
    quant_pre_process(str(workload.float_onnx), str(prepared))
    quantize_static(
        str(prepared),
        str(quantized),
        Images(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )
    return PeerModel((quantized,))


def _ncnn(workload: Workload, folder: Path, quantized: bool) -> PeerModel:
    import onnx

    model = to_ncnn(onnx.load(workload.float_onnx), absmax(workload.ranges) if quantized else None)
    files = folder / "model.param", folder / "model.bin"
    files[0].write_text(model.param)
    files[1].write_bytes(model.weights)
    return PeerModel(files, model.input, model.output)


def _ncnn_float(workload: Workload, folder: Path) -> PeerModel:
    return _ncnn(workload, folder, quantized=False)


def _ncnn_int8(workload: Workload, folder: Path) -> PeerModel:
    return _ncnn(workload, folder, quantized=True)


def _litert(workload: Workload, folder: Path, quantized: bool) -> PeerModel:
    import onnx

    file = folder / "model.tflite"
    file.write_bytes(to_tflite(onnx.load(workload.float_onnx), workload.ranges if quantized else None))
    return PeerModel((file,))


def _litert_float(workload: Workload, folder: Path) -> PeerModel:
    return _litert(workload, folder, quantized=False)


def _litert_int8(workload: Workload, folder: Path) -> PeerModel:
    return _litert(workload, folder, quantized=True)


def _mnn_int8(workload: Workload, folder: Path) -> PeerModel:
    """The float model, the settings of MNN's quantizer, and where the guest keeps what it makes of them.

    The quantizer reads images: the calibration inputs, rounded to bytes.
    """
    import json

    import numpy as np
    from PIL import Image

    images = folder / "images"
    images.mkdir(exist_ok=True)
    for number, values in enumerate(workload.calibration):
        pixels = np.clip(np.rint(values[0].transpose(1, 2, 0) * _IMAGE_STEPS + 127.5), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    height, width = workload.architecture.input_size
    settings = {
        "format": "RGB",
        "mean": [127.5] * 3,
        "normal": [1 / _IMAGE_STEPS] * 3,
        "width": width,
        "height": height,
        "path": f"{images}/",
        "used_sample_num": len(workload.calibration),
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
        "model": "shufflenet",
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return PeerModel((workload.float_onnx, folder / "settings.json", folder / "model.mnn"))


def _executorch_float(workload: Workload, folder: Path) -> PeerModel:
    return PeerModel(executorch_files(workload, folder, (EXECUTORCH, _NUMPY), quantized=False))


def _executorch_int8(workload: Workload, folder: Path) -> PeerModel:
    return PeerModel(executorch_files(workload, folder, (EXECUTORCH, _NUMPY), quantized=True))


PEERS = (
    Peer("ncnn", "float", "fp16 on cores that have it (ncnn's default)", "ncnn", (_NCNN, _NUMPY), _ncnn_float),
    Peer("ncnn", "int8", "default options", "ncnn", (_NCNN, _NUMPY), _ncnn_int8),
    Peer(
        "ncnn",
        "int8, packing off",
        "use_packing_layout = false",
        "ncnn",
        (_NCNN, _NUMPY),
        _ncnn_int8,
        {"use_packing_layout": False},
    ),
    Peer("ONNX Runtime", "float", "default options", "onnxruntime", (_ONNXRUNTIME, _NUMPY), _float_onnx),
    Peer(
        "ONNX Runtime",
        "int8",
        "its own static quantization: uint8 activations, int8 weights per channel",
        "onnxruntime",
        (_ONNXRUNTIME, _NUMPY),
        _onnxruntime_int8,
    ),
    Peer(
        "ONNX Runtime",
        "int8, our QDQ",
        "the QDQ file that shufflec compiles, by NNCF",
        "onnxruntime",
        (_ONNXRUNTIME, _NUMPY),
        _same_qdq,
    ),
    Peer("MNN", "float", "default options", "mnn", (_MNN, _NUMPY), _float_onnx),
    Peer("MNN", "int8", "its own quantizer, KL, on the calibration images", "mnn", (_MNN, _NUMPY), _mnn_int8),
    Peer("LiteRT", "float", "XNNPACK, its default", "litert", (_LITERT, _NUMPY), _litert_float),
    Peer(
        "LiteRT",
        "int8",
        "XNNPACK, its default; int8 activations, int8 weights per channel",
        "litert",
        (_LITERT, _NUMPY),
        _litert_int8,
    ),
    Peer("ExecuTorch", "float", "XNNPACK", "executorch", (EXECUTORCH, _NUMPY), _executorch_float),
    Peer(
        "ExecuTorch",
        "int8",
        "XNNPACK; its quantizer: int8, weights per channel",
        "executorch",
        (EXECUTORCH, _NUMPY),
        _executorch_int8,
    ),
)
