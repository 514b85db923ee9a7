"""A task's inputs, its expected arena and the digest that stands for it."""

from __future__ import annotations

import numpy as np
import pytest

from shufflec.ir.graph import Op
from shufflec.kernels.kernel import Workload
from shufflec.tuning.case import digest, filled, input_shapes, make_case, mix
from shufflec.tuning.tasks import Task

RULE = {"shift": 4, "fraction": 5, "clamp_min": -128, "clamp_max": 127}


def conv_task(in_place: bool = False, pitch: int = 8) -> Task:
    generator = np.random.default_rng(0)
    constants = {
        "weight": generator.integers(-127, 128, (8, 1, 1, 4)).astype(np.int8),
        "multiplier": np.full(8, 20000, np.int16),
        "bias": np.zeros(8, np.int16),
        "accumulator_bias": np.zeros(8, np.int32),
        "pad_value": np.zeros(4, np.int8),
    }
    attrs = RULE | {"groups": 1, "stride": (1, 1), "pad": (0, 0, 0, 0), "residual_multiplier": 9000}
    params = RULE | {
        "height": 3, "width": 5, "in_channels": 4, "out_channels": 8, "groups": 1, "out_pitch": pitch, "out_row": 5,
        "residual_multiplier": 9000, "shuffle_rows": 1,
    }  # fmt: skip
    if in_place:
        params["in_place"] = True
    workload = Workload.of("conv2d", "neon", **params)
    return Task("conv", workload, Op("conv2d", "c", ("x", "r"), "y", attrs, constants), ("c",))


def test_the_mix_is_splitmix64():
    # The first outputs of splitmix64 seeded with 0 (Steele, Lea and Flood; the values of its reference code).
    assert [int(mix(np.array([i], np.uint64))[0]) for i in range(2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_every_changed_byte_changes_the_digest():
    arena = filled(512)
    whole = digest(arena)
    for at in range(0, 512, 7):
        other = arena.copy()
        other[at] ^= 1
        assert digest(other) != whole
    swapped = arena.copy()
    swapped[:8], swapped[8:16] = arena[8:16], arena[:8]
    assert digest(swapped) != whole


def test_the_output_lies_behind_the_inputs_or_over_the_residual():
    apart, over = make_case(conv_task()), make_case(conv_task(in_place=True))
    assert apart.output.offset >= apart.inputs[1].offset + apart.inputs[1].nbytes
    assert over.output.offset == over.inputs[1].offset
    assert over.checked_bytes < apart.checked_bytes
    assert np.array_equal(over.expected, apart.expected)
    arena = over.expected_arena()
    written = arena[over.output.offset : over.output.offset + over.expected.size]
    assert np.array_equal(written, over.expected.reshape(-1))


def test_the_expected_arena_has_the_output_in_its_place_and_nothing_else_changed():
    case = make_case(conv_task(pitch=12))
    arena, before = case.expected_arena(), filled(case.checked_bytes)
    view = case.output
    pixels = arena[view.offset : view.offset + 3 * 5 * 12].reshape(3, 5, 12)
    assert np.array_equal(pixels[..., :8], case.expected)
    untouched = before[view.offset : view.offset + 3 * 5 * 12].reshape(3, 5, 12)
    assert np.array_equal(pixels[..., 8:], untouched[..., 8:])
    assert np.array_equal(arena[: view.offset], before[: view.offset])


def test_a_difference_is_named():
    case = make_case(conv_task())
    arena = case.expected_arena()
    assert case.difference(arena) == "nothing"
    arena[case.output.offset + 9] ^= 3
    assert case.difference(arena).startswith("1 of 120 outputs are wrong, the first at (0, 1, 1) is ")
    beside = case.expected_arena()
    beside[case.output.offset - 1] ^= 1
    assert (
        case.difference(beside)
        == f"byte {case.output.offset - 1} beside the output at {case.output.offset} was changed"
    )


@pytest.mark.parametrize(
    ("kind", "params", "shapes"),
    [
        ("dense", {"in_channels": 7, "out_channels": 3}, [(1, 1, 7)]),
        ("pad", {"height": 2, "width": 3, "channels": 4, "pad": (1, 1, 0, 0), "value": 0}, [(2, 3, 4)]),
        ("max_pool2d", {"height": 2, "width": 2, "in_height": 5, "in_width": 6, "channels": 4}, [(5, 6, 4)]),
        ("add", {"height": 2, "width": 2, "channels": 4, "multipliers": (1, 2)}, [(2, 2, 4), (2, 2, 4)]),
        ("requantize", {"height": 2, "width": 2, "channels": 4, "multipliers": (1,)}, [(2, 2, 4)]),
    ],
)
def test_input_shapes(kind, params, shapes):
    assert input_shapes(Workload.of(kind, "neon", **params)) == shapes
