"""Files that the emulated program sees in the place of this machine's: the board's processors.

Without them a guest would count this machine's cores and read this machine's clocks and caches, and a thread pool (or a
library that picks its kernels by processor, or the size of its tiles by cache) would behave as on no board at all.
"""

from __future__ import annotations

from pathlib import Path

from shufflec.errors import OptionError
from shufflec.targets.target import Cache, Target

# MIDR_EL1 part numbers and revisions: the TRM of each core, "Main ID Register" (those of Arm's are also listed in
# Linux, arch/arm64/include/asm/cputype.h). Cores without a model (timing/cores) only have their instructions counted.
_PARTS = {
    "cortex-a35": (0xD04, 0),
    "cortex-a53": (0xD03, 4),
    "cortex-a55": (0xD05, 0),
    "cortex-a57": (0xD07, 3),
    "cortex-a72": (0xD08, 3),
    "cortex-a73": (0xD09, 2),
    "cortex-a75": (0xD0A, 1),
    "cortex-a76": (0xD0B, 1),
    "cortex-a77": (0xD0D, 0),
    "cortex-a78": (0xD41, 0),
    "neoverse-n1": (0xD0C, 1),
}
# Caches that this machine may have and the board does not: a guest that looks for them finds empty files.
_CACHE_INDICES = 8
_BASE_FEATURES = "fp asimd evtstrm crc32 cpuid"
_DOTPROD_FEATURES = f"{_BASE_FEATURES} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


def make_root(folder: Path, sysroot: Path, target: Target) -> Path:
    """Makes `folder` a root for qemu-user's -L: the libraries of `sysroot` and the processors of `target`.

    Paths that it lacks are this machine's own. Raises OptionError for a core whose identity is not known.
    """
    if target.core not in _PARTS:
        raise OptionError("core.name", target.core, f"no virtual board has this core; known: {', '.join(_PARTS)}")
    cpu = folder / "sys" / "devices" / "system" / "cpu"
    cpu.mkdir(parents=True)
    (folder / "lib").symlink_to(sysroot / "lib")
    for path, content in processor_files(target).items():
        file = cpu / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (folder / "proc").mkdir()
    (folder / "proc" / "cpuinfo").write_text("".join(_processor(core, target) for core in range(target.cores)))
    return folder


def processor_files(target: Target) -> dict[str, str]:
    """Path below /sys/devices/system/cpu -> content: which cores there are, their topology, clock and caches."""
    everyone = f"0-{target.cores - 1}" if target.cores > 1 else "0"
    every_bit = f"{(1 << target.cores) - 1:x}"
    files = {"kernel_max": "255", "online": everyone, "possible": everyone, "present": everyone}
    for core in range(target.cores):
        folder = f"cpu{core}"
        files[f"{folder}/topology/physical_package_id"] = "0"
        files[f"{folder}/topology/core_id"] = str(core)
        files[f"{folder}/topology/core_siblings"] = every_bit
        files[f"{folder}/topology/thread_siblings"] = f"{1 << core:x}"
        for group in ("core_siblings_list", "cluster_cpus_list", "package_cpus_list"):
            files[f"{folder}/topology/{group}"] = everyone
        for group in ("thread_siblings_list", "core_cpus_list"):
            files[f"{folder}/topology/{group}"] = str(core)
        for name in ("cpuinfo_min_freq", "cpuinfo_max_freq", "scaling_max_freq"):
            files[f"{folder}/cpufreq/{name}"] = str(target.clock_hz // 1000)
        for index, (level, cache) in enumerate(sorted(target.caches.items())):
            sharers = (everyone, every_bit) if cache.shared else (str(core), f"{1 << core:x}")
            files.update(_cache_files(f"{folder}/cache/index{index}", level, cache, *sharers))
        for index in range(len(target.caches), _CACHE_INDICES):
            files.update({f"{folder}/cache/index{index}/{name}": "" for name in ("level", "type", "size")})
    return {path: content + "\n" for path, content in files.items()}


def _cache_files(folder: str, level: str, cache: Cache, shared_with: str, shared_bits: str) -> dict[str, str]:
    return {
        f"{folder}/level": level[1],
        f"{folder}/type": "Data" if level.endswith("d") else "Unified",
        f"{folder}/size": f"{cache.size_bytes // 1024}K",
        f"{folder}/ways_of_associativity": str(cache.ways),
        f"{folder}/number_of_sets": str(cache.sets),
        f"{folder}/coherency_line_size": str(cache.line_bytes),
        f"{folder}/shared_cpu_list": shared_with,
        f"{folder}/shared_cpu_map": shared_bits,
    }


def _processor(number: int, target: Target) -> str:
    """One processor of /proc/cpuinfo, as Linux prints it for AArch64."""
    part, revision = _PARTS[target.core]
    features = _DOTPROD_FEATURES if target.isa == "dotprod" else _BASE_FEATURES
    return (
        f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0x{part:03x}\nCPU revision\t: {revision}\n\n"
    )
