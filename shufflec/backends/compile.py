"""From a quantized model to a library for one target: lower, lay out, plan, generate, link."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import onnx

from shufflec import __version__
from shufflec.backends.codegen import constants_source, program_source
from shufflec.backends.constants import pack_constants
from shufflec.backends.elf import code_bytes
from shufflec.backends.layout import lay_out
from shufflec.backends.link import link_library
from shufflec.backends.manifest import (
    SCHEMA,
    Accuracy,
    BufferEntry,
    Contents,
    FileEntry,
    LayerEntry,
    Manifest,
    Memory,
    Numerics,
    Schedules,
    Shuffle,
    ShuffleSite,
)
from shufflec.backends.objects import code_triple, compile_kernels
from shufflec.backends.planner import MemoryPlan, plan
from shufflec.backends.program import Layer, Program
from shufflec.data.preprocessing import Preprocessing
from shufflec.ir.graph import Graph
from shufflec.ir.pipeline import IntegerModule, lower
from shufflec.ir.rules import A64, Rule
from shufflec.kernels.records import Records, load_records
from shufflec.kernels.select import Selection, families
from shufflec.models.families import architecture_from_dict
from shufflec.quantize.model_info import read_model_info
from shufflec.targets.target import Target

TOOLS = ("apache-tvm", "apache-tvm-ffi", "onnx", "numpy", "ziglang")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Code:
    """A compiled integer graph. library: the shared object's bytes."""

    program: Program
    plan: MemoryPlan
    library: bytes
    schedules: Schedules


@dataclass(frozen=True)
class CompiledModel:
    """A compiled network in memory. onnx: the QDQ model's bytes; library: the shared object's bytes."""

    name: str
    target: Target
    onnx: bytes
    info: dict[str, object]
    integer: IntegerModule
    fold_shuffle: bool
    program: Program
    plan: MemoryPlan
    library: bytes
    schedules: Schedules

    @property
    def library_name(self) -> str:
        """Where the library lies in a bundle."""
        return f"lib/{self.name}-{self.target.name}.so"

    @property
    def files(self) -> dict[str, bytes]:
        """The bundle's files but for the model and the reports."""
        return {self.library_name: self.library}

    def manifest(self, files: dict[str, FileEntry]) -> Manifest:
        """The bundle's manifest; files: of every file in it."""
        return manifest_of(
            self, self.program, A64, code_bytes(self.library), memory_entry(self.plan), self.schedules, files
        )


class CompiledNetwork(Protocol):
    """What CompiledModel and baremetal's CompiledFirmware have in common."""

    name: str
    target: Target
    info: dict[str, object]
    integer: IntegerModule
    fold_shuffle: bool

    @property
    def library_name(self) -> str: ...


def manifest_of(
    compiled: CompiledNetwork,
    program: Program,
    rule: Rule,
    code_size: int,
    memory: Memory,
    schedules: Schedules,
    files: dict[str, FileEntry],
) -> Manifest:
    """The manifest of a network compiled for either family of boards. code_size: bytes."""
    info = compiled.info
    architecture, accuracy = info["architecture"], info.get("accuracy")
    contents = Contents(
        schema=SCHEMA,
        name=compiled.name,
        class_names=tuple(info["class_names"]),
        random_weights=info["random_weights"],
        input_shape=program.input_shape,
        output_shape=program.output_shape,
        target=compiled.target,
        numerics=Numerics(rule.name, rule.bound),
        fold_shuffle=compiled.fold_shuffle,
        shuffle=Shuffle(**compiled.integer.shuffle, sites=shuffle_sites(compiled.integer.graph)),
        macs=sum(layer.macs for layer in program.layers),
        weight_bytes=program.weight_bytes,
        code_bytes=code_size,
        layers=tuple(layer_entry(layer) for layer in program.layers),
        memory=memory,
        schedules=schedules,
        accuracy=Accuracy(**accuracy) if accuracy else None,
        tools={"shufflec": __version__, **{tool: importlib.metadata.version(tool) for tool in TOOLS}},
        library=compiled.library_name,
        files=files,
    )
    return Manifest(
        contents,
        architecture_from_dict(architecture) if architecture else None,
        Preprocessing.from_dict(info["preprocessing"]),
    )


def compile_model(
    model: onnx.ModelProto,
    target: Target,
    name: str,
    fold_shuffle: bool = True,
    cc: str | None = None,
    progress: Progress = lambda stage, done, total: None,
    records: Records | None = None,
) -> CompiledModel:
    """Compiles a QDQ model that has its description in its metadata (quantize/prepare.py).

    name: of the model, used in file names. fold_shuffle False leaves every channel shuffle a copy. cc: the C compiler
    to link with, None for the packaged one. progress(stage, done, total) is called at each step. records: which
    tilings to take; None loads the user's and the shipped ones for the target.
    Raises UnsupportedModelError for a model that cannot become integer, OptionError for a cc that is not there.
    """
    progress("lowering to integers", 0, 1)
    integer = lower(model, fold_shuffle)
    code = build_library(integer.graph, target, cc, progress, records)
    return CompiledModel(
        safe_name(name),
        target,
        model.SerializeToString(deterministic=True),
        read_model_info(model),
        integer,
        fold_shuffle,
        code.program,
        code.plan,
        code.library,
        code.schedules,
    )


def build_library(
    graph: Graph,
    target: Target,
    cc: str | None = None,
    progress: Progress = lambda stage, done, total: None,
    records: Records | None = None,
) -> Code:
    """Compiles an integer graph; the parameters are compile_model's."""
    progress("choosing kernels", 0, 1)
    selection = Selection(load_records(target.name) if records is None else records, target.core)
    program = lay_out(graph, target.isa, selection)
    memory = plan(program.buffers.values())
    objects = compile_kernels(program.kernels, target, lambda done, total: progress("compiling kernels", done, total))
    progress("linking", 0, 1)
    blob, offsets = pack_constants(program, memory)
    source = program_source(program, memory, offsets)
    library = link_library(code_triple(target), objects, source, constants_source(blob), blob, cc)
    progress("linking", 1, 1)
    return Code(program, memory, library, _schedules(program, selection))


def safe_name(name: str) -> str:
    """A name for files: letters, digits, '_', '-' and '.', at most 60 characters.

    >>> safe_name("my model (2).onnx")
    'my_model_2_.onnx'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip("._-")[:60] or "model"


def shuffle_sites(graph: Graph) -> tuple[ShuffleSite, ...]:
    """The convolutions whose write does a channel shuffle."""
    return tuple(
        ShuffleSite(op.name, op.attrs["shuffle_rows"], graph.tensors[op.output].shape)
        for op in graph.ops
        if op.attrs.get("shuffle_rows", 1) != 1
    )


def layer_entry(layer: Layer) -> LayerEntry:
    """A layer as the manifest has it."""
    return LayerEntry(
        name=layer.name,
        kind=layer.kind,
        tensor=layer.output.tensor,
        output_shape=layer.output.shape,
        output_dtype=layer.output.dtype,
        macs=layer.macs,
        weight_bytes=sum(array.nbytes for step in layer.steps for array in step.constants),
        kernels=tuple(step.kernel.family for step in layer.steps),
        tilings=tuple(",".join(f"{k}={v}" for k, v in step.kernel.tiling) for step in layer.steps),
    )


def _schedules(program: Program, selection: Selection) -> Schedules:
    """A layer counts as tuned when the record of a step of it was taken."""
    tunable, files = 0, {}
    for layer in program.layers:
        workloads = [step.kernel.workload for step in layer.steps]
        sources = [selection.tuned[workload] for workload in workloads if workload in selection.tuned]
        if sources:
            files[sources[-1]] = files.get(sources[-1], 0) + 1
        choices = [family.tilings(workload) for workload in workloads for family in families(workload)[:1]]
        tunable += bool(sources) or any(len(tilings) > 1 for tilings in choices)
    return Schedules(tunable, sum(files.values()), dict(sorted(files.items())))


def memory_entry(memory: MemoryPlan, stack_bytes: int | None = None) -> Memory:
    """The arena as the manifest has it."""
    buffers = tuple(
        BufferEntry(p.buffer.name, p.offset, p.buffer.nbytes, p.buffer.first, p.buffer.last)
        for p in sorted(memory.placements.values(), key=lambda p: (p.buffer.first, p.offset, p.buffer.name))
    )
    return Memory(memory.peak_bytes, memory.lower_bound_bytes, stack_bytes, buffers)
