"""From a planned program to C: the step and layer tables, the arena, and an assembler file for the constants."""

from __future__ import annotations

import hashlib
from math import prod

from shufflec.backends.layout import MAX_TASKS
from shufflec.backends.objects import symbol
from shufflec.backends.planner import MemoryPlan
from shufflec.backends.program import Layer, Program, Step, View
from shufflec.kernels.kernel import ALIGNMENT, ARENA_SLACK

CONSTANTS_FILE = "constants.bin"
_BOUNDARY = {"quantize": "SHUFFLEC_READS_INPUT", "dequantize": "SHUFFLEC_WRITES_OUTPUT"}
#: The C types of a kernel's parameters (kernels/kernel.py).
KERNEL_PARAMETERS = (
    "int8_t *, const int8_t *, const int16_t *, const int32_t *, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t"
)


def program_source(program: Program, plan: MemoryPlan, offsets: list[tuple[int, int, int]]) -> str:
    """The C file of a program. offsets: of each step's constants (constants.py)."""
    lines = ['#include "shufflec.h"', ""]
    lines += [f"int32_t {symbol(kernel)}({KERNEL_PARAMETERS});" for kernel in program.kernels]
    lines += ["", "const struct shufflec_step shufflec_steps[] = {"]
    lines += [_step(step, plan, at) for step, at in zip(program.steps, offsets, strict=True)]
    lines += ["};", "", "const struct shufflec_layer shufflec_layers[] = {"]
    first = 0
    for layer in program.layers:
        lines.append(_layer(layer, plan, first))
        first += len(layer.steps)
    arena_bytes = plan.peak_bytes + ARENA_SLACK
    input_size, output_size = prod(program.input_shape), prod(program.output_shape)
    aligned = f"__attribute__((aligned({ALIGNMENT})))"
    lines += [
        "};",
        "",
        f"const int32_t shufflec_layer_count = {len(program.layers)};",
        f"const int32_t shufflec_max_tasks = {MAX_TASKS};",
        f"const int64_t shufflec_input_shape[4] = {{{_list(program.input_shape)}}};",
        f"const int64_t shufflec_output_shape[2] = {{{_list(program.output_shape)}}};",
        f"const int64_t shufflec_input_bytes = {4 * input_size};",
        f"const int64_t shufflec_output_bytes = {4 * output_size};",
        f"const int64_t shufflec_arena_bytes = {arena_bytes};",
        f"int8_t shufflec_arena[{arena_bytes}] {aligned};",
        f"float shufflec_input[{input_size + ARENA_SLACK // 4}] {aligned};",
        f"float shufflec_output[{output_size + ARENA_SLACK // 4}] {aligned};",
        "",
    ]
    return "\n".join(lines)


def constants_source(blob: bytes) -> str:
    """The assembler file that places the constants, which is much faster than a C array of them.

    The digest keeps a compiler cache, which does not see what .incbin reads, from using an old object.
    """
    return "\n".join(
        [
            f"// sha256 {hashlib.sha256(blob).hexdigest()}",
            '.section .rodata,"a"',
            f".balign {ALIGNMENT}",
            ".global shufflec_constants",
            ".hidden shufflec_constants",
            "shufflec_constants:",
            f'.incbin "{CONSTANTS_FILE}"',
            '.section .note.GNU-stack,"",%progbits',
            "",
        ]
    )


def _step(step: Step, plan: MemoryPlan, constants: tuple[int, int, int]) -> str:
    kernel = step.kernel
    inputs = [_address(view, plan) for view in step.inputs] + [0, 0]
    out = _address(step.output, plan) if step.output is not None else 0
    scratch = plan.offset(step.scratch) if step.scratch is not None else 0
    scratch_bytes = -(-kernel.scratch_bytes // ALIGNMENT) * ALIGNMENT
    boundary = _BOUNDARY.get(kernel.workload.kind, "SHUFFLEC_INNER")
    numbers = _list((*constants, inputs[0], inputs[1], out, scratch, scratch_bytes, kernel.tiles))
    return f"  {{{symbol(kernel)}, {numbers}, {boundary}}}, /* {comment_text(step.name)} */"


def _layer(layer: Layer, plan: MemoryPlan, first: int) -> str:
    view = layer.output
    out = _address(view, plan) if view.buffer else -1
    item, is_float = {"int8": (1, 0), "int32": (4, 0), "float32": (4, 1)}[view.dtype]
    numbers = _list((first, first + len(layer.steps), out, *view.shape, view.pitch, view.row, item, is_float))
    return f"  {{{numbers}}}, /* {comment_text(layer.name)} */"


def _address(view: View, plan: MemoryPlan) -> int:
    return plan.offset(view.buffer) + view.offset


def comment_text(name: str) -> str:
    """A layer's name, which comes from a file, made safe inside a C comment."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(int(n)) for n in numbers)
