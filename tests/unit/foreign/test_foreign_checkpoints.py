"""Checkpoints that other projects wrote: logits of the original implementation, and every way a file can be wrong."""

from __future__ import annotations

import io
import lzma
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from shufflec.errors import InputFileError, UnsupportedModelError
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.foreign import torch_file
from shufflec.models.foreign.load import open_checkpoint
from shufflec.models.foreign.mindspore_file import checkpoint_message
from shufflec.models.foreign.names_v2 import NAMINGS_V2
from shufflec.models.random_weights import random_checkpoint

HERE = Path(__file__).parent
MEGVII, MINDCV = "megvii_g8_05.pth.tar", "mindcv_g3_05.ckpt"
# What ShuffleNet-Series (torch 2.13) and mindcv 0.3.0 (MindSpore 2.10) return for `image`.
MEGVII_224 = [
    0.8727898, 1.8722899, 0.2238933, -2.2605476, -1.1030436,
    -0.6645918, 1.1733186, 1.8894422, 0.6398704, -1.7894467,
]  # fmt: skip
MINDCV_64 = [
    1.4256139, 1.3324147, -0.0420576, -0.8995200, -1.7250923,
    -0.1868832, 1.1425890, 1.2389981, 0.0704834, -1.3429213,
]  # fmt: skip
MINDCV_47_95 = [
    1.2519684, 1.3419034, 0.0915449, -0.9159024, -1.6142488,
    -0.1922553, 1.0212605, 1.1938777, 0.1815991, -1.2617030,
]  # fmt: skip


def image(height, width):
    """The input that the original implementations were given: float32 [1, 3, height, width]."""
    index = np.arange(3 * height * width)
    values = (((index * 53 + index // 7) % 97) - 48) / 48
    return torch.from_numpy(values.astype(np.float32).reshape(1, 3, height, width))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in (MEGVII, MINDCV):
        (folder / name).write_bytes(lzma.decompress((HERE / f"{name}.xz").read_bytes()))
    return folder


def _logits(checkpoint, size):
    with torch.no_grad():
        return checkpoint.build()(image(*size))[0].numpy()


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [(MEGVII, (224, 224), MEGVII_224), (MINDCV, (64, 64), MINDCV_64), (MINDCV, (47, 95), MINDCV_47_95)],
)
def test_logits_are_the_original_implementations(files, name, size, expected):
    opened = open_checkpoint(files / name, size)
    np.testing.assert_allclose(_logits(opened.checkpoint, size), expected, atol=1e-4)


def _renamed(arch, naming, folder, drop=()):
    """A checkpoint of ours as another implementation would have saved it: the path, and ours."""
    checkpoint = random_checkpoint(arch)
    names = naming.theirs(arch)
    state = {names[ours]: tensor for ours, tensor in checkpoint.state.items() if names[ours] not in drop}
    path = folder / f"{naming.variant}.pth"
    torch.save(state | {f"{name}.num_batches_tracked": torch.tensor(7) for name in ("x", "y")}, path)
    return path, checkpoint


@pytest.mark.parametrize("naming", NAMINGS_V2, ids=lambda naming: naming.variant)
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_shufflenet_v2_of_both_projects(tmp_path, naming, scale):
    path, expected = _renamed(ArchitectureV2(scale, naming.variant, 5, 64), naming, tmp_path)
    opened = open_checkpoint(path, (64, 64))
    assert opened.checkpoint.architecture == expected.architecture
    assert all(torch.equal(opened.checkpoint.state[name], tensor) for name, tensor in expected.state.items())
    assert opened.checkpoint.preprocessing.channel_order == ("BGR" if naming.variant == "megvii" else "RGB")


def test_torchvisions_names_are_those_of_its_source():
    # torchvision 0.28, models/shufflenetv2.py: the first and last of its state dict, and a branch of each kind.
    names = set(NAMINGS_V2[0].theirs(ArchitectureV2(1.0)).values())
    assert {"conv1.0.weight", "conv1.1.running_mean", "stage2.0.branch1.2.weight", "stage3.7.branch2.6.bias"} <= names
    assert {"stage4.3.branch2.3.weight", "conv5.0.weight", "conv5.1.running_var", "fc.weight", "fc.bias"} <= names
    assert len(names) == 56 * 5 + 2


def test_a_shufflenet_v2_with_a_weight_missing_is_named(tmp_path):
    arch = ArchitectureV2(0.5, "torchvision", 5, 64)
    path, _ = _renamed(arch, NAMINGS_V2[0], tmp_path, drop=("stage3.4.branch2.3.weight",))
    with pytest.raises(InputFileError, match=r"looks like ShuffleNetV2 0\.5x .* lacks stage3\.4\.branch2\.3\.weight"):
        open_checkpoint(path)


def test_what_a_file_is_and_why(files):
    opened = open_checkpoint(files / MEGVII)
    arch = opened.checkpoint.architecture
    assert (arch.variant, arch.groups, arch.scale, arch.classes, arch.stem) == ("megvii", 8, 0.5, 10, 16)
    assert opened.format == "PyTorch checkpoint"
    assert "settles the variant: megvii" in opened.recognition.reasons[0]
    assert opened.checkpoint.preprocessing.channel_order == "BGR"
    assert any("--input-size" in note for note in opened.notes)
    assert not any("--input-size" in note for note in open_checkpoint(files / MEGVII, (128, 128)).notes)
    arch = open_checkpoint(files / MINDCV).checkpoint.architecture
    assert (arch.variant, arch.groups, arch.scale, arch.stem) == ("mindcv", 3, 0.5, 12)


@pytest.mark.parametrize("layout", ["plain", "zip", "module", "half", "named model"])
def test_every_layout_of_a_torch_file_gives_the_same_weights(files, tmp_path, layout):
    expected = open_checkpoint(files / MEGVII).checkpoint.state
    state = torch_file.read_torch_state(files / MEGVII)
    path = tmp_path / "again.pth"
    if layout == "half":
        state = {name: tensor.half() if tensor.dim() == 1 else tensor for name, tensor in state.items()}
    if layout == "module":
        state = {f"module.{name}": tensor for name, tensor in state.items()}
    held = {"model": state, "epoch": 3} if layout == "named model" else state
    torch.save(held, path, _use_new_zipfile_serialization=layout != "plain")
    read = open_checkpoint(path).checkpoint.state
    tolerance = 1e-3 if layout == "half" else 0
    for name, tensor in expected.items():
        torch.testing.assert_close(read[name], tensor, atol=tolerance, rtol=tolerance)


def _mindspore(path):
    message = checkpoint_message()()
    message.ParseFromString(path.read_bytes())
    return message


def test_older_mindspore_releases_split_a_grouped_convolution(files, tmp_path):
    message, split = _mindspore(files / MINDCV), checkpoint_message()()
    for value in message.value:
        dims = list(value.tensor.dims)
        if len(dims) != 4 or dims[1] == 1 or "features" not in value.tag or value.tag.startswith("features.0."):
            split.value.append(value)
            continue
        stem = value.tag.removesuffix(".weight")
        for group, part in enumerate(np.split(np.frombuffer(value.tensor.content, "<f4").reshape(dims), 3)):
            one = split.value.add(tag=f"{stem}.convs.{group}.weight")
            one.tensor.dims.extend(part.shape)
            one.tensor.type, one.tensor.content = "Float32", part.tobytes()
    path = tmp_path / "older.ckpt"
    path.write_bytes(split.SerializeToString())
    assert any(".convs.2." in value.tag for value in split.value)
    expected, read = open_checkpoint(files / MINDCV).checkpoint.state, open_checkpoint(path).checkpoint.state
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())


def test_a_mindspore_checksum_at_the_end_is_no_part_of_the_weights(files, tmp_path):
    path = tmp_path / "crc.ckpt"
    path.write_bytes((files / MINDCV).read_bytes() + b"crc_num" + (123).to_bytes(10, "big"))
    assert open_checkpoint(path).checkpoint.architecture.groups == 3


class _Evil:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_wants_to_run_code_is_refused(tmp_path, zipped):
    place, path = tmp_path / "ran", tmp_path / "evil.pth"
    torch.save(
        {"state_dict": {"a": torch.ones(2)}, "x": _Evil(str(place))}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(InputFileError, match=r"wants to run or build posix\.mkdir"):
        open_checkpoint(path)
    assert not place.exists()


def test_a_bare_pickle_is_refused(tmp_path):
    place, path = tmp_path / "ran", tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(_Evil(str(place)), protocol=2))
    with pytest.raises(InputFileError):
        open_checkpoint(path)
    assert not place.exists()


def test_a_storage_larger_than_the_file_is_not_allocated(tmp_path):
    path = tmp_path / "huge.pth"
    torch.save({"a": torch.ones(100)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"K\x64") >= 1  # the hundred numbers of the storage
    path.write_bytes(data.replace(b"X\x03\x00\x00\x00cpuq\x06K\x64", b"X\x03\x00\x00\x00cpuq\x06J\x00\x00\x00\x70"))
    assert path.read_bytes() != data
    with pytest.raises(InputFileError, match="declares 1879048192 numbers"):
        open_checkpoint(path)


def test_a_view_that_repeats_a_number_is_not_spread_out(tmp_path):
    path = tmp_path / "view.pth"
    torch.save({"a": torch.ones(1).expand(1 << 30)}, path)
    with pytest.raises(InputFileError, match="bytes of weights"):
        open_checkpoint(path)


def test_a_compressed_archive_is_refused(files, tmp_path):
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save(torch_file.read_torch_state(files / MEGVII), plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(InputFileError, match="compressed archive"):
        open_checkpoint(packed)


def test_a_file_above_the_limit_is_not_read(files, monkeypatch):
    monkeypatch.setattr(torch_file, "MAX_BYTES", 1000)
    with pytest.raises(InputFileError, match="more than the 1000 allowed"):
        open_checkpoint(files / MEGVII)


@pytest.mark.parametrize("name", [MEGVII, MINDCV])
@pytest.mark.parametrize("part", [0.001, 0.3, 0.999])
def test_a_truncated_file_is_an_error(files, tmp_path, name, part):
    data = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputFileError):
        open_checkpoint(path)


def _saved(tmp_path, files, change):
    state = torch_file.read_torch_state(files / MEGVII)
    change(state)
    path = tmp_path / "changed.pth"
    torch.save(state, path)
    return path


def _nan(state):
    state["features.3.branch_main_2.0.weight"][0] = float("nan")


def _negative_variance(state):
    state["first_conv.1.running_var"][0] = -1.0


def _missing(state):
    del state["features.9.branch_main_1.4.bias"]


def _extra(state):
    state["features.9.branch_main_1.9.weight"] = torch.ones(3)


def _foreign(state):
    state.clear()
    state["layer1.0.conv1.weight"] = torch.ones(4, 4, 1, 1)


def _wrong_shape(state):
    state["features.5.branch_main_1.3.weight"] = torch.ones(7, 1, 3, 3)


def _flat(state):
    state["first_conv.0.weight"] = torch.ones(3)


def _odd_groups(state):
    state["features.1.branch_main_1.0.weight"] = torch.ones(48, 5, 1, 1)


def _wide(state):
    state["features.1.branch_main_1.0.weight"] = torch.ones(48, 1000, 1, 1)
    state["features.1.branch_main_2.0.weight"] = torch.ones(8000, 1, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nan, "stage2.3.conv3.weight has values that are not finite"),
        (_negative_variance, "stem.bn.running_var has a negative variance"),
        (_missing, r"lacks features\.9\.branch_main_1\.4\.bias"),
        (_extra, r"has features\.9\.branch_main_1\.9\.weight, which the network has not"),
        (_foreign, "no known ShuffleNet: layer1.0.conv1.weight"),
        (_wrong_shape, "conv2"),
        (_flat, "expected 4 dimensions"),
        (_odd_groups, "no ShuffleNetV1"),
        (_wide, "which no width"),
    ],
)
def test_weights_that_do_not_fit_are_named(files, tmp_path, change, message):
    with pytest.raises(InputFileError, match=message):
        open_checkpoint(_saved(tmp_path, files, change))


def _no_variance(state):
    state["first_conv.1.running_var"].zero_()
    state["features.3.branch_main_1.4.running_var"][5] = 0


def test_a_batch_norm_without_variance_still_gives_numbers_and_is_said(files, tmp_path):
    opened = open_checkpoint(_saved(tmp_path, files, _no_variance), (64, 64))
    assert np.isfinite(_logits(opened.checkpoint, (64, 64))).all()
    # 16 of the stem and one more.
    assert opened.notes[-1].startswith(
        "17 batch-norm channels have no variance, the first is channel 5 of stage2.3.bn2"
    )
    assert not any("variance" in note for note in open_checkpoint(files / MEGVII).notes)


def test_a_dead_channel_without_variance_is_nothing_to_speak_of(files, tmp_path):
    def dead(state):
        state["first_conv.1.running_var"][2] = 0
        state["first_conv.0.weight"][2] = 0

    assert not any("variance" in note for note in open_checkpoint(_saved(tmp_path, files, dead)).notes)


def test_a_class_count_out_of_range_is_unsupported(files, tmp_path):
    def one_class(state):
        state["classifier.0.weight"] = state["classifier.0.weight"][:1]

    with pytest.raises(UnsupportedModelError, match="classes"):
        open_checkpoint(_saved(tmp_path, files, one_class))


def test_a_state_dict_without_weights_is_an_error(tmp_path):
    path = tmp_path / "empty.pth"
    torch.save({"epoch": 3}, path)
    with pytest.raises(InputFileError, match="holds no weights"):
        open_checkpoint(path)


def test_a_suffix_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputFileError, match="not a checkpoint by its name"):
        open_checkpoint(tmp_path / "model.txt")


def test_random_bytes_are_an_error(tmp_path):
    for seed in range(20):
        path = tmp_path / f"noise{seed}.ckpt"
        path.write_bytes(np.random.default_rng(seed).bytes(500))
        with pytest.raises(InputFileError):
            open_checkpoint(path)
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    (tmp_path / "list.pt").write_bytes(buffer.getvalue())
    with pytest.raises(InputFileError, match="holds no weights"):
        open_checkpoint(tmp_path / "list.pt")
