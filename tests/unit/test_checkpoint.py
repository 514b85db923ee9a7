"""Checkpoints: equal bytes, round trip, and one clear line for every broken file."""

from __future__ import annotations

import json
import struct

import pytest
import safetensors.torch
import torch

from shufflec.errors import ExitCode, InputFileError, OptionError
from shufflec.models.architecture import GROUPS, Architecture
from shufflec.models.checkpoint import bundled_checkpoint, check_matches, load_checkpoint, save_checkpoint
from shufflec.models.random_weights import random_checkpoint


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint(Architecture(3, 0.25, "megvii", 4, (32, 40)), seed=5)


@pytest.fixture
def saved(checkpoint, tmp_path):
    return save_checkpoint(tmp_path / "model.safetensors", checkpoint)


def _rewritten(path, change):
    """The file with `change` applied to its description."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["shufflec"])
    change(header)
    text = json.dumps(header)
    path.write_bytes(safetensors.torch.save(safetensors.torch.load(data), metadata={"shufflec": text}))
    return path


def test_round_trip(checkpoint, saved):
    loaded = load_checkpoint(saved)
    assert loaded.architecture == checkpoint.architecture
    assert loaded.preprocessing == checkpoint.preprocessing
    assert loaded.class_names == checkpoint.class_names
    assert loaded.seed == 5
    assert loaded.random_weights is True
    assert list(loaded.state) == sorted(checkpoint.state)
    assert all(torch.equal(tensor, checkpoint.state[name]) for name, tensor in loaded.state.items())
    model = loaded.build()
    assert not model.training
    x = torch.ones(1, 3, 32, 40)
    assert torch.equal(model(x), checkpoint.build()(x))


def test_equal_checkpoints_give_equal_bytes(saved, tmp_path):
    again = random_checkpoint(Architecture(3, 0.25, "megvii", 4, (32, 40)), seed=5)
    second = save_checkpoint(tmp_path / "second.safetensors", again)
    assert second.read_bytes() == saved.read_bytes()
    third = save_checkpoint(tmp_path / "third.safetensors", load_checkpoint(saved))
    assert third.read_bytes() == saved.read_bytes()


def test_random_weights_leave_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    random_checkpoint(Architecture(1, 0.25, "paper", 4, 32), seed=9).build()
    assert torch.equal(torch.rand(3), expected)


def test_missing_file(tmp_path):
    with pytest.raises(InputFileError, match="no such file") as caught:
        load_checkpoint(tmp_path / "none.safetensors")
    assert caught.value.exit_code == ExitCode.BAD_INPUT


@pytest.mark.parametrize("keep", [0, 5, 8, 100, 3000, -1])
def test_truncated_file(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[:keep])
    with pytest.raises(InputFileError) as caught:
        load_checkpoint(saved)
    assert "truncated" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\x80\x04pickle", b"PK\x03\x04" + b"\0" * 100, b"\xff" * 64])
def test_file_of_another_kind(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="is not a safetensors file"):
        load_checkpoint(path)


def test_safetensors_of_another_program(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}, metadata={"format": "pt"}))
    with pytest.raises(InputFileError, match="no description of a shufflec model"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(schema=99), "schema 99"),
        (lambda header: header.pop("recipe"), "no recipe"),
        (lambda header: header["architecture"].update(groups=7), "groups 7"),
        (lambda header: header["preprocessing"].update(std=[0, 1, 1]), "std"),
        (lambda header: header["preprocessing"].update(input_size=[32, 32]), "preprocessing"),
        (lambda header: header.update(class_names=["a"]), "4 class names"),
        (lambda header: header.update(random_weights="no"), "wrong type"),
        (lambda header: header["architecture"].update(variant="paper"), "missing fc.bias"),
        (lambda header: header["architecture"].update(groups=4, stem_channels=8), "is \\["),
    ],
)
def test_wrong_description(saved, change, message):
    with pytest.raises(InputFileError, match=message) as caught:
        load_checkpoint(_rewritten(saved, change))
    assert len(str(caught.value)) < 800


def test_wrong_weights_are_named(checkpoint, tmp_path):
    state = dict(checkpoint.state)
    del state["stem.conv.weight"]
    state["extra"] = torch.zeros(1)
    broken = type(checkpoint)(**{**vars(checkpoint), "state": state})
    with pytest.raises(OptionError, match=r"missing stem\.conv\.weight; unexpected extra"):
        broken.build()
    with pytest.raises(InputFileError, match=r"missing stem\.conv\.weight; unexpected extra"):
        load_checkpoint(save_checkpoint(tmp_path / "broken.safetensors", broken))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [(torch.full((4, 240), float("nan")), "not finite"), (torch.zeros(4, 240, dtype=torch.float16), "float16")],
)
def test_weights_of_another_type_or_not_finite(checkpoint, tmp_path, tensor, message):
    broken = type(checkpoint)(**{**vars(checkpoint), "state": {**checkpoint.state, "fc.weight": tensor}})
    with pytest.raises(InputFileError, match=message):
        load_checkpoint(save_checkpoint(tmp_path / "broken.safetensors", broken))


def test_another_variant_or_class_count_than_asked_for(checkpoint):
    check_matches("m", checkpoint, groups=3, scale=0.25, variant="megvii", classes=4, input_size=(32, 40))
    with pytest.raises(InputFileError, match=r"variant megvii instead of paper.*missing fc\.bias"):
        check_matches("m", checkpoint, variant="paper")
    with pytest.raises(InputFileError, match=r"classes 4 instead of 9.*fc.weight is \[4, 240\] instead of \[9, 240\]"):
        check_matches("m", checkpoint, classes=9)
    # These two have the same weights by name and shape: only the description tells them apart.
    with pytest.raises(InputFileError, match="variant megvii instead of mindcv"):
        check_matches("m", checkpoint, variant="mindcv")


def test_bundled_names():
    for groups in GROUPS:
        assert bundled_checkpoint(groups).name == f"shufflenet_v1_g{groups}_x0.25_digits.safetensors"
    with pytest.raises(OptionError, match="groups 5"):
        bundled_checkpoint(5)
