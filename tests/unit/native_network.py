"""Compiles an integer graph for this machine and runs it in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tvm

from shufflec.backends.compile import build_library
from shufflec.backends.program import Program
from shufflec.ir.graph import Graph
from shufflec.ir.reference import execute
from shufflec.targets.target import load_target

HOST = load_target("host")


class NativeNetwork:
    """A compiled graph; program: as it was laid out."""

    def __init__(self, program: Program, library: Path):
        self.program = program
        self.library = library
        self.module = tvm.runtime.load_module(str(library))

    def run(self, x: np.ndarray) -> np.ndarray:
        """Logits float32 (1, classes)."""
        out = tvm.runtime.empty(self.program.output_shape, "float32")
        self.module["run"](tvm.runtime.tensor(x), out)
        return out.numpy()

    def layers(self, x: np.ndarray, repeats: int = 1) -> Iterator[np.ndarray]:
        """Each layer's output in turn; every layer runs `repeats` times."""
        self.module["set_input"](tvm.runtime.tensor(x))
        for index, layer in enumerate(self.program.layers):
            for _ in range(repeats):
                self.module["layer"](index)
            out = tvm.runtime.empty(layer.output.shape, layer.output.dtype)
            self.module["read_tensor"](index, out)
            yield out.numpy()


def differing_layers(network: NativeNetwork, graph: Graph, x: np.ndarray, repeats: int = 1) -> list[str]:
    """Names of the layers whose output is not the reference's, bit for bit."""
    expected = execute(graph, x)
    outputs = network.layers(x, repeats)
    return [
        layer.name
        for layer, value in zip(network.program.layers, outputs, strict=True)
        if value.tobytes() != expected[layer.output.tensor].tobytes()
    ]


_Lambda = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_Launch = ctypes.CFUNCTYPE(ctypes.c_int, _Lambda, ctypes.c_void_p, ctypes.c_int)


class _Group(ctypes.Structure):
    _fields_ = (("sync_handle", ctypes.c_void_p), ("num_task", ctypes.c_int32))


class FakePool:
    """A thread pool of any size that runs its tasks one after the other, the last one first.

    It takes the place of TVM's in one loaded library, until `restore`; launches counts the parallel loops.
    """

    def __init__(self, library: Path, threads: int):
        self.launches = 0
        self._threads = threads
        self._slot = ctypes.c_void_p.in_dll(ctypes.CDLL(str(library)), "__TVMBackendParallelLaunch")
        self._saved = self._slot.value
        self._function = _Launch(self._launch)  # keeps the callback alive
        self._slot.value = ctypes.cast(self._function, ctypes.c_void_p).value

    def restore(self) -> None:
        self._slot.value = self._saved

    def _launch(self, task, data, count) -> int:
        assert count == 0, "a count of its own can exceed the pool's"
        self.launches += 1
        group = _Group(None, self._threads)
        for index in reversed(range(self._threads)):
            if task(index, ctypes.addressof(group), data) != 0:
                return -1
        return 0


def compile_natively(graph: Graph, folder: Path) -> NativeNetwork:
    """Compiles a graph for this machine; the library is written to `folder`."""
    code = build_library(graph, HOST)
    path = folder / "network.so"
    path.write_bytes(code.library)
    return NativeNetwork(code.program, path)
