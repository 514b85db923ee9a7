"""The training state on disk: what a run that was stopped needs to go on, bit for bit."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError
from shufflec.files import read_limited, write_atomic
from shufflec.models.families import AnyArchitecture
from shufflec.training.recipe import Recipe

_SCHEMA = 2
_MAX_BYTES = 4 << 30
_PARTS = ("epoch", "model", "optimizer", "scaler", "ema")
_RESTART = "start over with --restart, or choose another -o"


def state_path(output: str | Path) -> Path:
    """Where the state of the run that will write `output` lies: beside it."""
    output = Path(output)
    return output.with_name(output.name + ".training")


def fingerprint(
    arch: AnyArchitecture, preprocessing: Preprocessing, recipe: Recipe, seed: int, train: Dataset, place: str
) -> dict[str, str]:
    """What must be equal for a run to be continued, in words that an error can show. place: processes, device and
    precision."""
    labels = hashlib.sha256(train.labels.tobytes() + "\0".join(train.class_names).encode()).hexdigest()[:16]
    return {
        "architecture": json.dumps(arch.to_dict(), sort_keys=True),
        "preprocessing": json.dumps(preprocessing.to_dict(), sort_keys=True),
        "recipe": json.dumps(recipe.to_dict(), sort_keys=True),
        "seed": str(seed),
        "data": f"{len(train)} images, {labels}",
        "number of processes, device or precision": place,
        "torch": str(torch.__version__),  # it is a class of its own, which a safe load refuses
    }


@dataclass
class TrainingState:
    """After `epoch` whole epochs: the state dicts of the model, the optimizer, the gradient scaler and the moving
    average; {} where there is no average.
    """

    epoch: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, object]
    scaler: dict[str, object]
    ema: dict[str, object]


def save_state(path: Path, run: dict[str, str], state: TrainingState) -> None:
    """Writes the state atomically: a kill at any time leaves the state of this epoch or of the one before."""
    buffer = io.BytesIO()
    torch.save({"schema": _SCHEMA, "run": run, **{name: getattr(state, name) for name in _PARTS}}, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path, run: dict[str, str]) -> TrainingState | None:
    """The state at `path`, or None where there is none.

    Raises InputFileError when the file is damaged or is the state of another run; the message says what differs.
    """
    if not path.exists():
        return None
    data = read_limited(path, _MAX_BYTES, "a training state")
    try:
        content = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        schema, found = content["schema"], content["run"]
        state = None
        if schema == _SCHEMA:
            state = TrainingState(**{name: content[name] for name in _PARTS})
            state.epoch = int(state.epoch)
            if not isinstance(found, dict) or state.epoch < 0:
                raise ValueError
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise InputFileError(path, "is not a training state, or is damaged", _RESTART) from error
    if state is None:
        raise InputFileError(path, f"has training state schema {schema}, this shufflec reads {_SCHEMA}", _RESTART)
    differing = [name for name in run if found.get(name) != run[name]]
    if differing:
        raise InputFileError(path, f"is of a run with another {', '.join(differing)}", _RESTART)
    return state
