"""The three kinds of datasets, their splits, and what happens to broken ones."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shufflec.data.dataset import check_classes, unknown_names, unreadable_note
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.data.split import held_out_split
from shufflec.errors import InputFileError, OptionError


def _folder(root, classes, count, first=0):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            colour = (40 * label, first + index, 0)
            Image.new("RGB", (20, 30), colour).save(root / name / f"{index}.png")
    return root


def test_digits_hold_out_a_stratified_fifth():
    train, test = open_dataset("digits"), open_dataset("digits", "test")
    assert (len(train), len(test)) == (1438, 359)
    counts = np.bincount(train.labels) + np.bincount(test.labels)
    assert np.abs(np.bincount(test.labels) - counts / 5).max() <= 0.5
    assert test.class_names == [str(digit) for digit in range(10)]
    assert test.image(0).shape == (8, 8, 3)
    assert test.image(0).dtype == np.uint8
    assert max(test.image(index).max() for index in range(20)) == 255
    # The split is part of what the bundled accuracies mean: it must not move.
    assert test.labels[:12].tolist() == [3, 7, 3, 9, 0, 8, 7, 0, 8, 0, 3, 3]
    assert train.label(3) == int(train.labels[3])


def test_split_is_fixed_by_its_seed():
    labels = np.repeat([0, 1, 2], [10, 5, 1])
    train, test = held_out_split(labels)
    assert np.bincount(labels[test], minlength=3).tolist() == [2, 1, 0]
    assert sorted([*train, *test]) == list(range(16))
    assert test.tolist() == [2, 8, 11]
    assert held_out_split(labels, 1)[1].tolist() != test.tolist()


def test_batches_are_preprocessed_in_order():
    dataset = open_dataset("digits", "test")
    preprocessing = Preprocessing((32, 32))
    batches = list(dataset.batches(preprocessing, 100))
    assert [len(labels) for _, labels in batches] == [100, 100, 100, 59]
    assert batches[0][0].shape == (100, 3, 32, 32)
    np.testing.assert_array_equal(batches[1][0][0], preprocessing.apply(dataset.image(100)))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), dataset.labels)
    assert [len(labels) for _, labels in dataset.batches(preprocessing, 100, limit=150)] == [100, 50]
    with pytest.raises(OptionError):
        next(dataset.batches(preprocessing, 0))


def test_spread_covers_the_whole_split():
    dataset = open_dataset("digits", "test")
    part = dataset.spread(10)
    assert len(part) == 10
    assert part.label(9) == dataset.label(358)
    np.testing.assert_array_equal(part.image(9), dataset.image(358))
    assert dataset.spread(1000) is dataset


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_folder_with_a_test_split(tmp_path, test_name):
    _folder(tmp_path / "train", ["cat", "ant"], 3)
    _folder(tmp_path / test_name, ["cat", "ant"], 2, first=100)
    (tmp_path / "train" / "ant" / "notes.txt").write_text("not an image")
    train, test = open_dataset(tmp_path), open_dataset(tmp_path, "test")
    assert train.class_names == test.class_names == ["ant", "cat"]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.image(3)[0, 0].tolist() == [0, 101, 0]


@pytest.mark.parametrize("below", ["", "train"])
def test_folder_without_a_test_split(tmp_path, below):
    _folder(tmp_path / below, ["a", "b", "c"], 10)
    train, test = open_dataset(tmp_path), open_dataset(tmp_path, "test")
    assert (len(train), len(test)) == (24, 6)
    colours = [{tuple(part.image(index)[0, 0]) for index in range(len(part))} for part in (train, test)]
    assert not colours[0] & colours[1]


def test_names_of_files_are_kept_byte_by_byte(tmp_path):
    names = [b"a b.png", b"latin-\xe9.png", b"z.png", "\u00e4\u4e2d.png".encode()]
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for index, name in enumerate(names):
            path = Path(os.fsdecode(os.fsencode(tmp_path / label) + b"/" + name))
            Image.new("RGB", (4, 4), (index, label == "two", 0)).save(path)
    dataset = open_dataset(tmp_path, "train")
    assert len(dataset) == 6
    found = [tuple(int(value) for value in dataset.image(index)[0, 0, :2]) for index in range(6)]
    assert [label for _, label in found] == dataset.labels.tolist()
    # A class's files in the order of their names, one of the four held out.
    for label in (0, 1):
        order = [index for index, of in found if of == label]
        assert order == sorted(order)
        assert len(order) == 3


def test_broken_folders(tmp_path):
    with pytest.raises(InputFileError, match="no such dataset"):
        open_dataset(tmp_path / "none")
    _folder(tmp_path / "one", ["a"], 2)
    with pytest.raises(InputFileError, match="1 class folders"):
        open_dataset(tmp_path / "one")
    (tmp_path / "one" / "b").mkdir()
    with pytest.raises(InputFileError, match="has no images"):
        open_dataset(tmp_path / "one")
    _folder(tmp_path / "two" / "train", ["a", "b"], 2)
    _folder(tmp_path / "two" / "test", ["a", "c"], 2)
    with pytest.raises(InputFileError, match="different classes: b, c"):
        open_dataset(tmp_path / "two")
    text = tmp_path / "data.csv"
    text.write_text("1,2")
    with pytest.raises(InputFileError, match="is not a dataset"):
        open_dataset(text)
    with pytest.raises(OptionError, match="split"):
        open_dataset("digits", "val")


def test_image_that_is_not_one_is_named(tmp_path):
    _folder(tmp_path, ["a", "b"], 2)
    (tmp_path / "a" / "0.png").write_bytes(b"text")
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputFileError, match=r"a/0\.png: is not an image"):
        [dataset.image(index) for index in range(len(dataset))]


def _broken(root, count):
    """Two classes of six images; the first `count` files are half of a PNG, in turn of each class."""
    _folder(root / "train", ["a", "b"], 6)
    _folder(root / "test", ["a", "b"], 6)
    for number in range(count):
        path = root / "test" / "ab"[number % 2] / f"{number // 2}.png"
        path.write_bytes(path.read_bytes()[:50])
    return open_dataset(root, "test")


def test_images_that_cannot_be_read_are_left_out_of_batches(tmp_path):
    dataset = _broken(tmp_path, 5)
    batches = list(dataset.batches(Preprocessing((32, 32)), 4))
    assert [len(labels) for _, labels in batches] == [4, 3]
    assert np.concatenate([labels for _, labels in batches]).tolist() == [0, 0, 0, 1, 1, 1, 1]
    note = unreadable_note(dataset)
    assert note.startswith(f"5 images of {tmp_path} cannot be read and are left out: ")
    assert [f"{name}.png: is" in note for name in ("a/0", "a/1", "a/2", "b/0")] == [True, True, True, False]
    assert note.endswith("; and 2 more.")
    # Read again, or as a part, they are the same ones.
    list(dataset.spread(9).batches(Preprocessing((32, 32)), 4))
    assert unreadable_note(dataset) == note


def test_one_unreadable_image_and_none(tmp_path):
    dataset = _broken(tmp_path, 1)
    assert unreadable_note(dataset) is None
    assert [index for index, _ in dataset.readable([0, 3, 6])] == [3, 6]
    assert unreadable_note(dataset).startswith(f"1 image of {tmp_path} cannot be read and is left out: ")


def test_a_data_set_without_a_readable_image_is_an_error(tmp_path):
    dataset = _broken(tmp_path, 12)
    with pytest.raises(InputFileError, match=r"none of its images can be read: .*a/0\.png"):
        list(dataset.batches(Preprocessing((32, 32)), 4))


def _npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_npz_with_a_test_split(tmp_path):
    grey = np.arange(2 * 9 * 7, dtype=np.uint8).reshape(2, 9, 7)
    colour = np.zeros((3, 9, 7, 3), np.uint8)
    path = _npz(tmp_path / "a.npz", x_train=grey, y_train=[0, 2], x_test=colour, y_test=np.uint8([1, 0, 2]))
    train, test = open_dataset(path), open_dataset(path, "test")
    assert train.class_names == ["0", "1", "2"]
    assert train.image(1).shape == (9, 7, 3)
    assert train.image(1)[0, 0].tolist() == [63, 63, 63]
    assert len(test) == 3
    assert test.label(2) == 2


def test_npz_without_a_test_split(tmp_path):
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    path = _npz(tmp_path / "a.npz", images=images, labels=np.arange(20) % 2, class_names=["even", "odd"])
    train, test = open_dataset(path), open_dataset(path, "test")
    assert (len(train), len(test)) == (16, 4)
    assert test.class_names == ["even", "odd"]
    assert all(part.image(index)[0, 0, 0] % 2 == part.label(index) for part in (train, test) for index in range(4))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [1]}, "has x"),
        ({"images": np.zeros((4, 8, 8)), "labels": [0, 1, 0, 1]}, "images is float64"),
        ({"images": np.zeros((4, 3, 8, 8), np.uint8), "labels": [0, 1, 0, 1]}, r"images is uint8 \[4, 3, 8, 8\]"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": [0, 1]}, "4 images but 2 labels"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": [0, 1, 0, -1]}, "labels from -1"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": [0, 0, 0, 0]}, "one class"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": [0.0, 1.0, 0.0, 1.0]}, "labels is float64"),
        ({"images": np.zeros((4, 0, 8), np.uint8), "labels": [0, 1, 0, 1]}, "0, 8"),
        ({"images": np.zeros((0, 8, 8), np.uint8), "labels": np.zeros(0, int)}, "labels is empty"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": [0, 1], "class_names": ["a"]}, "class_names"),
        ({"images": np.array([{}, {}], dtype=object), "labels": [0, 1]}, "Python objects"),
    ],
)
def test_broken_npz(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    with pytest.raises(InputFileError, match=message):
        open_dataset(path)


def test_npz_that_claims_more_than_it_holds(tmp_path):
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 8, 8)}
    np.lib.format.write_array_header_1_0(header, claim)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"\0" * 64)
        archive.writestr("labels.npy", b"x")
    with pytest.raises(InputFileError, match="more than the file can hold"):
        open_dataset(path)


@pytest.mark.parametrize("keep", [0, 30, -30])
def test_truncated_npz(tmp_path, keep):
    path = _npz(tmp_path / "a.npz", images=np.zeros((4, 8, 8), np.uint8), labels=[0, 1, 0, 1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputFileError, match=r"is not a \.npz file"):
        open_dataset(path)


def test_classes_of_another_model():
    dataset = open_dataset("digits", "test")
    check_classes("digits", dataset, [str(digit) for digit in range(10)])
    with pytest.raises(InputFileError, match="10 classes, the model has 2"):
        check_classes("digits", dataset, ["a", "b"])
    with pytest.raises(InputFileError, match="class 9 is '9', in the model it is 'x'"):
        check_classes("digits", dataset, [*"012345678", "x"])
    with pytest.raises(InputFileError, match="classes are in another order: class 0 is '0', in the model it is '9'"):
        check_classes("digits", dataset, [*"9876543210"])


def test_a_model_that_does_not_name_its_classes_takes_any_of_their_number():
    dataset = open_dataset("digits", "test")
    check_classes("digits", dataset, unknown_names(10))
    with pytest.raises(InputFileError, match="10 classes, the model has 9"):
        check_classes("digits", dataset, unknown_names(9))
