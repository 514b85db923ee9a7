"""Datasets in .npz files.

Keys: x_train, y_train, x_test, y_test; or images, labels, of which a fifth is held out. Images are uint8 [N, H, W],
[N, H, W, 1] or [N, H, W, 3] in RGB; labels are integers [N] from 0 up. class_names (text [C]) may name the classes.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from shufflec.data.dataset import Dataset
from shufflec.data.split import held_out_split
from shufflec.errors import InputFileError

MAX_BYTES = 8 << 30
_KEYS = "x_train, y_train, x_test, y_test, or images, labels"


def open_npz(path: Path, split: str, seed: int = 0) -> Dataset:
    """One split of the file. Raises InputFileError for a file that is damaged or has other contents."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name.removesuffix(".npy") for name in archive.namelist()}
            if {"x_train", "y_train", "x_test", "y_test"} <= arrays:
                all_labels = {part: _labels(path, archive, f"y_{part}") for part in ("train", "test")}
                images, labels = _images(path, archive, f"x_{split}"), all_labels[split]
                largest = max(int(part.max(initial=0)) for part in all_labels.values())
            elif {"images", "labels"} <= arrays:
                images, labels = _images(path, archive, "images"), _labels(path, archive, "labels")
                largest = int(labels.max(initial=0))
            else:
                raise InputFileError(path, f"has {', '.join(sorted(arrays)[:6]) or 'nothing'}", f"expected {_KEYS}")
            names = _class_names(path, archive, largest + 1) if "class_names" in arrays else None
    except FileNotFoundError as error:
        raise InputFileError(path, "no such file", "expected a .npz dataset") from error
    except PermissionError as error:
        raise InputFileError(path, "cannot be read: permission denied") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        # RuntimeError and NotImplementedError: zipfile's for encrypted members and unknown compression.
        raise InputFileError(path, f"is not a .npz file, or is damaged: {error}") from error
    if len(images) != len(labels):
        raise InputFileError(path, f"has {len(images)} images but {len(labels)} labels")
    if largest < 1:
        raise InputFileError(path, "has one class, expected at least 2")
    if "images" in arrays and "x_train" not in arrays:
        train, test = held_out_split(labels, seed)
        chosen = train if split == "train" else test
    else:
        chosen = np.arange(len(labels))
    if len(chosen) == 0:
        raise InputFileError(path, f"has no {split} images")
    names = names or [str(index) for index in range(largest + 1)]
    return Dataset(str(path), names, labels[chosen], lambda index: _rgb(images[chosen[index]]))


def _images(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    images = _array(path, archive, key)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        found = f"{images.dtype} {list(images.shape)}"
        raise InputFileError(path, f"{key} is {found}", "expected uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3]")
    if 0 in images.shape[1:]:
        raise InputFileError(path, f"{key} has images of {list(images.shape[1:])} pixels")
    return images


def _labels(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    labels = _array(path, archive, key)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputFileError(path, f"{key} is {labels.dtype} {list(labels.shape)}", "expected whole numbers [N]")
    if len(labels) == 0:
        raise InputFileError(path, f"{key} is empty")
    if int(labels.min()) < 0 or int(labels.max()) >= 100_000:
        raise InputFileError(
            path, f"{key} has labels from {labels.min()} to {labels.max()}", "expected 0 to classes - 1"
        )
    return labels.astype(np.int64)


def _class_names(path: Path, archive: zipfile.ZipFile, count: int) -> list[str]:
    names = _array(path, archive, "class_names")
    if names.dtype.kind != "U" or names.ndim != 1 or len(names) < count:
        raise InputFileError(path, "class_names is not a list of text", f"expected at least {count} names")
    return [str(name) for name in names]


def _array(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """One member; its size is checked against its header before anything of that size is allocated."""
    info = archive.getinfo(f"{key}.npy")
    with archive.open(info) as member:
        try:
            version = np.lib.format.read_magic(member)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, fortran_order, dtype = read_header(member)
        except ValueError as error:
            raise InputFileError(path, f"{key} is not an array: {' '.join(str(error).split())[:120]}") from error
        if dtype.hasobject:
            raise InputFileError(path, f"{key} holds Python objects", "expected plain numbers or text")
        size = dtype.itemsize
        for side in shape:
            size *= side
        # deflate shrinks at most 1032 to 1, so a header cannot make a small file claim a large allocation.
        if size > min(MAX_BYTES, info.file_size, 1032 * info.compress_size):
            raise InputFileError(path, f"{key} claims {size} bytes, more than the file can hold")
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < size and (count := member.readinto(view[filled:])):
            filled += count
        if filled < size:
            raise InputFileError(path, f"{key} is truncated")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")


def _rgb(image: np.ndarray) -> np.ndarray:
    grey = image if image.ndim == 2 else image[:, :, 0] if image.shape[2] == 1 else None
    return np.array(image) if grey is None else np.repeat(grey[:, :, None], 3, axis=2)
