"""The processes of one training, as torchrun starts them: who is who, and what they tell each other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from shufflec.errors import ExitCode, OptionError, ShufflecError
from shufflec.training.runtime import Runtime

T = TypeVar("T")
# What gloo and NCCL say when another process is gone.
_LOST = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset|refused)|Broken pipe")


_PROCESSOR = torch.device("cpu")


class ProcessError(ShufflecError):
    """An error that only this process has, so that it has to say it although another one speaks for all."""

    def __init__(self, rank: int, error: ShufflecError):
        super().__init__(f"process {rank}: {error.message}", error.hint)
        self.exit_code = error.exit_code


class PeerError(ShufflecError):
    """The training cannot go on because another of its processes has ended."""

    exit_code = ExitCode.INTERNAL

    def __init__(self) -> None:
        super().__init__("another process of this training has ended", "its own message says why")


@dataclass(frozen=True)
class Processes:
    """One of `world` processes, the `rank`-th; alone by default. It computes on `device`."""

    rank: int = 0
    world: int = 1
    device: torch.device = _PROCESSOR

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, in all of them; where it raises there, PeerError in the others."""
        if self.world == 1:
            return make()
        outcome: list = [None]
        failure: ShufflecError | None = None
        if self.rank == 0:
            try:
                outcome = [(make(),)]
            except ShufflecError as error:
                failure = error
        with peers_needed():
            distributed.broadcast_object_list(outcome, src=0)
        if failure is not None:
            raise failure
        if outcome[0] is None:
            raise PeerError
        return outcome[0][0]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes of a tensor, on the processor."""
        if self.world == 1:
            return values
        total = values.to(self.device)
        with peers_needed():
            distributed.all_reduce(total)
        return total.cpu()

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Puts the mean over all processes in place of each tensor of floats."""
        for tensor in tensors if self.world > 1 else ():
            if tensor.is_floating_point():
                with peers_needed():
                    distributed.all_reduce(tensor)
                tensor /= self.world

    def merge(self, texts: Iterable[str]) -> list[str]:
        """All processes' texts, each once, in the order of the processes."""
        if self.world == 1:
            return list(dict.fromkeys(texts))
        gathered: list = [None] * self.world
        with peers_needed():
            distributed.all_gather_object(gathered, list(texts))
        return list(dict.fromkeys(text for part in gathered for text in part))

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Marks what goes wrong inside as this process's own."""
        try:
            yield
        except ShufflecError as error:
            if self.rank == 0:
                raise
            raise ProcessError(self.rank, error) from error


ALONE = Processes()


@contextmanager
def peers_needed() -> Iterator[None]:
    """Turns a lost connection to another process into one line."""
    try:
        yield
    except RuntimeError as error:
        if not _LOST.search(str(error)):
            raise
        raise PeerError from error


def torchrun_ranks(environment: Mapping[str, str] = os.environ) -> tuple[int, int, int]:
    """(rank, rank on this computer, number of processes) that torchrun set; (0, 0, 1) without it.

    Raises OptionError for values that torchrun never sets.
    """
    if "WORLD_SIZE" not in environment or "RANK" not in environment:
        return 0, 0, 1
    texts = [environment["RANK"], environment.get("LOCAL_RANK", "0"), environment["WORLD_SIZE"]]
    if not all(text.isascii() and text.isdigit() and len(text) < 7 for text in texts) or int(texts[0]) >= int(texts[2]):
        raise OptionError("RANK, LOCAL_RANK, WORLD_SIZE", ", ".join(texts), "expected what torchrun sets")
    rank, local_rank, world = (int(text) for text in texts)
    return rank, local_rank, world


@contextmanager
def open_processes(runtime: Runtime) -> Iterator[Processes]:
    """Joins the processes that torchrun started; without it, this one alone.

    They talk over gloo, or NCCL where each has a GPU. Raises OptionError for a device that is not there, ShufflecError
    when the other processes cannot be reached.
    """
    rank, local_rank, world = torchrun_ranks()
    device = runtime.open_device(local_rank)
    if world == 1:
        yield Processes(device=device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ShufflecError(
            f"the {world} processes cannot reach each other: {reason}", "start them with torchrun"
        ) from error
    try:
        yield Processes(rank, world, device)
    finally:
        distributed.destroy_process_group()
