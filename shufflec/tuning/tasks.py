"""What there is to tune in a network: its distinct workloads that have more than one tiling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from types import ModuleType

from shufflec.backends import fused_stem
from shufflec.backends.layout import lay_out, slices_of_concats
from shufflec.backends.pieces import joined_pieces
from shufflec.ir import reference
from shufflec.ir.graph import Graph, Op
from shufflec.kernels.kernel import Workload
from shufflec.kernels.records import Tiling, record_key, shape_key
from shufflec.kernels.select import Selection, families, tuned_as

#: Steps that stand before an operator or in the place of a concat; every other one computes its operator.
PAD, COPY = "pad", "copy"
#: The network's float input and output are outside the arena, which is all that a candidate is given.
BOUNDARY = ("quantize", "dequantize")


@dataclass(frozen=True, eq=False)
class Task:
    """A workload to tune, standing for all that can share its record. key: shape_key. workload, op: of the first step
    that has it, `op` its operator with the constants. layers: the names of all layers that have it, one for each step,
    so their number is its weight."""

    key: str
    workload: Workload
    op: Op
    layers: tuple[str, ...]

    @property
    def record_key(self) -> str:
        """What its record is kept under."""
        return record_key(self.workload)

    @property
    def family(self) -> ModuleType:
        """The kernel family that is tuned."""
        return families(self.workload)[0]

    @cached_property
    def tilings(self) -> list[Tiling]:
        """The space, the default first."""
        return self.family.tilings(self.workload)


def extract_tasks(graph: Graph, isa: str, pattern: str = "*") -> list[Task]:
    """The tasks of a network in order of first use.

    pattern: of layer names, as the shell's; a workload is taken when one of its layers fits. Operators that the
    integer reference cannot check alone are left out.
    """
    operators = {op.name: op for op in graph.ops}
    operators |= {joined.op.name: joined.op for joined in joined_pieces(graph, slices_of_concats(graph)).values()}
    stems = {name: op for name, (_, op) in fused_stem.fused_stems(graph).items()}
    found: dict[str, Task] = {}
    for layer in lay_out(graph, isa, Selection()).layers:
        for step in layer.steps:
            workload = _stand_in(step.kernel.workload)
            op = (stems if workload.kind == fused_stem.KIND else operators).get(layer.name)
            if not _stands_alone(workload) or op is None:
                continue
            candidates = [family.tilings(workload) for family in families(workload)[:1]]
            if not candidates or len(candidates[0]) < 2:
                continue
            key = shape_key(workload)
            if key in found:
                task = found[key]
                found[key] = Task(key, task.workload, task.op, (*task.layers, layer.name))
            else:
                found[key] = Task(key, workload, op, (layer.name,))
    return [task for task in found.values() if any(fnmatchcase(name, pattern) for name in task.layers)]


def _stand_in(workload: Workload) -> Workload:
    """The workload whose records a workload takes: mostly itself."""
    return next((tuned_as(workload, family)[0] for family in families(workload)[:1]), workload)


def _stands_alone(workload: Workload) -> bool:
    """Whether the integer reference can check the kernel by itself, with all it reads and writes in the arena."""
    known = workload.kind in (PAD, COPY) or workload.kind in reference.KERNELS
    return known and workload.kind not in BOUNDARY


def merged(networks: Iterable[list[Task]]) -> list[Task]:
    """The tasks of several networks, each workload once, with the layers of all."""
    found: dict[str, Task] = {}
    for tasks in networks:
        for task in tasks:
            known = found.get(task.key)
            layers = (*known.layers, *task.layers) if known else task.layers
            found[task.key] = Task(task.key, (known or task).workload, (known or task).op, layers)
    return list(found.values())
