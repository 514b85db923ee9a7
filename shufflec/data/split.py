"""The held-out fifth of a dataset that comes without a test set of its own."""

from __future__ import annotations

import numpy as np

HELD_OUT_FRACTION = 0.2


def held_out_split(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (train, test) of a stratified split: a fifth of every class, at least one image, is test.

    labels: integers [N]. A class with one image is all train. The same labels and seed give the same split with
    every release of NumPy: RandomState's streams are frozen, those of default_rng are not.
    """
    random = np.random.RandomState(seed)
    test: list[np.ndarray] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(1, round(len(members) * HELD_OUT_FRACTION)) if len(members) > 1 else 0
        test.append(random.permutation(members)[:count])
    held_out = np.sort(np.concatenate(test)) if test else np.empty(0, dtype=np.int64)
    train = np.setdiff1d(np.arange(len(labels)), held_out)
    return train, held_out
