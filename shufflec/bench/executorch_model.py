"""ExecuTorch: the network exported for XNNPACK, and its runtime behind a C interface.

Both come from its wheels: the one for this machine exports (in a process of its own, with its own packages on the
path), the one for arm64 has the runtime's libraries and headers, which guest/executorch_runner.cc is built with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from shufflec.bench.arm64_python import PACKAGE_ROOT, arm64_packages, host_packages
from shufflec.bench.workload import Workload
from shufflec.errors import ShufflecError
from shufflec.zig import run_zig

EXECUTORCH = "executorch==1.5.1"
_HOST = (
    EXECUTORCH,
    "torchao==0.18.0",
    "ruamel.yaml==0.19.1",
    "pyyaml==6.0.3",
    "tabulate==0.10.0",
    "pandas==3.1.1",
    "python-dateutil==4.0.0",
    "pytz==2026.6",
    "six==1.17.0",
    "expecttest==0.3.0",
    "parameterized==0.9.0",
)
_LIBRARIES = (
    "executorch",
    "executorch_kernels_optimized",
    "executorch_kernels_quantized",
    "executorch_backend_xnnpack",
    "executorch_threadpool",
)
_SOURCE = Path(__file__).resolve().parent / "guest" / "executorch_runner.cc"
_EXPORT_TIMEOUT_S = 1800


def executorch_files(workload: Workload, folder: Path, requirements: tuple[str, ...], quantized: bool) -> tuple:
    """(the .pte file, the runner's library), made in `folder`.

    requirements: the arm64 wheels that the guest gets. Raises ShufflecError, in one line, when a step fails.
    """
    return _export(workload, folder, quantized), _runner(folder, arm64_packages(requirements, _quiet))


def _export(workload: Workload, folder: Path, quantized: bool) -> Path:
    images = folder / "calibration.npy"
    np.save(images, np.concatenate(workload.calibration))
    job = {
        "architecture": [workload.groups, workload.architecture.scale, list(workload.architecture.input_size)],
        "calibration": str(images),
        "quantized": quantized,
        "output": str(folder / "model.pte"),
    }
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(host_packages(_HOST, _quiet)), str(PACKAGE_ROOT)]),
        "OMP_NUM_THREADS": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "shufflec.bench.executorch_export", json.dumps(job)],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_EXPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ShufflecError(f"ExecuTorch's export: no result after {_EXPORT_TIMEOUT_S} s") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        raise ShufflecError(f"ExecuTorch's export fails: {lines[-1][:300]}")
    return folder / "model.pte"


def _runner(folder: Path, packages: Path) -> Path:
    home, library = packages / "executorch", folder / "executorch_runner.so"
    headers = [home / "include", home / "include/executorch/runtime/core/portable_type/c10"]
    command = ["c++", "-target", "aarch64-linux-gnu.2.34", "-std=c++17", "-O1", "-shared", "-fPIC", "-s"]
    command += [*(f"-isystem{header}" for header in headers), "-DC10_USING_CUSTOM_GENERATED_MACROS"]
    command += ["-o", str(library), str(_SOURCE), f"-L{home / 'lib'}", "-Wl,--no-as-needed"]
    command += [*(f"-l{name}" for name in _LIBRARIES), f"-Wl,-rpath,{home / 'lib'}"]
    run_zig(command, "ExecuTorch's runner")
    return library


def _quiet(words: str) -> None:
    del words
