"""A root for qemu's -L in which engines see a board's processors and the arm64 Python.

Beyond what the virtual Pi's root has (devices/guest_files.py), engines read cache sizes and the cores' topology to
choose kernels; where they find this machine's instead, they choose others, or crash on a mix of both.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from shufflec.devices.guest_files import make_root
from shufflec.files import atomic_directory, cache_dir
from shufflec.targets.target import Cache, Target


def processor_files(target: Target) -> dict[str, str]:
    """Path below /sys/devices/system/cpu -> content: topology, clock and caches of the target's cores."""
    everyone = f"0-{target.cores - 1}" if target.cores > 1 else "0"
    files = {"kernel_max": "255"}
    for core in range(target.cores):
        folder = f"cpu{core}"
        files[f"{folder}/topology/physical_package_id"] = "0"
        files[f"{folder}/topology/core_id"] = str(core)
        for group in ("core_siblings_list", "cluster_cpus_list", "package_cpus_list"):
            files[f"{folder}/topology/{group}"] = everyone
        for group in ("thread_siblings_list", "core_cpus_list"):
            files[f"{folder}/topology/{group}"] = str(core)
        files[f"{folder}/cpufreq/cpuinfo_min_freq"] = str(target.clock_hz // 1000)
        for index, (level, cache) in enumerate(sorted(target.caches.items())):
            sharers = everyone if cache.shared else str(core)
            files.update(_cache_files(f"{folder}/cache/index{index}", level, cache, sharers))
    return {path: content + "\n" for path, content in files.items()}


def _cache_files(folder: str, level: str, cache: Cache, shared_with: str) -> dict[str, str]:
    return {
        f"{folder}/level": level[1],
        f"{folder}/type": "Data" if level.endswith("d") else "Unified",
        f"{folder}/size": f"{cache.size_bytes // 1024}K",
        f"{folder}/ways_of_associativity": str(cache.ways),
        f"{folder}/number_of_sets": str(cache.sets),
        f"{folder}/coherency_line_size": str(cache.line_bytes),
        f"{folder}/shared_cpu_list": shared_with,
    }


def board_root(target: Target, python_root: Path) -> Path:
    """Made once: links to the programs of `python_root`, with the board's own /proc and /sys.

    Raises OptionError for a target whose core has no known identity.
    """
    files = processor_files(target)
    key = hashlib.sha256(repr((str(python_root), target.to_dict(), sorted(files.items()))).encode()).hexdigest()[:12]
    folder = cache_dir("bench") / f"board-{target.name}-{key}"
    if not folder.is_dir():
        with atomic_directory(folder) as work:
            make_root(work, python_root, target)
            for name in ("etc", "usr"):
                (work / name).symlink_to(python_root / name)
            for path, content in files.items():
                file = work / "sys" / "devices" / "system" / "cpu" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
    return folder
