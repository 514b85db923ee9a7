"""Folders of images, a folder a class (torchvision calls it ImageFolder)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from shufflec.data.dataset import Dataset
from shufflec.data.images import SUFFIXES, load_image
from shufflec.data.split import held_out_split
from shufflec.errors import InputFileError

_TEST_FOLDERS = ("test", "val")


def open_folder(root: Path, split: str, seed: int = 0) -> Dataset:
    """DIR/train/CLASS/* with DIR/test/CLASS/* or DIR/val/CLASS/*; or DIR/CLASS/*, of which a fifth is held out.

    Classes and files are taken in sorted order, so that labels do not depend on the file system.
    Raises InputFileError for a folder without classes, a class without images, or splits with other classes.
    """
    if (root / "train").is_dir():
        names, files = _class_files(root / "train")
        test_root = next((root / name for name in _TEST_FOLDERS if (root / name).is_dir()), None)
        if test_root is not None:
            test_names, test_files = _class_files(test_root)
            if test_names != names:
                differing = ", ".join(sorted(set(names) ^ set(test_names))[:4])
                raise InputFileError(root, f"train and {test_root.name} have different classes: {differing}")
            return _dataset(root, names, files if split == "train" else test_files)
    else:
        names, files = _class_files(root)
    labels = np.asarray([label for _, label in files])
    train, test = held_out_split(labels, seed)
    chosen = train if split == "train" else test
    return _dataset(root, names, [files[index] for index in chosen])


def _dataset(root: Path, names: list[str], files: list[tuple[Path, int]]) -> Dataset:
    labels = np.asarray([label for _, label in files], dtype=np.int64)
    paths = _Paths([path for path, _ in files])
    return Dataset(str(root), names, labels, lambda index: load_image(paths[index]))


class _Paths:
    """Paths in one piece of memory: of a list, each process that reads images would come to hold a copy of its own."""

    def __init__(self, paths: list[Path]):
        encoded = [os.fsencode(path) for path in paths]
        self._text = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __getitem__(self, index: int) -> Path:
        return Path(os.fsdecode(self._text[self._ends[index] : self._ends[index + 1]]))


def _class_files(root: Path) -> tuple[list[str], list[tuple[Path, int]]]:
    """Class names and (file, label) pairs below root."""
    try:
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        files = []
        for label, name in enumerate(names):
            images = sorted(path for path in (root / name).iterdir() if path.suffix.lower() in SUFFIXES)
            if not images:
                raise InputFileError(root / name, "has no images", f"expected files ending in {', '.join(SUFFIXES)}")
            files += [(path, label) for path in images]
    except PermissionError as error:
        raise InputFileError(error.filename or root, "cannot be read: permission denied") from error
    if len(names) < 2:
        raise InputFileError(
            root, f"has {len(names)} class folders, expected at least 2", "put each class's images in its own folder"
        )
    return names, files
