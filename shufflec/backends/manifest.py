"""manifest.json of a bundle: what was compiled, for what, with what, and the SHA-256 of every file.

report.json and report.html are not listed: they are made from the rest, and profiling replaces them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Literal

from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError
from shufflec.files import read_limited
from shufflec.models.families import AnyArchitecture, architecture_from_dict
from shufflec.targets.target import Target
from shufflec.validate import ValidationError, build

SCHEMA = 4
FILE_NAME = "manifest.json"
_MAX_BYTES = 16 << 20
_MAX_VALUES = 1 << 28  # of one tensor


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle. bytes: its size; sha256: 64 hexadecimal digits."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Numerics:
    """rule: name of the rounding rule (ir/numerics.py); bound: its distance from exact rounding, in words."""

    rule: str
    bound: str


@dataclass(frozen=True)
class ShuffleSite:
    """A folded channel shuffle: the convolution whose write does it, its rows, and (H, W, C) of the tensor."""

    layer: str
    rows: int
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Shuffle:
    """Channel shuffles of the network: found, folded into a convolution, left as copies."""

    found: int
    folded: int
    copies_left: int
    sites: tuple[ShuffleSite, ...]


@dataclass(frozen=True)
class LayerEntry:
    """A layer of the library, by index. output_shape: (H, W, C); kernels: family of each step; tilings likewise."""

    name: str
    kind: str
    tensor: str
    output_shape: tuple[int, int, int]
    output_dtype: Literal["int8", "int32", "float32"]
    macs: int
    weight_bytes: int
    kernels: tuple[str, ...]
    tilings: tuple[str, ...]


@dataclass(frozen=True)
class BufferEntry:
    """A buffer of the arena. offset, bytes; first, last: the layers that it lives from and to."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Memory:
    """arena_bytes: what activations take; lower_bound_bytes: the most that is alive at one moment.

    stack_bytes: worst case of one inference, computed from a firmware's code; None for targets with an OS.
    """

    arena_bytes: int
    lower_bound_bytes: int
    stack_bytes: int | None
    buffers: tuple[BufferEntry, ...]


@dataclass(frozen=True)
class Schedules:
    """Where tilings came from. tunable: layers whose kernels have more than one; tuned: those that took them from
    records; files: how many from each file of records."""

    tunable: int
    tuned: int
    files: dict[str, int]


@dataclass(frozen=True)
class Accuracy:
    """Fractions between 0 and 1 on a labelled data set; None where not measured."""

    float_top1: float | None
    float_top5: float | None
    int8_top1: float | None
    int8_top5: float | None
    images: int
    data: str


@dataclass(frozen=True)
class Contents:
    """The manifest but for architecture and preprocessing, which have readers of their own."""

    schema: int
    name: str
    class_names: tuple[str, ...]
    random_weights: bool
    input_shape: tuple[int, int, int, int]
    output_shape: tuple[int, int]
    target: Target
    numerics: Numerics
    fold_shuffle: bool
    shuffle: Shuffle
    macs: int
    weight_bytes: int
    code_bytes: int
    layers: tuple[LayerEntry, ...]
    memory: Memory
    schedules: Schedules
    accuracy: Accuracy | None
    tools: dict[str, str]
    library: str
    files: dict[str, FileEntry]


@dataclass(frozen=True)
class Manifest:
    """A whole manifest; architecture is None for a network that shufflec did not build."""

    contents: Contents
    architecture: AnyArchitecture | None
    preprocessing: Preprocessing

    def to_json(self) -> str:
        """Text of manifest.json; equal manifests give equal text."""
        architecture = self.architecture.to_dict() if self.architecture is not None else None
        value = asdict(self.contents) | {"architecture": architecture, "preprocessing": self.preprocessing.to_dict()}
        return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Reads and validates a bundle's manifest.

    Raises InputFileError that names the first wrong place; it is untrusted like every file from outside.
    """
    path = folder / FILE_NAME
    data = read_limited(path, _MAX_BYTES, "the manifest of a bundle")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputFileError(path, f"is not JSON: {error}", "compile the model again") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        found = str(value.get("schema"))[:20] if isinstance(value, dict) else "none"
        raise InputFileError(path, f"has schema {found}, this shufflec reads {SCHEMA}", "compile the model again")
    architecture, preprocessing = value.pop("architecture", None), value.pop("preprocessing", None)
    try:
        manifest = Manifest(
            build(Contents, value, "manifest"),
            architecture_from_dict(architecture) if architecture is not None else None,
            Preprocessing.from_dict(preprocessing),
        )
        _check(manifest)
    except (ValidationError, OptionError) as error:
        raise InputFileError(path, str(error), "compile the model again") from error
    return manifest


def _check(manifest: Manifest) -> None:
    """Consistency that types alone do not give. Raises ValidationError."""
    contents = manifest.contents
    if contents.input_shape != (1, 3, *manifest.preprocessing.input_size):
        raise ValidationError(f"manifest.input_shape is {contents.input_shape}, which the preprocessing does not make")
    if contents.output_shape != (1, len(contents.class_names)):
        raise ValidationError(
            f"manifest.output_shape is {contents.output_shape}, expected (1, {len(contents.class_names)}): one a class"
        )
    shapes = [contents.input_shape, *(layer.output_shape for layer in contents.layers)]
    for shape in shapes:
        if not 0 < prod(shape) <= _MAX_VALUES:
            raise ValidationError(f"manifest has a tensor of shape {shape}, expected 1 to {_MAX_VALUES} values")
    for buffer in contents.memory.buffers:
        if not buffer.first <= buffer.last < len(contents.layers):
            raise ValidationError(f"manifest: buffer {buffer.name} lives in layers that are not there")
        if buffer.offset + buffer.bytes > contents.memory.arena_bytes:
            raise ValidationError(f"manifest: buffer {buffer.name} ends behind the arena")
