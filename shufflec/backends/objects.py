"""Compiles a program's kernels to objects, once per workload, with a cache on disk."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable

import tvm
import tvm_ffi

from shufflec.files import cache_dir, sha256_file, write_atomic
from shufflec.kernels import lowering
from shufflec.kernels.kernel import Kernel
from shufflec.kernels.lowering import compile_object, llvm_target
from shufflec.kernels.portable.families import PREFIX
from shufflec.targets.target import Target


def code_triple(target: Target) -> str:
    """The triple that code is generated for; a target without one is this machine."""
    return target.triple or f"{platform.machine()}-linux-gnu"


def code_target(target: Target, mcpu: str = "") -> tvm.target.Target:
    """TVM's target. mcpu: the CPU to schedule for, "" for the target's own."""
    cpu = mcpu or target.llvm_mcpu
    if not cpu and target.family == "host":
        cpu = tvm.get_global_func("target.llvm_get_system_cpu")()
    return llvm_target(code_triple(target), cpu, target.llvm_features)


def symbol(kernel: Kernel) -> str:
    """The C name of a kernel: the same in every build."""
    text = f"{kernel.workload.key}|{kernel.tiling}|{kernel.family}"
    return f"shufflec_{kernel.workload.kind}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def compile_kernels(
    kernels: tuple[Kernel, ...], target: Target, progress: Callable[[int, int], None] | None = None
) -> dict[str, bytes]:
    """The ELF object of each kernel by symbol. progress(done, total) is called after each.

    One after the other: TVM sets LLVM's options ("cl-opt") for the whole process and puts them back after each
    kernel, so of two threads one would compile with the other's, and the code would differ from run to run.
    """
    objects = {}
    for done, kernel in enumerate(kernels, start=1):
        name, code = _compile(kernel, target)
        objects[name] = code
        if progress is not None:
            progress(done, len(kernels))
    return objects


def _compile(kernel: Kernel, target: Target) -> tuple[str, bytes]:
    name = symbol(kernel)
    path = cache_dir("objects") / f"{_cache_key(kernel, target)}.o"
    if path.is_file():
        return name, path.read_bytes()
    hand_shaped = not kernel.family.startswith(PREFIX)
    code = compile_object(kernel.prim_func, name, code_target(target, kernel.llvm_mcpu), hand_shaped)
    write_atomic(path, code)
    return name, code


def _cache_key(kernel: Kernel, target: Target) -> str:
    parts = (
        symbol(kernel),
        str(tvm_ffi.structural_hash(kernel.prim_func)),
        str(code_target(target, kernel.llvm_mcpu)),
        tvm.__version__,
        sha256_file(lowering.__file__),
        sha256_file(__file__),
    )
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
