"""The model as C: a header, and a file with the constants and the sequence of kernel calls over one arena."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shufflec.backends.baremetal.layout import ALIGNMENT
from shufflec.backends.codegen import KERNEL_PARAMETERS, comment_text
from shufflec.backends.objects import symbol
from shufflec.backends.planner import MemoryPlan
from shufflec.backends.program import Program, Step, View
from shufflec.data.preprocessing import Preprocessing

SLACK = 16  # bytes behind the arena that vector loads may read
_MOST_TINY, _MOST_SHORT = 0xFF, 0xFFFF  # of the C types that small numbers take, since flash is scarce
_TYPES = {"weights": ("int8_t", np.int8), "requant": ("int16_t", np.int16), "accumulators": ("int32_t", np.int32)}


@dataclass(frozen=True)
class Interface:
    """What an application needs to know. input_scale, output_scale: real = scale * (code - zero point).

    class_multipliers: int32, of the logits to the int8 output, high word of the product. prefix: of every name.
    preprocessing: how images become the input, None where nobody said.
    """

    model: str
    prefix: str
    input_scale: float
    input_zero_point: int
    output_scale: float
    class_multipliers: tuple[int, ...]
    logit_scales: tuple[float, ...]
    preprocessing: Preprocessing | None = None


def arena_bytes(plan: MemoryPlan) -> int:
    """The arena's size with the slack behind it."""
    return -(-(plan.peak_bytes + SLACK) // ALIGNMENT) * ALIGNMENT


def header(program: Program, plan: MemoryPlan, interface: Interface) -> str:
    """The text of PREFIX_model.h."""
    _, channels, height, width = program.input_shape
    p, u = interface.prefix, interface.prefix.upper()
    classes, name = program.output_shape[1], comment_text(interface.model)
    return f"""/* {name}: int8 network, made by shufflec. No heap, no operating system, no library.
 *
 * Input: {height} x {width} x {channels} int8, rows of pixels of {channels} channels each; a real value x is
 * round(x / {u}_INPUT_SCALE) + {u}_INPUT_ZERO_POINT. Output: one int8 a class, real = value * {u}_OUTPUT_SCALE,
 * saturated; the exact sums are the logits, int32, real = value * {p}_logit_scales[class].
 * One inference at a time: the arena is shared.
 */
#ifndef {u}_MODEL_H
#define {u}_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {u}_INPUT_HEIGHT {height}
#define {u}_INPUT_WIDTH {width}
#define {u}_INPUT_CHANNELS {channels}
#define {u}_INPUT_BYTES {height * width * channels}
#define {u}_INPUT_SCALE {_float(interface.input_scale)}
#define {u}_INPUT_ZERO_POINT ({interface.input_zero_point})
{_preprocessing(interface)}#define {u}_CLASSES {classes}
#define {u}_OUTPUT_SCALE {_float(interface.output_scale)}
#define {u}_OUTPUT_ZERO_POINT 0
#define {u}_ARENA_BYTES {arena_bytes(plan)}
#define {u}_ARENA_ALIGNMENT {ALIGNMENT}
#define {u}_INPUT_OFFSET 0
#define {u}_LOGITS_OFFSET {_address(program.layers[-1].output, plan)}

extern const float {p}_logit_scales[{u}_CLASSES];

/* Runs the network in its own arena. input: {u}_INPUT_BYTES, may be {p}_input(); output: {u}_CLASSES. Returns 0. */
int {p}_run(const int8_t *input, int8_t *output);

/* The input's place in the arena: what is written there need not be copied. Every run overwrites it. */
int8_t *{p}_input(void);

/* The logits of the last {p}_run: {u}_CLASSES sums. */
const int32_t *{p}_logits(void);

/* Runs it in the caller's arena of {u}_ARENA_BYTES; -1 when that is not aligned to {u}_ARENA_ALIGNMENT, else 0.
 * An application that only calls this one has no arena of the model's own. */
int {p}_run_in(int8_t *arena, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _preprocessing(interface: Interface) -> str:
    """How an application prepares images, in words and as constants, line by line."""
    made, u = interface.preprocessing, interface.prefix.upper()
    if made is None:
        return ""
    height, width = made.input_size
    if made.resize is None:
        cover = f"{height / made.crop_fraction:.0f} x {width / made.crop_fraction:.0f} pixels"
        scaled = f"until it just covers {cover} ({u}_INPUT_CROP of which are the input)"
    else:
        scaled = f"until its shorter side has {made.resize} pixels ({u}_INPUT_RESIZE)"
    order = "red, green, blue" if made.channel_order == "RGB" else "blue, green, red"
    mean, std = (", ".join(_short(value) for value in values) for values in (made.mean, made.std))
    return f"""
/* Images are to be prepared as in the training:
 * 1. scale the image (bilinear) {scaled},
 * 2. cut out the {height} x {width} pixels in its middle,
 * 3. take the channels in the order {order},
 * 4. of each byte of channel c: x = (byte * {u}_INPUT_RANGE / 255 - {u}_INPUT_MEAN[c]) / {u}_INPUT_STD[c].
 */
#define {u}_INPUT_ORDER "{made.channel_order}"
#define {u}_INPUT_RANGE {_short(made.value_scale)}
#define {u}_INPUT_MEAN {{{mean}}}
#define {u}_INPUT_STD {{{std}}}
#define {u}_INPUT_RESIZE {made.resize or 0} /* 0: none, the crop says it */
#define {u}_INPUT_CROP {_short(1.0 if made.resize is not None else made.crop_fraction)}

"""


def model(program: Program, plan: MemoryPlan, interface: Interface) -> str:
    """The text of PREFIX_model.c."""
    p, u = interface.prefix, interface.prefix.upper()
    lines = [
        f'#include "{p}_model.h"',
        "",
        "#include <stddef.h>",
        "",
        "void *memcpy(void *restrict to, const void *restrict from, size_t bytes);",
        "",
        "/* The kernels, from objects. */",
    ]
    lines += [f"int32_t {symbol(kernel)}({KERNEL_PARAMETERS});" for kernel in program.kernels]
    lines += ["", "/* Constants of each call. */"]
    for number, step in enumerate(program.steps):
        lines += _constants(step, number)
    lines += [_step_type(program, plan), "static const struct step steps[] = {"]
    lines += [_call(step, number, plan) for number, step in enumerate(program.steps)]
    firsts = [0]
    for layer in program.layers:
        firsts.append(firsts[-1] + len(layer.steps))
    number = "uint8_t" if firsts[-1] <= _MOST_TINY else "uint16_t"
    lines += ["};", "", f"static const {number} first_steps[] = {{{', '.join(map(str, firsts))}}};"]
    multipliers = ", ".join(map(str, interface.class_multipliers))
    scales = ", ".join(_float(scale) for scale in interface.logit_scales)
    lines.append(f"""
#ifdef {u}_TEST
void {p}_run_layer(int8_t *arena, int32_t layer);
#else
static
#endif
void {p}_run_layer(int8_t *arena, int32_t layer) {{
  for (const struct step *s = steps + first_steps[layer]; s < steps + first_steps[layer + 1]; s++)
    s->kernel(arena, s->weights, s->requant, s->accumulators, s->in0, s->in1, s->out, s->scratch, 0, s->tiles);
}}

const float {p}_logit_scales[{u}_CLASSES] = {{{scales}}};
static const int32_t multipliers[{u}_CLASSES] = {{{multipliers}}};

int {p}_run_in(int8_t *arena, const int8_t *input, int8_t *output) {{
  if ((uintptr_t)arena % {u}_ARENA_ALIGNMENT) return -1;
  if (input != arena + {u}_INPUT_OFFSET) memcpy(arena + {u}_INPUT_OFFSET, input, {u}_INPUT_BYTES);
  for (int32_t i = 0; i < {len(program.layers)}; i++) {p}_run_layer(arena, i);
  const int32_t *logits = (const int32_t *)(arena + {u}_LOGITS_OFFSET);
  for (int32_t i = 0; i < {u}_CLASSES; i++) {{
    int32_t value = (int32_t)(((int64_t)logits[i] * multipliers[i] + INT64_C(0x80000000)) >> 32);
    output[i] = (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
  }}
  return 0;
}}

static int8_t own_arena[{u}_ARENA_BYTES] __attribute__((aligned({u}_ARENA_ALIGNMENT)));

int {p}_run(const int8_t *input, int8_t *output) {{ return {p}_run_in(own_arena, input, output); }}

int8_t *{p}_input(void) {{ return own_arena + {u}_INPUT_OFFSET; }}

const int32_t *{p}_logits(void) {{ return (const int32_t *)(own_arena + {u}_LOGITS_OFFSET); }}
""")
    lines += _tensors(program, plan, interface)
    return "\n".join(lines)


def test_header(program: Program, prefix: str) -> str:
    """The text of PREFIX_test.h: the model layer by layer, for the test firmware."""
    p, u = prefix, prefix.upper()
    return f"""/* The model layer by layer, for tests: {p}_model.c compiled with -D{u}_TEST. */
#ifndef {u}_TEST_H
#define {u}_TEST_H

#include <stdint.h>

/* A layer's output: height x width x channels values of item_bytes, pitch bytes from a pixel to the next. */
struct {p}_tensor {{
  int32_t offset, height, width, channels, pitch, row, item_bytes;
}};

#define {u}_LAYERS {len(program.layers)}
void {p}_run_layer(int8_t *arena, int32_t layer);
extern const struct {p}_tensor {p}_tensors[{len(program.layers)}];

#endif
"""


def _tensors(program: Program, plan: MemoryPlan, interface: Interface) -> Iterator[str]:
    yield f"#ifdef {interface.prefix.upper()}_TEST"
    yield f'#include "{interface.prefix}_test.h"'
    yield f"const struct {interface.prefix}_tensor {interface.prefix}_tensors[] = {{"
    for layer in program.layers:
        view = layer.output
        item = 4 if view.dtype == "int32" else 1
        numbers = (_address(view, plan), *view.shape, view.pitch, view.row, item)
        yield f"  {{{', '.join(map(str, numbers))}}}, /* {comment_text(layer.name)} */"
    yield "};"
    yield "#endif"
    yield ""


def _constants(step: Step, number: int) -> Iterator[str]:
    for name, array in zip(_TYPES, step.constants, strict=True):
        if array.size:
            c_type, dtype = _TYPES[name]
            values = np.ascontiguousarray(array, dtype).reshape(-1).tolist()
            yield f"static const {c_type} {name}_{number}[{len(values)}] __attribute__((aligned(4))) = {{"
            for first in range(0, len(values), 24):
                yield "  " + ",".join(map(str, values[first : first + 24])) + ","
            yield "};"


def _step_type(program: Program, plan: MemoryPlan) -> str:
    """The C type of a call; its numbers take two bytes each where all of them fit."""
    largest = max(max(_numbers(step, plan)) for step in program.steps)
    number = "uint16_t" if largest <= _MOST_SHORT else "int32_t"
    return f"""
/* One kernel call. in0, in1, out, scratch: byte offsets in the arena. */
struct step {{
  int32_t (*kernel)({KERNEL_PARAMETERS});
  const int8_t *weights;
  const int16_t *requant;
  const int32_t *accumulators;
  {number} in0, in1, out, scratch, tiles;
}};
"""


def _numbers(step: Step, plan: MemoryPlan) -> tuple[int, ...]:
    """Offsets of the inputs, the output and the scratch, and the number of tiles."""
    inputs = [_address(view, plan) for view in step.inputs] + [0, 0]
    scratch = plan.offset(step.scratch) if step.scratch is not None else 0
    return inputs[0], inputs[1], _address(step.output, plan), scratch, step.kernel.tiles


def _call(step: Step, number: int, plan: MemoryPlan) -> str:
    pointers = [f"{name}_{number}" if array.size else "0" for name, array in zip(_TYPES, step.constants, strict=True)]
    values = ", ".join((symbol(step.kernel), *pointers, *map(str, _numbers(step, plan))))
    return f"  {{{values}}}, /* {comment_text(step.name)} */"


def _address(view: View, plan: MemoryPlan) -> int:
    return plan.offset(view.buffer) + view.offset


def _float(value: float) -> str:
    """A float literal that reads back as the same float32."""
    return f"{np.float32(value).item():.9g}f" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else f"{value:.1f}f"


def _short(value: float) -> str:
    """The shortest float literal that reads back as the same float32, e.g. 0.485f."""
    return f"{np.float32(value)!s}f"
