"""A checkpoint of any project as a `Checkpoint`: what the file is, its weights under our names, all of it checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from shufflec.data.dataset import unknown_names
from shufflec.errors import InputFileError, OptionError
from shufflec.files import read_start
from shufflec.models.checkpoint import Checkpoint, check_state, check_values, load_checkpoint, variance_note
from shufflec.models.foreign.mindspore_file import read_mindspore_state
from shufflec.models.foreign.recognize import Recognition, recognize
from shufflec.models.foreign.torch_file import is_torch_file, read_torch_state
from shufflec.models.networks import build

SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt")
KINDS = "a checkpoint (.safetensors, .pth, .pth.tar, .pt, .ckpt)"


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint and, for a file of another project, what it was recognized as.

    format: of the file, in words.
    """

    checkpoint: Checkpoint
    format: str
    recognition: Recognition | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was recognized and assumed (of a file of our own nothing is) and what looks wrong, one sentence each,
        for the user."""
        strange = variance_note(self.checkpoint.state)
        warnings = () if strange is None else (strange,)
        if self.recognition is None:
            return warnings
        arch = self.checkpoint.architecture
        return (
            f"{self.format} with weights of {self.recognition.naming.title}: {arch}.",
            *self.recognition.assumptions,
            *warnings,
        )


def open_checkpoint(path: str | Path, input_size: tuple[int, int] | None = None) -> OpenedCheckpoint:
    """Reads a checkpoint of shufflec's own, of torch.save or of MindSpore, told apart by content.

    input_size: (H, W) for a file that does not say it. Raises InputFileError for a file that is missing, too large,
    truncated, corrupt, hostile or of an unknown network, and for weights that are not finite.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputFileError(path, "is not a checkpoint by its name", f"expected {KINDS}")
    if path.suffix == ".safetensors":
        return OpenedCheckpoint(load_checkpoint(path), "shufflec checkpoint")
    if is_torch_file(read_start(path, KINDS)):
        kind, state = "PyTorch checkpoint", read_torch_state(path)
    else:
        kind, state = "MindSpore checkpoint", read_mindspore_state(path)
    recognition = recognize(path, state, input_size)
    return OpenedCheckpoint(_taken(path, recognition, state), kind, recognition)


def _taken(path: Path, recognition: Recognition, state: dict[str, torch.Tensor]) -> Checkpoint:
    arch = recognition.architecture
    theirs = recognition.naming.theirs(arch)
    weights = {ours: state[name] for ours, name in theirs.items() if name in state}
    missing = [name for name in theirs.values() if name not in state]
    roots = tuple({name.partition(".")[0] for name in theirs.values()})
    unknown = sorted(name for name in state if name.startswith(roots) and name not in set(theirs.values()))
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the network has not"
        raise InputFileError(path, f"looks like {arch}, but {what}", "it is not the whole network, or a changed one")
    check_values(path, weights)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = build(arch)
    try:
        check_state(arch, model, weights)
    except OptionError as error:
        raise InputFileError(path, str(error)) from error
    names = unknown_names(arch.classes)
    return Checkpoint(arch, recognition.preprocessing, names, weights, recipe={"source": recognition.naming.title})
