"""shufflec's own row of the comparison, through the public path: compile, virtual Pi, profile over RPC."""

from __future__ import annotations

import importlib.metadata
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from shufflec.backends.bundle import Bundle
from shufflec.backends.compile import compile_model
from shufflec.bench.report import network_title
from shufflec.bench.saved import records_digest, source_digest
from shufflec.bench.workload import Workload
from shufflec.errors import DeviceError
from shufflec.files import write_atomic
from shufflec.profiling.open_device import open_device
from shufflec.profiling.profile import profile_bundle
from shufflec.profiling.remote_network import RemoteNetwork
from shufflec.targets.target import Target


def own_key(
    target: Target, groups: int | None, scale: float = 1.0, input_size: tuple[int, int] = (224, 224)
) -> dict[str, object]:
    """Everything that decides `run_shufflec` of such a network: the whole package, tuned records, board and tools."""
    packages = ("apache-tvm", "apache-tvm-ffi", "torch", "onnx", "nncf", "numpy", "ziglang", "capstone")
    return {
        "engine": "shufflec",
        "network": [groups, scale, list(input_size)],
        "target": target.to_dict(),
        "sources": source_digest(("",)),
        "records": records_digest(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


@dataclass(frozen=True)
class OwnRun:
    """instructions: of one inference, by class. output: logits, float32, flat. milliseconds: estimated."""

    instructions: dict[str, int]
    output: np.ndarray
    milliseconds: float


def run_shufflec(workload: Workload, target: Target, fold_shuffle: bool = True) -> OwnRun:
    """Compiles the workload's QDQ model for `target` and profiles it on a virtual board of that target.

    fold_shuffle: False leaves every channel shuffle a copy. The output is compared with the integer reference, bit for
    bit, before anything is counted. Raises WrongResultError where it differs, DeviceError when the board fails.
    """
    name = f"bench-{network_title(workload.groups)}"
    compiled = compile_model(onnx.load(workload.qdq_onnx), target, name, fold_shuffle)
    image = np.load(workload.input, allow_pickle=False)
    with tempfile.TemporaryDirectory(prefix="shufflec-bench-") as name:
        # Not write_bundle: the bench must not become the newest bundle, which `shufflec profile` takes by itself.
        folder = Path(name)
        write_atomic(folder / compiled.library_name, compiled.library)
        bundle = Bundle(folder, compiled.manifest({}), compiled.integer.graph)
        with open_device(target) as session:
            profile = profile_bundle(bundle, session, [image])
            output = RemoteNetwork(bundle, session).run(image)
    if profile.whole.instructions is None:
        raise DeviceError(f"the virtual {target.name} counts no instructions")
    return OwnRun(profile.whole.instructions, output.ravel(), profile.whole.milliseconds)
