"""Weights of the DSP kernels: the rest of two rows shares words, and SXTB16 gives each row its pairs."""

from __future__ import annotations

import numpy as np
import pytest

from shufflec.kernels.mcu import dsp


def halves(word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `dsp.split` makes of four bytes."""
    return word[[0, 2]].astype(np.int32), word[[1, 3]].astype(np.int32)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("depth", [3, 4, 5, 10, 23])
def test_packed_rows_give_the_dot_products(depth, rows):
    generator = np.random.default_rng(depth)
    weights = generator.integers(-128, 128, (rows, depth), np.int8)
    x = generator.integers(-128, 128, depth).astype(np.int32)
    packed = dsp.pack_rows(weights)
    assert packed.dtype == np.int8
    assert packed.size == 4 * dsp.words_of(depth, rows)
    whole = depth // 4
    sums = packed[: 4 * whole * rows].reshape(rows, -1).astype(np.int32) @ x[: 4 * whole]
    rest = np.append(x[4 * whole :], 0)
    for pair, word in enumerate(packed[4 * whole * rows :].reshape(-1, 4)):
        for row, half in enumerate(halves(word)[:rows]):
            sums[row] += half @ rest[2 * pair : 2 * pair + 2]
    assert np.array_equal(sums, weights.astype(np.int32) @ x)
