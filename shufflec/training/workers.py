"""Reads ahead in worker processes: the same values in the same order as without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from shufflec.errors import OptionError, ShufflecError

T = TypeVar("T")
MAX_WORKERS = 256
# Values that a worker may be ahead.
_AHEAD = 32


def read_ahead(read: Callable[[int], T], places: Sequence[int], workers: int) -> Iterator[T]:
    """read(place) for every place in order, by `workers` processes (0: in this one, when asked for).

    Raises what `read` raises of ours, also where a worker does; ShufflecError when a worker is killed, OptionError for
    a number of workers out of range.
    """
    if not 0 <= workers <= MAX_WORKERS:
        raise OptionError("--workers", workers, f"expected 0 to {MAX_WORKERS}")
    if workers == 0:
        yield from map(read, places)
        return
    loader = DataLoader(
        _Reads(read),
        batch_size=None,
        sampler=places,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        # Arrays go through a pipe: the shared memory that tensors would take is scarce in containers.
        collate_fn=_unchanged,
        # The workers start from a copy of this process, so that they share what it holds.
        multiprocessing_context="fork",
        # The seed that is drawn for the workers must not touch the generator of the training.
        generator=torch.Generator(),
    )
    values = iter(loader)
    while True:
        try:
            value = next(values)
        except StopIteration:
            return
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if not reason.startswith("DataLoader worker"):
                raise
            raise ShufflecError(f"a process that reads images ended: {reason}", "try fewer --workers") from error
        if isinstance(value, _Failure):
            raise value.error()
        yield value


@dataclass(frozen=True)
class _Failure:
    """An error of ours on its way to the main process: torch would send the text of a traceback instead."""

    kind: type[ShufflecError]
    state: dict[str, Any]

    def error(self) -> ShufflecError:
        error = self.kind.__new__(self.kind)
        ShufflecError.__init__(error, self.state["message"], self.state["hint"])
        error.__dict__.update(self.state)
        return error


class _Reads(Dataset):
    def __init__(self, read: Callable[[int], Any]):
        self._read = read

    def __getitem__(self, place: int) -> Any:
        try:
            return self._read(place)
        except ShufflecError as error:
            return _Failure(type(error), vars(error))


def _unchanged(value: T) -> T:
    return value
