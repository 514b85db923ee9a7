"""Files that the emulated program sees in the place of this machine's: the board's processors.

Without them a guest would count this machine's cores and read this machine's clocks, and a thread pool (or a library
that picks its kernels by processor) would behave as on no board at all.
"""

from __future__ import annotations

from pathlib import Path

from shufflec.errors import OptionError
from shufflec.targets.target import Target

# MIDR_EL1 part numbers and revisions: the TRM of each core, "Main ID Register".
_PARTS = {"cortex-a53": (0xD03, 4), "cortex-a72": (0xD08, 3), "cortex-a76": (0xD0B, 1)}
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
    cores = "0" if target.cores == 1 else f"0-{target.cores - 1}"
    for name in ("online", "possible", "present"):
        (cpu / name).write_text(f"{cores}\n")
    for core in range(target.cores):
        frequency = cpu / f"cpu{core}" / "cpufreq"
        frequency.mkdir(parents=True)
        for name in ("cpuinfo_max_freq", "scaling_max_freq"):
            (frequency / name).write_text(f"{target.clock_hz // 1000}\n")
    (folder / "proc").mkdir()
    (folder / "proc" / "cpuinfo").write_text("".join(_processor(core, target) for core in range(target.cores)))
    return folder


def _processor(number: int, target: Target) -> str:
    """One processor of /proc/cpuinfo, as Linux prints it for AArch64."""
    part, revision = _PARTS[target.core]
    features = _DOTPROD_FEATURES if target.isa == "dotprod" else _BASE_FEATURES
    return (
        f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0x{part:03x}\nCPU revision\t: {revision}\n\n"
    )
