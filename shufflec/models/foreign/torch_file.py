"""Weights from a file that torch.save wrote (.pth, .pt, .pth.tar), without running anything in it.

Such a file is a pickle beside raw numbers. torch's restricted reader (`weights_only`) builds tensors and plain
containers and refuses everything else; before it starts, the sizes that the file declares are held against its own.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from shufflec.errors import InputFileError
from shufflec.files import read_limited

WHAT = "a PyTorch checkpoint"
MAX_BYTES = 1 << 30
_MAX_PICKLE_BYTES = 64 << 20
_LEGACY_PICKLES = 5  # magic number, version, system, the object itself, the keys of its storages
_INTEGERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
#: Where training scripts keep the weights, the preferred first: an average of weights is what gets published.
_HOLDERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "weights")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def is_torch_file(start: bytes) -> bool:
    """Whether a file with these first bytes may be torch.save's: a zip archive, or a pickle of protocol 2 up."""
    return start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05")


def read_torch_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The weights in a file: float32 tensors by name, without `module.` in front and without counters.

    The weights may be the file's object itself or lie in it under a usual name (state_dict, model, ...).
    Raises InputFileError for a file that is missing, larger than 1 GiB, truncated or corrupt, that would run code,
    declares more than it holds, or has no weights.
    """
    path = Path(path)
    data = read_limited(path, MAX_BYTES, WHAT)
    for text in _pickles(path, data):
        _check_sizes(path, text, len(data))
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, IndexError, OSError) as error:
        raise InputFileError(path, "is truncated or corrupt", f"expected {WHAT}; copy it again") from error
    return _floats(path, _weights_in(path, content))


def _pickles(path: Path, data: bytes) -> list[bytes]:
    """The pickled parts of a file, unread."""
    if data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                entries = archive.infolist()
                packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
                if packed or sum(entry.file_size for entry in entries) > len(data):
                    raise InputFileError(path, "is a compressed archive, which torch.save never writes", "refused")
                return [archive.read(entry) for entry in entries if entry.filename.endswith("data.pkl")]
        except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
            raise InputFileError(path, "is truncated or corrupt", f"expected {WHAT}; copy it again") from error
    stream, parts = io.BytesIO(data), []
    for _ in range(_LEGACY_PICKLES):
        start = stream.tell()
        try:
            for _operation, _argument, position in pickletools.genops(stream):
                if position - start > _MAX_PICKLE_BYTES:
                    raise InputFileError(path, "holds an object that no checkpoint has", "refused")
        except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
            raise InputFileError(path, "is truncated, or no checkpoint", f"expected {WHAT}") from error
        parts.append(data[start : stream.tell()])
    return parts


def _check_sizes(path: Path, text: bytes, limit: int) -> None:
    """Refuses a storage that is declared to be longer than the whole file: it would be allocated first.

    A storage is a persistent id, whose last number is its length.
    """
    count = 0
    try:
        for operation, argument, _position in pickletools.genops(text):
            if operation.name in _INTEGERS:
                count = argument
            if operation.name.endswith("PERSID") and not 0 <= count <= limit:
                raise InputFileError(path, f"declares {count} numbers in a file of {limit} bytes: it is corrupt")
    except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise InputFileError(path, "is truncated or corrupt", f"expected {WHAT}; copy it again") from error


def _refusal(path: Path, error: Exception) -> InputFileError:
    wants = re.search(r"(?:GLOBAL|global:?)\s+([\w.]+)", str(error))
    if wants:
        return InputFileError(
            path,
            f"wants to run or build {wants[1]} when it is read; only weights are read",
            "save it again as torch.save(model.state_dict(), path)",
        )
    return InputFileError(path, "is truncated, corrupt, or holds more than weights", f"expected {WHAT}")


def _weights_in(path: Path, content: object) -> Mapping[str, torch.Tensor]:
    found = content
    if isinstance(content, Mapping):
        holder = next((name for name in _HOLDERS if isinstance(content.get(name), Mapping)), None)
        found = content[holder] if holder else content
    weights = {}
    if isinstance(found, Mapping):
        weights = {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
    if not weights or not all(isinstance(name, str) for name in weights):
        raise InputFileError(path, "holds no weights", "expected a state dict, or one under the name state_dict")
    return weights


def _floats(path: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    total = 0
    for name, tensor in weights.items():
        if tensor.dtype not in _FLOATS or tensor.is_sparse:
            continue  # counters of batches and the like
        # A view may repeat a few stored numbers without end.
        total += tensor.numel() * 4
        if total > MAX_BYTES:
            raise InputFileError(path, f"has more than {MAX_BYTES} bytes of weights")
        state[name.removeprefix("module.")] = tensor.detach().to(torch.float32).contiguous()
    return state
