"""Generated text, packed constants, the linker's errors and the size of machine code."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from integer_graphs import GraphBuilder
from native_network import HOST

from shufflec.backends.codegen import program_source
from shufflec.backends.compile import build_library, safe_name
from shufflec.backends.constants import pack_constants
from shufflec.backends.elf import code_bytes
from shufflec.backends.layout import lay_out
from shufflec.backends.link import compiler, link_library
from shufflec.backends.objects import symbol
from shufflec.backends.planner import plan
from shufflec.errors import OptionError, ShufflecError
from shufflec.ir.graph import Graph, Op
from shufflec.kernels.kernel import ALIGNMENT, ARENA_SLACK, Kernel, Packed, Workload


def small_graph(name: str = "conv") -> Graph:
    b = GraphBuilder(0, 8, 8)
    b.conv2d(b.quantize(), 8)
    last = b.ops[-1]
    b.ops[-1] = Op(last.kind, name, last.inputs, last.output, last.attrs, last.constants)
    return b.finish(b.dequantize(b.dense(b.global_avg_pool(last.output), 3)))


def kernel(workload: Workload) -> Kernel:
    pack = lambda c: Packed(np.arange(5, dtype=np.int8), np.arange(3, dtype=np.int16), np.zeros(0, np.int32))  # noqa: E731
    return Kernel(workload, (("rows", 2),), "some-family-1", None, 7, 10, pack)


def test_constants_are_aligned_shared_and_followed_by_slack():
    program = lay_out(small_graph(), "portable", kernel)
    blob, offsets = pack_constants(program, plan(program.buffers.values()))
    assert len(offsets) == len(program.steps)
    for step, at in zip(program.steps, offsets, strict=True):
        for array, offset in zip(step.constants, at, strict=True):
            assert offset % ALIGNMENT == 0
            assert blob[offset : offset + array.nbytes] == array.tobytes()
    assert blob.endswith(bytes(ARENA_SLACK))
    assert len({at for at in offsets if at != (0, 0, 0)}) == 1, "equal arrays are stored once"


def test_a_layer_name_from_a_file_cannot_leave_its_comment():
    program = lay_out(small_graph('*/ system("rm"); /*'), "portable", kernel)
    source = program_source(program, plan(program.buffers.values()), [(0, 0, 0)] * len(program.steps))
    assert "system(" not in source
    assert source.count("*/") == source.count("/*")


def test_symbols_tell_workloads_tilings_and_families_apart():
    workload = Workload.of("conv2d", "neon", height=7)
    base = Kernel(workload, (), "a-1", None, 1, 0, lambda c: Packed())
    others = [
        Kernel(Workload.of("conv2d", "neon", height=8), (), "a-1", None, 1, 0, base.pack),
        Kernel(workload, (("pixels", 4),), "a-1", None, 1, 0, base.pack),
        Kernel(workload, (), "a-2", None, 1, 0, base.pack),
    ]
    assert symbol(base) == symbol(Kernel(workload, (), "a-1", "other code", 1, 0, base.pack))
    assert len({symbol(k) for k in [base, *others]}) == 4


@pytest.mark.parametrize("cc", ["", "no-such-compiler -O2"])
def test_a_compiler_that_is_not_there(cc):
    with pytest.raises(OptionError, match="--cc"):
        compiler("aarch64-linux-gnu", cc)


def test_a_compiler_that_fails_is_reported_in_one_line(tmp_path):
    script = tmp_path / "cc"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('note: x\\nfile.c:1: error: wrong target')\n")
    script.chmod(0o755)
    with pytest.raises(ShufflecError, match="wrong target") as caught:
        link_library("aarch64-linux-gnu", {}, "", "", b"", cc=str(script))
    assert "\n" not in str(caught.value)


def test_code_bytes_of_a_library():
    library = build_library(small_graph(), HOST).library
    assert 500 < code_bytes(library) < len(library)


def test_a_library_exports_tvms_functions_and_nothing_else():
    library = build_library(small_graph(), HOST).library
    assert b"__tvm_ffi_run\0" in library
    assert b"shufflec_conv2d" not in library


@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b"MZ" + b[2:], lambda b: b[: len(b) // 2]])
def test_code_bytes_of_a_damaged_library(damage):
    library = build_library(small_graph(), HOST).library
    with pytest.raises(ValueError):
        code_bytes(damage(library))


def test_safe_name():
    assert safe_name("../../etc/passwd") == "etc_passwd"
    assert safe_name("…") == "model"
    assert len(safe_name("x" * 500)) == 60
