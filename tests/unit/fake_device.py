"""A device without a connection: the functions of a compiled network, computed by the integer reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tvm

from shufflec.data.preprocessing import Preprocessing
from shufflec.devices.session import Region
from shufflec.errors import DeviceError
from shufflec.ir.graph import Graph, Op, TensorSpec
from shufflec.ir.reference import execute
from shufflec.timing.estimate import Estimate

CLASSES = 4


def tiny_graph() -> Graph:
    """quantize -> global average -> dense -> dequantize on a 4x4 image."""
    generator = np.random.default_rng(0)
    requant = {"shift": 1, "fraction": 2, "clamp_min": -128, "clamp_max": 127}
    one = {"multiplier": np.array([16000], np.int16), "bias": np.array([3], np.int16)}
    constants = {name: np.repeat(value, 3) for name, value in one.items()} | {"accumulator_bias": np.zeros(3, np.int32)}
    weight = generator.integers(-127, 128, (CLASSES, 3)).astype(np.int8)
    dense = {"weight": weight, "accumulator_bias": np.arange(CLASSES, dtype=np.int32)}
    specs = [
        ("input", (1, 3, 4, 4), "float32"),
        ("q", (4, 4, 3), "int8"),
        ("mean", (1, 1, 3), "int8"),
        ("sums", (1, 1, CLASSES), "int32"),
        ("logits", (1, CLASSES), "float32"),
    ]
    ops = (
        Op("quantize", "quantize", ("input",), "q", {"scale": 0.02, "zero_point": 0}),
        Op("global_avg_pool", "pool", ("q",), "mean", {"zero_point": 0, **requant}, constants),
        Op("dense", "classifier", ("mean",), "sums", {}, dense),
        Op("dequantize", "dequantize", ("sums",), "logits", {"zero_point": 0}, {"scale": np.full(CLASSES, 0.1)}),
    )
    return Graph({name: TensorSpec(name, shape, dtype) for name, shape, dtype in specs}, ops, "input", "logits")


class FakeBundle:
    """The parts of a Bundle that profiling reads."""

    path = Path("bundle")
    library_path = "net.so"
    input_shape = (1, 3, 4, 4)
    output_shape = (1, CLASSES)
    class_names = ("a", "b", "c", "d")
    preprocessing = Preprocessing((4, 4))

    def __init__(self) -> None:
        graph = tiny_graph()
        self.layers = tuple(
            SimpleNamespace(
                name=op.name,
                kind=op.kind,
                tensor=op.output,
                output_shape=graph.tensors[op.output].shape,
                output_dtype=graph.tensors[op.output].dtype,
            )
            for op in graph.ops
        )

    def graph(self) -> Graph:
        return tiny_graph()


class FakeSession:
    """Runs the tiny graph. wrong: tensors that come out changed. drop_after: calls before the connection is lost.

    milliseconds: what each timed call takes in turn, the whole network first; repeated. overhead: milliseconds of any
    call on top of that. estimates: whether time comes in parts.
    """

    address = "fake:1"
    board = None
    cpu = tvm.cpu()

    def __init__(
        self,
        kind="simulated",
        wrong=(),
        wrong_whole=False,
        drop_after=None,
        milliseconds=(10, 1, 5, 3, 1),
        overhead=0.0,
        estimates=False,
    ):
        self.kind = kind
        self.calls: list[str] = []
        self._wrong, self._wrong_whole, self._drop_after = wrong, wrong_whole, drop_after
        self.remote = SimpleNamespace(get_function=lambda name: {"runtime.NumThreads": lambda: 2}[name])
        self._milliseconds, self._timed, self._tensors = milliseconds, 0, {}
        self._overhead, self._last, self._estimates = overhead, 0.0, estimates

    @contextmanager
    def guard(self, doing: str) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            raise DeviceError(f"{self.address}: lost the connection while trying to {doing}") from error

    def upload_module(self, path):
        self.calls.append(f"upload {path}")
        return self

    def caches_ignored(self):
        return nullcontext()

    def last_region(self):
        if self.kind == "measured":
            return None
        instructions = {"load": round(600 * self._last), "scalar": round(400 * self._last)}
        ns = self._last * 1e6
        estimate = Estimate(0.7 * ns, 0.1 * ns, 0.1 * ns, 0.1 * ns, *[round(ns / n) for n in (10, 20, 40)])
        return Region(instructions, sum(instructions.values()), round(ns), estimate if self._estimates else None)

    def __getitem__(self, name):
        return getattr(self, f"_{name}")

    def time_evaluator(self, name, device, number=1, repeat=1, min_repeat_ms=0):
        def evaluate(*arguments):
            self[name](*arguments)
            self._last = self._overhead
            if name != "layer_count":
                self._last += self._milliseconds[self._timed % len(self._milliseconds)]
                self._timed += 1
            return SimpleNamespace(mean=self._last / 1e3)

        return evaluate

    def time_each(self, module, name, empty, count):
        regions = []
        with self.guard(f"time {name}"):
            for call, *arguments in [(empty,), *[(name, i) for i in range(count)]]:
                self.time_evaluator(call, self.cpu)(*arguments)
                regions.append(self.last_region())
        return regions

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self._drop_after is not None and len(self.calls) > self._drop_after:
            raise ConnectionError("reset by peer")

    def _compute(self, x) -> None:
        graph = tiny_graph()
        self._tensors = execute(graph, x.numpy())
        for name in self._wrong:
            self._tensors[name] = self._tensors[name] + np.ones(1, self._tensors[name].dtype)

    def _run(self, x, output) -> None:
        self._call("run")
        self._compute(x)
        value = self._tensors["logits"]
        output.copyfrom(value + np.float32(self._wrong_whole))

    def _set_input(self, x) -> None:
        self._call("set_input")
        self._compute(x)

    def _layer(self, index) -> None:
        self._call(f"layer {index}")

    def _layer_count(self) -> int:
        self._call("layer_count")
        return len(tiny_graph().ops)

    def _read_tensor(self, index, output) -> None:
        self._call(f"read_tensor {index}")
        output.copyfrom(self._tensors[tiny_graph().ops[index].output])
