"""From a kernel's TIR to an object file with a plain C interface: the only TIR pipeline of the project.

Hand-shaped kernels (straight-line code with ISA intrinsics) must not be simplified: StmtSimplify inlines their lets
and ruins the instruction order, so they get the short pipeline. Portable kernels are plain loops and get the longer
one; LLVM vectorises them.

Parameters may be raw pointers (T.handle("int8")) or matched buffers; a buffer becomes its data pointer, so that the
function has the C signature of kernels/kernel.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import tvm
from tvm import s_tir, tirx


def llvm_target(triple: str, mcpu: str, features: tuple[str, ...] = ()) -> tvm.target.Target:
    """TVM's LLVM target for a triple, a CPU ("" for the triple's baseline) and features such as "+dotprod"."""
    config: dict[str, object] = {"kind": "llvm", "mtriple": triple}
    if mcpu:
        config["mcpu"] = mcpu
    if "+dotprod" in features:  # Armv8.2: such a core has SQRDMLAH of Armv8.1 as well, whatever mcpu is named
        features = (*features, "+rdm")
    if features:
        config["mattr"] = list(features)
    if triple.startswith("thumb"):
        config["vector-width"] = 128
        config["mfloat-abi"] = "hard" if triple.endswith("hf") else "soft"
        # LLVM 22.1 can miscompile MVE gathers: a function without a return (backends/baremetal/machine_code.py checks).
        config["cl-opt"] = ["-enable-arm-maskedgatscat:bool=false"]
    return tvm.target.Target(config)


#: Hand-shaped kernels keep the address registers that they compute: LLVM's loop strength reduction moves the base of
#: constant offsets beyond what LDP reaches, and its prefetching needs a register for every load.
SHAPED_OPTIONS = ("-disable-lsr:bool=true", "-aarch64-enable-loop-data-prefetch:bool=false")


def _target_of(target: tvm.target.Target, hand_shaped: bool) -> tvm.target.Target:
    if not hand_shaped:
        return target
    if str(target.attrs["mtriple"]).startswith("thumb"):
        # No unrolling: a microcontroller's flash is scarce, and its kernels unroll what pays.
        return tvm.target.Target({**target.export(), "opt-level": 1})
    return tvm.target.Target({**target.export(), "cl-opt": list(SHAPED_OPTIONS)})


def lower(function: tirx.PrimFunc, symbol: str, target: tvm.target.Target, hand_shaped: bool) -> tvm.IRModule:
    """Lowers one kernel to a module that target.build.llvm accepts; `symbol` is the C name of the function."""
    module = tvm.IRModule({symbol: function.with_attr("global_symbol", symbol)})
    passes = [tirx.transform.BindTarget(target)]
    if not hand_shaped:
        # FlattenBuffer turns Ramp(0) into Broadcast(0) + Ramp(0), which LLVM's code generator loads lane by lane:
        # hand-shaped kernels have flat buffers and int32 indices to begin with.
        passes += [
            tirx.transform.FlattenBuffer(),
            tirx.transform.NarrowDataType(32),
            tirx.transform.StmtSimplify(),
            s_tir.transform.RenormalizeSplitPattern(),
            tirx.transform.RemoveNoOp(),
        ]
    module = tvm.transform.Sequential(passes)(module)
    module = tvm.IRModule({symbol: _unpacked(module[symbol])})
    return tirx.transform.LowerIntrin()(module)


def compile_object(function: tirx.PrimFunc, symbol: str, target: tvm.target.Target, hand_shaped: bool) -> bytes:
    """The ELF object of one kernel; it exports `symbol` and needs at most memcpy and memset."""
    target = _target_of(target, hand_shaped)
    code = tvm.get_global_func("target.build.llvm")(lower(function, symbol, target, hand_shaped), target)
    with tempfile.TemporaryDirectory(prefix="shufflec-") as folder:
        path = Path(folder) / "kernel.o"
        code.write_to_file(str(path))
        return path.read_bytes()


def _unpacked(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Replaces every buffer parameter by its data pointer; the signature is then plain C."""
    parameters, declarations = [], []
    for parameter in function.params:
        if tirx.is_buffer_var(parameter):
            pointer = tirx.Var(parameter.name, tirx.buffer_data_pointer_type(parameter))
            parameters.append(pointer)
            declarations.append(tirx.DeclBuffer(parameter, data=pointer))
        else:
            parameters.append(parameter)
    if not declarations:
        return function
    body = tirx.SeqStmt([*declarations, function.body])
    return tirx.PrimFunc(parameters, body, function.ret_type, function.attrs)
