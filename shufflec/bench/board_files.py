"""A root for qemu's -L in which engines see a board's processors and the arm64 Python.

Engines read cache sizes and the cores' topology (devices/guest_files.py) to choose kernels; where they find this
machine's instead, they choose others, or crash on a mix of both.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from shufflec.devices.guest_files import make_root, processor_files
from shufflec.files import atomic_directory, cache_dir
from shufflec.targets.target import Target


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
    return folder
