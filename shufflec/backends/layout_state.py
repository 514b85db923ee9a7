"""What every layout from a graph to a program keeps while it walks the operators: kernels, buffers, layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shufflec.backends.program import Buffer, Layer, Step, View
from shufflec.ir.graph import Graph, Op
from shufflec.kernels.kernel import Kernel, Workload


@dataclass
class LayoutState:
    """choose: the kernel of a workload. views: where each tensor lies; sizes: of each buffer in bytes."""

    graph: Graph
    isa: str
    choose: Callable[[Workload], Kernel]
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._kernels: dict[Workload, Kernel] = {}
        self._views: dict[str, View] = {}
        self._sizes: dict[str, int] = {}
        self._touched: dict[str, list[int]] = {}

    def append(self, op: Op, steps: list[Step], output: View, macs: int) -> None:
        """Adds the layer of an operator; its buffers live from here or earlier."""
        for step in steps:
            for view in (*step.inputs, step.output, *step.targets):
                if view is not None:
                    self._touch(view.buffer)
            if step.scratch is not None:
                self._touch(step.scratch)
        self.layers.append(Layer(op.name, op.kind, tuple(steps), output, macs))

    def buffers(self) -> dict[str, Buffer]:
        """All buffers with the layers they live from and to."""
        return {
            name: Buffer(name, size, min(self._touched[name]), max(self._touched[name]))
            for name, size in self._sizes.items()
        }

    def scratch_bytes(self, kernel: Kernel) -> int:
        """Bytes that a kernel's scratch takes: one, where nothing runs side by side."""
        return kernel.scratch_bytes

    def _touch(self, buffer: str) -> None:
        self._touched.setdefault(buffer, []).append(len(self.layers))

    def _step(
        self,
        name: str,
        workload: Workload,
        constants: dict,
        inputs: tuple[View, ...],
        output: View | None,
        targets: tuple[View, ...] = (),
    ) -> Step:
        if workload not in self._kernels:
            self._kernels[workload] = self.choose(workload)
        kernel, scratch = self._kernels[workload], None
        if kernel.scratch_bytes:
            scratch = f"{name}.scratch"
            self._sizes[scratch] = self.scratch_bytes(kernel)
        return Step(name, kernel, kernel.pack(constants), inputs, output, scratch, targets)
