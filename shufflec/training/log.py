"""TensorBoard logs of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from shufflec.errors import ToolMissingError
from shufflec.files import write_errors

_EVERY = 10  # steps


class TrainingLog(Protocol):
    """Takes the figures of a training; `step` counts from 1 over all epochs."""

    def scalar(self, name: str, value: float, step: int) -> None: ...

    def close(self) -> None: ...


class NoLog:
    """Takes the figures and drops them."""

    def scalar(self, name: str, value: float, step: int) -> None:
        return

    def close(self) -> None:
        return


class TensorBoardLog:
    """Event files in `folder`, for `tensorboard --logdir`; figures called train/... of every tenth step alone.

    first_step: where the run goes on; what an earlier run wrote from there on is hidden.
    Raises ToolMissingError where the package tensorboard is not installed, NoSpaceError for a folder that cannot be
    written.
    """

    def __init__(self, folder: Path, first_step: int):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ToolMissingError("tensorboard", "write --log-dir", "pip install 'shufflec[tensorboard]'") from error
        with write_errors(folder, creating=True):
            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def scalar(self, name: str, value: float, step: int) -> None:
        if not name.startswith("train/") or step % _EVERY == 0:
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
