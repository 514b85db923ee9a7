"""The networks that engines run: ShuffleNetV1 and V2, mostly 1.0x at 224x224, with 1000 classes and random weights.

Instruction counts do not depend on the weights (an engine that skipped zeros would be an exception), so no training
is needed; the correlation with the float output still tells a right result from a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.complexity import complexity
from shufflec.models.families import AnyArchitecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import INPUT, export_onnx
from shufflec.quantize.ptq import quantize_model

_CALIBRATION_IMAGES = 4
_MEASURED_IMAGE_SEED = 1000


@dataclass(frozen=True)
class Workload:
    """One network with all that engines need of it.

    groups: of ShuffleNetV1; None for ShuffleNetV2. float_onnx, qdq_onnx: files. input: .npy, float32
    [1, 3, height, width]. reference: the float model's logits [1000] on that input. ranges: (least, largest) value of
    each tensor of the float model over the calibration images. macs: multiply-accumulates of one inference.
    """

    groups: int | None
    folder: Path
    architecture: AnyArchitecture
    float_onnx: Path
    qdq_onnx: Path
    input: Path
    reference: np.ndarray
    calibration: tuple[np.ndarray, ...]
    ranges: Mapping[str, tuple[float, float]]
    macs: int


def bench_architecture(
    groups: int | None, scale: float = 1.0, input_size: tuple[int, int] = (224, 224)
) -> AnyArchitecture:
    """The network with 1000 classes: of the paper; ShuffleNetV2, for groups None, in torchvision's form."""
    if groups is None:
        return ArchitectureV2(scale, "torchvision", classes=1000, input_size=input_size)
    return Architecture(groups=groups, scale=scale, variant="paper", classes=1000, input_size=input_size)


def make_workload(
    groups: int | None, folder: Path, scale: float = 1.0, input_size: tuple[int, int] = (224, 224)
) -> Workload:
    """`workload_of` the bench's network with these properties."""
    return workload_of(bench_architecture(groups, scale, input_size), folder)


def workload_of(architecture: AnyArchitecture, folder: Path) -> Workload:
    """Builds, exports and quantizes a network into `folder`; the same files for the same architecture."""
    float_model = export_onnx(random_checkpoint(architecture))
    calibration = tuple(_noise(architecture, seed) for seed in range(_CALIBRATION_IMAGES))
    image = _noise(architecture, _MEASURED_IMAGE_SEED)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(float_model, folder / "float.onnx")
    onnx.save(quantize_model(float_model, calibration), folder / "qdq.onnx")
    np.save(folder / "input.npy", image)
    return Workload(
        groups=architecture.groups,
        folder=folder,
        architecture=architecture,
        float_onnx=folder / "float.onnx",
        qdq_onnx=folder / "qdq.onnx",
        input=folder / "input.npy",
        reference=_session(float_model).run(None, {INPUT: image})[0].ravel(),
        calibration=calibration,
        ranges=measure_ranges(float_model, calibration),
        macs=complexity(architecture).macs,
    )


def measure_ranges(model: onnx.ModelProto, images: tuple[np.ndarray, ...]) -> dict[str, tuple[float, float]]:
    """(least, largest) value of the input and of each node's output of a float model, over `images`."""
    graph_input = model.graph.input[0].name
    names = [name for node in model.graph.node for name in node.output]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = _session(probe)
    ranges = dict.fromkeys([graph_input, *names], (np.inf, -np.inf))
    for image in images:
        for name, value in zip([graph_input, *names], [image, *session.run(names, {graph_input: image})], strict=True):
            low, high = ranges[name]
            ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    return ranges


def absmax(ranges: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Largest absolute value of each tensor."""
    return {name: max(abs(low), abs(high)) for name, (low, high) in ranges.items()}


def _noise(architecture: AnyArchitecture, seed: int) -> np.ndarray:
    """What a preprocessed photo looks like to first order: mean 0, standard deviation 1."""
    return np.random.default_rng(seed).standard_normal((1, 3, *architecture.input_size)).astype(np.float32)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
