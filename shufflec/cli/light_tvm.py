"""Imports TVM without torch, for commands that need no torch: it takes longer to import than all the rest."""

from __future__ import annotations

import sys


def import_tvm_without_torch() -> None:
    """tvm-ffi imports torch where it is installed, to convert its tensors, and goes without where it is not: so for the
    time of its import there is none. Afterwards torch can be imported as ever. Does nothing when either is there."""
    if "torch" in sys.modules or "tvm_ffi" in sys.modules:
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # how Python marks a module that cannot be imported
    try:
        import tvm  # noqa: F401
    finally:
        del sys.modules["torch"]
