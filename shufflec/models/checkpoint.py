"""The checkpoint: one .safetensors file with the weights and all that is needed to use them.

The header's metadata has one key, "shufflec", with a JSON text: one key, because the order of several would not be
the same in every file. It holds no time and no path, so that the same training gives the same bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError
from shufflec.files import read_limited, write_atomic
from shufflec.models.architecture import GROUPS, Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.dead_channels import no_variance_note
from shufflec.models.families import AnyArchitecture, architecture_from_dict
from shufflec.models.networks import build

SCHEMA = 1
_KEY = "shufflec"
_MAX_BYTES = 1 << 30
_MAX_HEADER_BYTES = 16 << 20
_WHAT = "a checkpoint that `shufflec train` wrote"


@dataclass
class Checkpoint:
    """A trained (or, marked as such, an untrained) network.

    state: float32 tensors by their names in `ShuffleNetV1` or V2. recipe: how it was trained, plain JSON types.
    metrics: e.g. {"top1": 0.98, "top5": 1.0, "count": 360}. random_weights: True for an untrained network.
    """

    architecture: AnyArchitecture
    preprocessing: Preprocessing
    class_names: list[str]
    state: dict[str, torch.Tensor]
    recipe: dict[str, object] = field(default_factory=dict)
    metrics: dict[str, object] = field(default_factory=dict)
    seed: int = 0
    epochs: int = 0
    random_weights: bool = False
    torch_version: str = str(torch.__version__)

    def build(self) -> torch.nn.Module:
        """The network with these weights, in evaluation mode.

        Raises OptionError that names the keys that are missing, unexpected or of another shape.
        """
        with torch.random.fork_rng(devices=[]):
            model = build(self.architecture)
        check_state(self.architecture, model, self.state)
        # batch counters are no weights: batch norm only reads them while it trains.
        model.load_state_dict(self.state, strict=False)
        return model.eval()


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Detached copies of the parameters and the batch-norm statistics of `model`, without the batch counters."""
    state = model.state_dict()
    names = sorted(name for name in state if not name.endswith("num_batches_tracked"))
    return {name: state[name].detach().clone(memory_format=torch.contiguous_format) for name in names}


def check_state(arch: AnyArchitecture, model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Raises OptionError if `state` is not a set of weights for `model`; the message names the keys."""
    expected = {name: tuple(tensor.shape) for name, tensor in weights_of(model).items()}
    differences = []
    if missing := [name for name in expected if name not in state]:
        differences.append(f"missing {_listed(missing)}")
    if unexpected := [name for name in state if name not in expected]:
        differences.append(f"unexpected {_listed(unexpected)}")
    other = [
        f"{name} is {list(tensor.shape)} instead of {list(expected[name])}"
        for name, tensor in state.items()
        if name in expected and tuple(tensor.shape) != expected[name]
    ]
    if other:
        differences.append(_listed(other))
    if differences:
        raise OptionError("weights", f"do not fit {arch}", "; ".join(differences))


def check_values(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Raises InputFileError for a weight that is not float32 or not finite, and for a negative variance."""
    for name, tensor in state.items():
        if tensor.dtype != torch.float32:
            raise InputFileError(path, f"weight {name} is {tensor.dtype}, expected float32")
        if not bool(torch.isfinite(tensor).all()):
            raise InputFileError(path, f"weight {name} has values that are not finite", "train it again")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise InputFileError(path, f"weight {name} has a negative variance", "train it again")


def variance_note(state: Mapping[str, torch.Tensor]) -> str | None:
    """One sentence on batch norms that have channels without any variance; None where there are none.

    Such a channel was dead in training. Batch norm divides by the root of its epsilon then, which folding makes part of
    the weights; where these are zero too, nothing comes of it.
    """
    channels = []
    for name in sorted(state):
        norm = name.removesuffix(".running_var")
        stem, _, last = norm.rpartition(".")
        weight, gamma = state.get(f"{stem}.{last.replace('bn', 'conv')}.weight"), state.get(f"{norm}.weight")
        if norm != name and weight is not None and gamma is not None:
            grows = (state[name] == 0) & (gamma != 0) & weight.flatten(1).any(dim=1)
            channels += [(norm, int(channel)) for channel in grows.nonzero()]
    return no_variance_note(channels)


def check_matches(
    path: str | Path,
    checkpoint: Checkpoint,
    *,
    groups: int | None = None,
    scale: float | None = None,
    variant: str | None = None,
    classes: int | None = None,
    input_size: tuple[int, int] | None = None,
) -> None:
    """Raises InputFileError if the checkpoint is not what a caller asked for; None stands for no wish.

    The message names each property that differs and the weights that the difference shows in.
    """
    arch = checkpoint.architecture
    wishes = {"groups": groups, "scale": scale, "variant": variant, "classes": classes, "input_size": input_size}
    wishes = {name: value for name, value in wishes.items() if value is not None}
    differing = {name: value for name, value in wishes.items() if getattr(arch, name) != value}
    if not differing:
        return
    pairs = ", ".join(f"{name} {getattr(arch, name)} instead of {value}" for name, value in differing.items())
    if isinstance(arch, ArchitectureV2) and groups is not None:
        raise InputFileError(path, f"is a {arch}, which has no groups", "leave --groups out")
    plain = {"stem_channels": None} if isinstance(arch, Architecture) else {}
    wanted = type(arch)(**{**_fields(arch), **plain, **wishes})
    keys = ""
    try:
        with torch.random.fork_rng(devices=[]):
            check_state(wanted, build(wanted), checkpoint.state)
    except OptionError as error:
        keys = f"; in its weights: {str(error).split(': ', 1)[1]}"
    hint = "leave those options out to take the checkpoint's own, or train a checkpoint with them"
    raise InputFileError(path, f"holds {pairs}{keys}", hint)


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Writes the checkpoint, atomically; equal checkpoints give equal bytes. Raises NoSpaceError."""
    header = {
        "schema": SCHEMA,
        "architecture": checkpoint.architecture.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "class_names": list(checkpoint.class_names),
        "recipe": checkpoint.recipe,
        "metrics": checkpoint.metrics,
        "seed": checkpoint.seed,
        "epochs": checkpoint.epochs,
        "random_weights": checkpoint.random_weights,
        "torch": checkpoint.torch_version,
    }
    state = {name: checkpoint.state[name].contiguous() for name in sorted(checkpoint.state)}
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return write_atomic(path, safetensors.torch.save(state, metadata={_KEY: text}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint and checks all of it, weights against architecture included.

    Raises InputFileError when the file is missing, truncated, corrupt, of another kind or inconsistent.
    """
    path = Path(path)
    data = read_limited(path, _MAX_BYTES, _WHAT)
    header = _read_header(path, data)
    try:
        state = dict(sorted(safetensors.torch.load(data).items()))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputFileError(path, f"is truncated or corrupt: {_one_line(error)}", "copy or train it again") from error
    check_values(path, state)
    checkpoint = _checkpoint_from(path, header, state)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = build(checkpoint.architecture)
    try:
        check_state(checkpoint.architecture, model, state)
    except OptionError as error:
        raise InputFileError(path, str(error)) from error
    return checkpoint


def bundled_checkpoint(groups: int) -> Path:
    """The shipped checkpoint for that number of groups: 0.25x, paper variant, digits at 32x32.

    Raises OptionError for a number of groups without one.
    """
    if groups not in GROUPS:
        raise OptionError("groups", groups, f"expected one of {', '.join(map(str, GROUPS))}")
    return Path(__file__).resolve().parent / "bundled" / f"shufflenet_v1_g{groups}_x0.25_digits.safetensors"


def _read_header(path: Path, data: bytes) -> dict[str, object]:
    """The JSON under our key of the safetensors header: 8 bytes length, then that many bytes of JSON."""
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 0 < length <= min(_MAX_HEADER_BYTES, len(data) - 8):
        raise InputFileError(path, "is not a safetensors file, or is truncated", f"expected {_WHAT}")
    try:
        text = json.loads(data[8 : 8 + length])["__metadata__"][_KEY]
        header = json.loads(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputFileError(path, "has no description of a shufflec model", f"expected {_WHAT}") from error
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        found = header.get("schema") if isinstance(header, dict) else None
        raise InputFileError(path, f"has checkpoint schema {found}, this shufflec reads {SCHEMA}")
    return header


def _checkpoint_from(path: Path, header: dict[str, object], state: dict[str, torch.Tensor]) -> Checkpoint:
    try:
        arch = architecture_from_dict(header["architecture"])
        preprocessing = Preprocessing.from_dict(header["preprocessing"])
        names, recipe, metrics = header["class_names"], header["recipe"], header["metrics"]
        seed, epochs, random_weights = header["seed"], header["epochs"], header["random_weights"]
        torch_version = header["torch"]
    except KeyError as error:
        raise InputFileError(path, f"its description has no {error.args[0]}") from error
    except OptionError as error:
        raise InputFileError(path, f"its description is wrong: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) != arch.classes:
        raise InputFileError(path, f"its description has no list of {arch.classes} class names")
    if preprocessing.input_size != arch.input_size:
        raise InputFileError(path, f"its preprocessing makes {preprocessing.input_size}, not {arch.input_size}")
    kinds = ((recipe, dict), (metrics, dict), (seed, int), (epochs, int), (random_weights, bool), (torch_version, str))
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise InputFileError(path, "its description has a value of the wrong type")
    return Checkpoint(arch, preprocessing, names, state, recipe, metrics, seed, epochs, random_weights, torch_version)


def _fields(arch: AnyArchitecture) -> dict[str, object]:
    return {name: value for name, value in arch.to_dict().items() if name != "family"} | {"input_size": arch.input_size}


def _listed(names: list[str], most: int = 4) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
