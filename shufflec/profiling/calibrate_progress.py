"""What a calibration timed until it was interrupted, kept so that it can go on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from shufflec.files import cache_dir, write_atomic
from shufflec.profiling.calibrate_measure import Timings
from shufflec.profiling.calibrate_set import Network

_MAX_BYTES = 1 << 20


def progress_file(address: str, networks: Sequence[Network]) -> Path:
    """Where the timings of these networks' code at this address are kept."""
    contents = [network.bundle.manifest.contents for network in networks]
    code = [entry.sha256 for one in contents for _, entry in sorted(one.files.items())]
    names = [workload.name for network in networks for workload in network.workloads]
    key = hashlib.sha256(json.dumps([address, code, names]).encode()).hexdigest()[:16]
    return cache_dir("calibration") / f"{key}.json"


def kept_timings(path: Path, networks: Sequence[Network]) -> Timings:
    """Timings that start with what the file holds, and are written to it one by one. A damaged file holds nothing."""
    known = {workload.name for network in networks for workload in network.workloads}
    return Timings(_read(path, known), lambda milliseconds: _write(path, milliseconds))


def _read(path: Path, known: set[str]) -> dict[str, float]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: value for name, value in value.items() if name in known and _is_time(value)}


def _is_time(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value > 0


def _write(path: Path, milliseconds: Mapping[str, float]) -> None:
    write_atomic(path, json.dumps(dict(milliseconds), indent=1) + "\n")
