"""`shufflec eval` on one engine: the published tables' form, unreadable images, class names that do not match."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import load_checkpoint, save_checkpoint
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize import prepare

IDS = ["n01440764", *(f"n{2_000_000 + index:08}" for index in range(998)), "n15075141"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network of the classes ant, bee and cat."""
    made = random_checkpoint(Architecture(3, 0.25, "paper", 3, 32))
    made.class_names = ["ant", "bee", "cat"]
    return save_checkpoint(tmp_path_factory.mktemp("small") / "small.safetensors", made)


def photos(folder, classes, count=4, broken=()):
    for label, name in enumerate(classes):
        for split in ("train", "test"):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                path = folder / split / name / f"{index}.png"
                Image.new("RGB", (40, 36), (60 * label, 20 * index, 90)).save(path)
                if f"{split}/{name}/{index}" in broken:
                    path.write_bytes(path.read_bytes()[:40])
    return folder


def run(capsys, *arguments, code=ExitCode.OK):
    assert run_command_line(["eval", *map(str, arguments)]) == code
    return capsys.readouterr()


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """(mindcv's ShuffleNetV1 0.5x with groups 3 and other weights, some images of ImageNet's classes)"""
    folder = tmp_path_factory.mktemp("imagenet")
    made = random_checkpoint(Architecture(3, 0.5, "mindcv", 1000, 224))
    made.class_names = [f"class {index}" for index in range(1000)]
    model = save_checkpoint(folder / "mindcv.safetensors", made)
    images, labels = np.zeros((2000, 2, 2), np.uint8), np.arange(2000) % 1000
    np.savez(folder / "set.npz", images=images, labels=labels, class_names=IDS)
    return model, folder / "set.npz"


def test_the_published_accuracy_stands_beside_the_measured_one(imagenet, capsys):
    found = json.loads(run(capsys, imagenet[0], "--data", imagenet[1], "--images", 2, "--json").out)
    assert found["published"] == {
        "top1": 0.5705,
        "top1_error": pytest.approx(0.4295),
        "top5": 0.7973,
        "top5_error": pytest.approx(0.2027),
        "source": "mindcv",
        "int8": False,
    }
    assert (found["groups"], found["scale"], found["variant"]) == (3, 0.5, "mindcv")
    assert round(found["params"] / 1e6, 2) == 0.72
    assert (found["count"], found["top1"] + found["top1_error"]) == (2, 1.0)
    # The network does not name its classes, so those of the data set are taken.
    assert found["class_names"] == IDS


def test_the_table_has_the_form_of_the_published_ones(imagenet, capsys):
    output = run(capsys, imagenet[0], "--data", imagenet[1], "--images", 2)
    rows = [line.split() for line in output.out.splitlines()]
    published = next(row for row in rows if "57.05" in row)
    assert published[-8:] == ["3", "0.5x", "0.72", "57.05", "79.73", "42.95", "20.27", "-"]
    assert published[0] == "published"
    assert "Published: mindcv, float, on ImageNet's validation images." in " ".join(output.out.split())
    assert "does not name its classes: those of the data set are taken" in " ".join(output.err.split())


def test_other_data_has_no_published_figure(small, capsys, tmp_path):
    folder = photos(tmp_path / "photos", ["ant", "bee", "cat"])
    output = run(capsys, small, "--data", folder)
    assert "Accuracies are published for ImageNet's 1000 classes only" in " ".join(output.out.split())
    assert output.err == ""
    found = json.loads(run(capsys, small, "--data", folder, "--json").out)
    assert found["published"] is None
    assert "ImageNet" in found["published_missing"]
    assert (found["count"], found["unreadable"]) == (12, [])


def test_images_that_cannot_be_read_are_counted_and_named(small, capsys, tmp_path):
    broken = {f"test/{name}" for name in ("ant/0", "bee/1", "cat/2", "cat/3")}
    folder = photos(tmp_path / "photos", ["ant", "bee", "cat"], broken=broken)
    output = run(capsys, small, "--data", folder, "--json")
    found = json.loads(output.out)
    assert (found["count"], len(found["unreadable"])) == (8, 4)
    told = "".join(output.err.split())
    assert f"4imagesof{folder}cannotbereadandareleftout:" in told
    assert [f"{name}.png" in told for name in ("ant/0", "bee/1", "cat/2", "cat/3")] == [True, True, True, False]
    assert told.endswith("and1more.")


def test_no_readable_image_is_an_error(small, capsys, tmp_path):
    broken = {f"test/{name}/{index}" for name in ("ant", "bee", "cat") for index in range(4)}
    output = run(capsys, small, "--data", photos(tmp_path / "p", ["ant", "bee", "cat"], broken=broken), code=3)
    assert "none of its images can be read" in output.err
    assert (output.out, output.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["ant", "bee"], "has 2 classes, the model has 3"),
        (["ant", "bee", "dog"], "class 2 is 'dog', in the model it is 'cat'"),
    ],
)
def test_classes_that_are_not_the_models(small, capsys, tmp_path, classes, words):
    output = run(capsys, small, "--data", photos(tmp_path / "photos", classes), code=ExitCode.BAD_INPUT)
    assert words in output.err
    assert (output.out, output.err.count("\n")) == ("", 1)


def test_the_input_size_of_a_checkpoint_that_says_its_own(small, capsys, tmp_path):
    folder = photos(tmp_path / "photos", ["ant", "bee", "cat"])
    assert run(capsys, small, "--data", folder, "--input-size", 32).err == ""
    output = run(capsys, small, "--data", folder, "--input-size", "64", code=ExitCode.BAD_INPUT)
    assert "holds input_size (32, 32) instead of (64, 64)" in output.err
    assert "has its own" in run(capsys, "a.onnx", "--data", folder, "--input-size", "64", code=ExitCode.USAGE).err


def test_the_same_classes_in_another_order(small, capsys, tmp_path):
    images, labels = np.zeros((30, 8, 8), np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "set.npz", images=images, labels=labels, class_names=["cat", "ant", "bee"])
    output = run(capsys, small, "--data", tmp_path / "set.npz", code=ExitCode.BAD_INPUT)
    assert "the classes are in another order: class 0 is 'cat', in the model it is 'ant'" in output.err


def test_compile_says_so_before_it_quantizes(small, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "quantize_model", None)
    folder = photos(tmp_path / "photos", ["ant", "bee", "dog"])
    made = load_checkpoint(small)
    made.random_weights = False
    path = save_checkpoint(tmp_path / "trained.safetensors", made)
    arguments = ["compile", str(path), "--data", str(folder), "-o", str(tmp_path / "bundle")]
    assert run_command_line(arguments) == ExitCode.BAD_INPUT
    output = capsys.readouterr()
    assert "class 2 is 'dog', in the model it is 'cat'" in output.err
    assert not (tmp_path / "bundle").exists()
