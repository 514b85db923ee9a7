"""Weights from a MindSpore checkpoint (.ckpt), read without MindSpore.

The file is one protobuf message (mindspore/ccsrc/utils/checkpoint.proto): a list of named tensors, each with its
dimensions, the name of its type and its bytes. `save_checkpoint(crc_check=True)` adds "crc_num" and ten bytes.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from shufflec.errors import InputFileError
from shufflec.files import read_limited

WHAT = "a MindSpore checkpoint"
MAX_BYTES = 1 << 30
_CRC_MARK, _CRC_BYTES = b"crc_num", 10
_TYPES = {"Float32": np.dtype("<f4"), "Float16": np.dtype("<f2"), "Float64": np.dtype("<f8")}
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@cache
def checkpoint_message() -> type:
    """The protobuf class of the whole file."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="shufflec/mindspore_checkpoint.proto", package="shufflec.mindspore")
    file.message_type.add(name="Tensor").field.extend(
        [
            field(name="dims", number=1, label=field.LABEL_REPEATED, type=field.TYPE_INT64),
            field(name="type", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING),
            field(name="content", number=3, label=field.LABEL_OPTIONAL, type=field.TYPE_BYTES),
        ]
    )
    tensor, value = ".shufflec.mindspore.Tensor", ".shufflec.mindspore.Value"
    file.message_type.add(name="Value").field.extend(
        [
            field(name="tag", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING),
            field(name="tensor", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=tensor),
        ]
    )
    file.message_type.add(name="Checkpoint").field.append(
        field(name="value", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE, type_name=value)
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shufflec.mindspore.Checkpoint"))


def read_mindspore_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The weights in a file: float32 tensors by name, batch norm's under torch's names (weight, running_mean, ...).

    A grouped convolution that an older release split into `NAME.convs.0.weight`, `.1.`, ... is put together again.
    Raises InputFileError for a file that is missing, larger than 1 GiB, truncated, corrupt, or of another kind.
    """
    path = Path(path)
    data = read_limited(path, MAX_BYTES, WHAT)
    if data[-len(_CRC_MARK) - _CRC_BYTES :].startswith(_CRC_MARK):
        data = data[: -len(_CRC_MARK) - _CRC_BYTES]
    message = checkpoint_message()()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InputFileError(path, "is truncated, corrupt, or of another kind", f"expected {WHAT}") from error
    state = {}
    for value in message.value:
        if value.tensor.type in _TYPES:
            state[_torch_name(value.tag)] = _tensor(path, value)
    if not state:
        raise InputFileError(path, "holds no weights", f"expected {WHAT}")
    return _whole_convolutions(path, state)


def _tensor(path: Path, value) -> torch.Tensor:
    dims, kind = list(value.tensor.dims), _TYPES[value.tensor.type]
    if any(dim < 0 for dim in dims) or math.prod(dims) * kind.itemsize != len(value.tensor.content):
        count = len(value.tensor.content)
        raise InputFileError(path, f"weight {value.tag[:80]} has {count} bytes for shape {dims}: the file is corrupt")
    array = np.frombuffer(value.tensor.content, kind).reshape(dims)
    return torch.from_numpy(array.astype(np.float32))


def _torch_name(tag: str) -> str:
    stem, _, last = tag.rpartition(".")
    return f"{stem}.{_NORM[last]}" if last in _NORM else tag


def _whole_convolutions(path: Path, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`X.convs.k.weight` for k = 0, 1, ... as one `X.weight`, joined along the output channels."""
    parts: dict[str, dict[int, torch.Tensor]] = {}
    whole = {}
    for name, tensor in state.items():
        stem, split, rest = name.partition(".convs.")
        index, _, last = rest.partition(".")
        if split and index.isdecimal() and len(index) <= 3 and last == "weight":
            parts.setdefault(f"{stem}.weight", {})[int(index)] = tensor
        else:
            whole[name] = tensor
    for name, tensors in parts.items():
        shapes = {tuple(tensor.shape[1:]) for tensor in tensors.values()}
        if sorted(tensors) != list(range(len(tensors))) or len(shapes) != 1 or name in whole:
            raise InputFileError(path, f"has only some groups of {name[:80]}, or groups of different shapes")
        whole[name] = torch.cat([tensors[index] for index in range(len(tensors))])
    return whole
