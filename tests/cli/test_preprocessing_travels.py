"""How images are prepared goes with a model from another project's checkpoint to `run`, `eval` and the bundle."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode
from shufflec.models.foreign.load import open_checkpoint

STORED = Path(__file__).parent.parent / "unit" / "foreign" / "megvii_g8_05.pth.tar.xz"
SIZE = 64
# Of these the network takes another class when red and blue change places.
YELLOW, CYAN = (200, 200, 20), (20, 200, 200)
OTHERS = ((250, 20, 10), (10, 20, 250), (20, 240, 20), (128, 128, 128), (250, 250, 250))


def coloured(colour, size=80) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


@pytest.fixture(scope="module")
def megvii(tmp_path_factory):
    """(checkpoint of ShuffleNet-Series, its bundle for a Pi)"""
    folder = tmp_path_factory.mktemp("megvii")
    checkpoint = folder / "g8.pth.tar"
    checkpoint.write_bytes(lzma.decompress(STORED.read_bytes()))
    random = np.random.RandomState(0)
    flat = [coloured(colour, 48) for colour in (YELLOW, CYAN, *OTHERS)] * 6
    images = np.stack([np.clip(image + random.normal(0, 20, image.shape), 0, 255) for image in flat]).astype(np.uint8)
    np.savez(folder / "set.npz", images=images, labels=np.arange(len(images)) % 10)
    arguments = ["compile", str(checkpoint), "--data", str(folder / "set.npz"), "--input-size", str(SIZE)]
    assert run_command_line([*arguments, "--no-verify", "-o", str(folder / "bundle")]) == ExitCode.OK
    return checkpoint, folder / "bundle"


def float_class(checkpoint: Path, colour) -> tuple[int, int]:
    """The float network's class of a plain colour as ShuffleNet-Series prepares it, and with red and blue swapped.

    Blue, green, red from 0 to 255, not normalised; written down here once more, by hand.
    """
    network = open_checkpoint(checkpoint, (SIZE, SIZE)).checkpoint.build()
    planes = torch.tensor(colour, dtype=torch.float32)
    answers = []
    for order in ((2, 1, 0), (0, 1, 2)):
        x = planes[list(order)][None, :, None, None].expand(1, 3, SIZE, SIZE)
        with torch.no_grad():
            answers.append(int(network(x).argmax()))
    return answers[0], answers[1]


def test_run_gives_the_class_of_the_float_network_in_its_own_order_of_colours(megvii, tmp_path, capsys):
    checkpoint, bundle = megvii
    for name, colour in (("yellow", YELLOW), ("cyan", CYAN)):
        right, swapped = float_class(checkpoint, colour)
        assert right != swapped
        path = tmp_path / f"{name}.png"
        Image.fromarray(coloured(colour)).save(path)
        assert run_command_line(["run", str(bundle), str(path), "--top", "1", "--json"]) == ExitCode.OK
        (image,) = json.loads(capsys.readouterr().out)["images"]
        assert image["top"][0]["index"] == right


def test_the_bundle_says_how(megvii):
    said = json.loads((megvii[1] / "manifest.json").read_text())["preprocessing"]
    assert said == {
        "input_size": [SIZE, SIZE],
        "resize": None,
        "crop_fraction": 0.875,
        "channel_order": "BGR",
        "value_scale": 255.0,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variant", "mindcv"], "variant megvii instead of mindcv"),
        (["--variant", "paper"], "variant megvii instead of paper"),
        (["--groups", "3"], "groups 8 instead of 3"),
    ],
)
def test_a_variant_that_the_checkpoint_is_not(megvii, options, words, capsys, tmp_path):
    arguments = ["compile", str(megvii[0]), "--data", "digits", *options, "-o", str(tmp_path / "bundle")]
    assert run_command_line(arguments) == ExitCode.BAD_INPUT
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "bundle").exists()
