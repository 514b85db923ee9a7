"""Opens labelled images from three sources: embedded digits, folders of images, .npz files."""

from __future__ import annotations

from pathlib import Path

from shufflec.data.dataset import Dataset
from shufflec.data.digits import open_digits
from shufflec.data.folder import open_folder
from shufflec.data.npz import open_npz
from shufflec.errors import InputFileError, OptionError

SPLITS = ("train", "test")


def open_dataset(spec: str | Path, split: str = "train", seed: int = 0) -> Dataset:
    """Opens one split ("train" or "test") of a dataset.

    spec: "digits": scikit-learn's 8x8 digits, 1,797 images of 10 classes.
          a folder: train/CLASS/* beside test/CLASS/* or val/CLASS/*, or CLASS/* alone.
          a .npz file: x_train, y_train, x_test, y_test, or images, labels; see shufflec/data/npz.py.
    Where the dataset has no test split of its own, a stratified fifth is held out, chosen by `seed`.

    Raises InputFileError for a dataset that cannot be read, OptionError for another split.
    """
    if split not in SPLITS:
        raise OptionError("split", split, "expected train or test")
    if str(spec) == "digits":
        return open_digits(split, seed)
    path = Path(spec)
    if path.is_dir():
        return open_folder(path, split, seed)
    if path.suffix == ".npz":
        return open_npz(path, split, seed)
    problem = "is not a dataset" if path.exists() else "no such dataset"
    raise InputFileError(path, problem, 'expected "digits", a folder of class folders, or a .npz file')
