"""Puts candidates into one shared library, so that one upload serves many measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shufflec.backends.codegen import constants_source, program_source
from shufflec.backends.constants import pack_constants
from shufflec.backends.link import link_library
from shufflec.backends.objects import code_triple, compile_kernels
from shufflec.backends.planner import MemoryPlan, Placement
from shufflec.backends.program import Buffer, Layer, Program, Step, View
from shufflec.kernels.kernel import ALIGNMENT, Packed
from shufflec.kernels.records import Tiling
from shufflec.targets.target import Target
from shufflec.tuning.case import Case

_SOURCE = "tuning.c"
_ARENA = "arena"


@dataclass(frozen=True)
class Candidate:
    """A tiling of a task, to be measured."""

    case: Case
    tiling: Tiling

    @property
    def key(self) -> str:
        """The task's key."""
        return self.case.task.key


def build_candidates(candidates: Sequence[Candidate], target: Target) -> bytes:
    """The library of some candidates; its functions are in backends/native/tuning.c, by the index in `candidates`.

    Built in this process: LLVM's options are the whole process's, and kernels that were compiled before come from the
    cache on disk. Raises ShufflecError when linking fails.
    """
    layers, scratch_bytes = [], 0
    for number, candidate in enumerate(candidates):
        case = candidate.case
        task = case.task
        kernel = task.family.build(task.workload, candidate.tiling)
        packed = kernel.pack(task.op.constants) if task.op.constants else Packed()
        scratch = f"scratch{number}" if kernel.scratch_bytes else None
        inputs = tuple(_placed(view) for view in case.inputs)
        step = Step(f"candidate{number}", kernel, packed, inputs, _placed(case.output), scratch)
        layers.append(Layer(step.name, task.workload.kind, (step,), step.output, 0))
        scratch_bytes = max(scratch_bytes, kernel.scratch_bytes)
    arena_bytes = max(candidate.case.checked_bytes for candidate in candidates)
    buffers = {_ARENA: Buffer(_ARENA, arena_bytes, 0, 0)}
    places = {_ARENA: Placement(buffers[_ARENA], 0)}
    for number in range(len(candidates)):
        # Behind all that is checked; one thread, so one scratch, of the largest size.
        name = f"scratch{number}"
        places[name] = Placement(Buffer(name, scratch_bytes, 0, 0), _aligned(arena_bytes))
    whole = _aligned(arena_bytes) + _aligned(scratch_bytes)
    program = Program(tuple(layers), buffers, (1, 3, 1, 1), (1, 1))
    objects = compile_kernels(program.kernels, target)
    memory = MemoryPlan(places, whole, whole)
    blob, offsets = pack_constants(program, memory)
    source = program_source(program, memory, offsets)
    return link_library(
        code_triple(target),
        objects,
        source,
        constants_source(blob),
        blob,
        extra=_SOURCE,
        flags=(f"-DSHUFFLEC_TUNING_ARENA={whole}",),
    )


def _placed(view: View) -> View:
    return replace(view, buffer=_ARENA)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
