"""From a quantized model to firmware for a Cortex-M board: lower, lay out, plan, generate, link, measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from shufflec.backends.baremetal import source
from shufflec.backends.baremetal.budget import Need, check_budget
from shufflec.backends.baremetal.layout import ALIGNMENT, lay_out
from shufflec.backends.baremetal.link import archive, link_firmware
from shufflec.backends.baremetal.machine_code import MachineCode, inspect_firmware
from shufflec.backends.baremetal.source import Interface
from shufflec.backends.compile import manifest_of, memory_entry, safe_name
from shufflec.backends.manifest import FileEntry, Manifest, Schedules
from shufflec.backends.objects import compile_kernels
from shufflec.backends.planner import MemoryPlan, plan
from shufflec.backends.program import Program
from shufflec.data.preprocessing import Preprocessing
from shufflec.ir.graph import Graph
from shufflec.ir.pipeline import IntegerModule, lower
from shufflec.ir.reference import execute
from shufflec.ir.rules import M
from shufflec.kernels.mcu.select import select
from shufflec.quantize.model_info import read_model_info
from shufflec.targets.target import Target

Progress = Callable[[str, int, int], None]
#: How far beyond the largest logit of the calibration inputs the int8 output reaches.
_OUTPUT_MARGIN = 1.25


@dataclass(frozen=True)
class Firmware:
    """A compiled integer graph. files: generated C files by name; library: the kernels; elf: the test firmware for
    QEMU's board, or for a core without one linked as for the Cortex-M3's; code: what it tells of itself."""

    program: Program
    plan: MemoryPlan
    files: dict[str, str]
    library: bytes
    elf: bytes
    code: MachineCode

    @property
    def constant_bytes(self) -> int:
        """Weights and per-channel tables in flash."""
        return self.program.weight_bytes


@dataclass(frozen=True)
class CompiledFirmware:
    """A compiled network in memory; what backends/bundle.py writes, beside the model."""

    name: str
    target: Target
    onnx: bytes
    info: dict[str, object]
    integer: IntegerModule
    fold_shuffle: bool
    firmware: Firmware

    @property
    def library_name(self) -> str:
        """Where the code lies in a bundle."""
        return f"lib/{self.name}-{self.target.name}.a"

    @property
    def elf_name(self) -> str:
        """Where the test firmware lies in a bundle."""
        return f"lib/{self.name}-{self.target.name}.elf"

    @property
    def files(self) -> dict[str, bytes]:
        """The bundle's files but for the model and the reports."""
        files = {f"src/{name}": text.encode() for name, text in self.firmware.files.items()}
        files[self.library_name] = self.firmware.library
        files[self.elf_name] = self.firmware.elf
        return files

    def manifest(self, files: dict[str, FileEntry]) -> Manifest:
        """The bundle's manifest; files: of every file in it."""
        firmware, tiled = self.firmware, Schedules(0, 0, {})  # these kernels have one tiling each
        memory = memory_entry(firmware.plan, firmware.code.stack_bytes)
        return manifest_of(self, firmware.program, M, firmware.code.code_bytes, memory, tiled, files)


def compile_firmware(
    model: onnx.ModelProto,
    target: Target,
    name: str,
    inputs: Sequence[np.ndarray],
    fold_shuffle: bool = True,
    progress: Progress = lambda stage, done, total: None,
) -> CompiledFirmware:
    """Compiles a QDQ model that has its description in its metadata (quantize/prepare.py).

    inputs: float32 (1, 3, H, W) each, from which the int8 output's scale is taken. The other parameters are those of
    backends/compile.py. Raises UnsupportedModelError for a model that cannot become integer
    or does not fit the board (budget.py).
    """
    progress("lowering to integers", 0, 1)
    integer = lower(model, fold_shuffle, M)
    info = read_model_info(model)
    preprocessing = Preprocessing.from_dict(info["preprocessing"])
    firmware = build_firmware(
        integer.graph, target, safe_name(name), inputs, progress=progress, preprocessing=preprocessing
    )
    return CompiledFirmware(
        safe_name(name),
        target,
        model.SerializeToString(deterministic=True),
        info,
        integer,
        fold_shuffle,
        firmware,
    )


def build_firmware(
    graph: Graph,
    target: Target,
    name: str,
    inputs: Sequence[np.ndarray],
    prefix: str = "shufflec",
    progress: Progress = lambda stage, done, total: None,
    preprocessing: Preprocessing | None = None,
) -> Firmware:
    """Compiles an integer graph of the rule m-q31; the parameters are compile_firmware's. prefix: of every C name.
    preprocessing: what the header says about images."""
    progress("choosing kernels", 0, 1)
    program, fixed = lay_out(graph, target.isa, select)
    memory = plan(program.buffers.values(), ALIGNMENT, fixed)
    # What can be known before anything is compiled; code and stack are checked behind it.
    check_budget(graph, target, program, memory, Need(source.arena_bytes(memory), program.weight_bytes), select)
    interface = _interface(graph, name, prefix, inputs, preprocessing)
    objects = compile_kernels(program.kernels, target, lambda done, total: progress("compiling kernels", done, total))
    progress("linking", 0, 1)
    files = {
        f"{prefix}_model.h": source.header(program, memory, interface),
        f"{prefix}_model.c": source.model(program, memory, interface),
    }
    library = archive(objects)
    elf = link_firmware(target, files | {f"{prefix}_test.h": source.test_header(program, prefix)}, library, prefix)
    code = inspect_firmware(elf)
    need = Need(source.arena_bytes(memory) + code.stack_bytes, code.flash_bytes)
    check_budget(graph, target, program, memory, need, select)
    progress("linking", 1, 1)
    return Firmware(program, memory, files, library, elf, code)


def _interface(
    graph: Graph, name: str, prefix: str, inputs: Sequence[np.ndarray], preprocessing: Preprocessing | None
) -> Interface:
    first, last = graph.ops[0], graph.ops[-1]
    classes = graph.tensors[graph.output].shape[-1]
    scales = np.broadcast_to(np.asarray(last.constants["scale"], np.float64), (classes,))
    largest = max(float(np.abs(execute(graph, x)[graph.output]).max()) for x in inputs)
    output_scale = float(np.float32(max(largest * _OUTPUT_MARGIN / 127, scales.max() * 2.5)))
    multipliers = tuple(round(scale / output_scale * 2**32) for scale in scales)
    return Interface(
        name,
        prefix,
        float(np.float32(first.attrs["scale"])),
        int(first.attrs["zero_point"]),
        output_scale,
        multipliers,
        tuple(float(scale) for scale in scales),
        preprocessing,
    )
