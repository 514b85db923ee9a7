"""Boards that measure candidates side by side, and what happens when one of them goes wrong.

A candidate that loses its board is tried again elsewhere, once; a board that cannot be reached again, or that gets
known candidates wrong, is dropped and the rest go on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shufflec.devices.session import Session
from shufflec.errors import DeviceError
from shufflec.tuning.library import Candidate
from shufflec.tuning.measure import FAILED, OK, WRONG, LoadedCandidates, Result

_ATTEMPTS = 2
_POLL_S = 0.2


@dataclass(frozen=True)
class Batch:
    """Candidates of one library."""

    library: Path
    candidates: list[Candidate]


@dataclass
class _Job:
    batch: Batch
    index: int
    number: int
    attempts: int = 0
    last_reason: str = ""


@dataclass
class Board:
    """One board. connect: opens a session, each time it is needed; raises DeviceError. name: for messages."""

    name: str
    connect: Callable[[], Session]
    session: Session | None = None
    loaded: LoadedCandidates | None = None
    library: Path | None = None
    problems: list[str] = field(default_factory=list)

    def measure(self, batch: Batch, index: int, sweep_bytes: int) -> Result:
        """Raises DeviceError when the board is lost or hangs; then the session is closed."""
        try:
            if self.session is None:
                self.session = self.connect()
            if self.library != batch.library or self.loaded is None:
                self.loaded, self.library = None, None
                self.loaded = LoadedCandidates(self.session, batch.library, batch.candidates, sweep_bytes)
                self.library = batch.library
            return self.loaded.measure(index)
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Ends the session; measure opens another."""
        session, self.session, self.loaded, self.library = self.session, None, None, None
        if session is not None:
            with suppress(DeviceError):
                session.close()


class Fleet:
    """The boards of a run; a context manager. say: told when a board is dropped.

    sweep_bytes: what a candidate's measurement reads before it (native/tuning.c).
    """

    def __init__(self, boards: Sequence[Board], sweep_bytes: int, say: Callable[[str], None] = lambda _: None):
        self.boards = list(boards)
        self._sweep_bytes = sweep_bytes
        self._say = say
        self._jobs: queue.Queue[_Job] = queue.Queue()
        self._done: queue.Queue[tuple[int, Result]] = queue.Queue()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._control: tuple[Batch, int] | None = None
        self._threads = [threading.Thread(target=self._work, args=(board,), daemon=True) for board in self.boards]
        self._reason = ""

    def __enter__(self) -> Fleet:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Returns when every board has finished the candidate in hand."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def alive(self) -> int:
        """Boards that still measure."""
        return len(self.boards)

    def submit(self, batch: Batch, index: int, number: int) -> None:
        """Queues one candidate; number: the name of its result."""
        self._jobs.put(_Job(batch, index, number))

    def result(self) -> tuple[int, Result]:
        """The next (number, result), in the order they are made. Raises DeviceError when no board is left."""
        while True:
            try:
                return self._done.get(timeout=_POLL_S)
            except queue.Empty:
                if not self.boards and self._done.empty():
                    raise DeviceError(
                        f"no board is left: {self._reason}", "what was measured is kept: the same command goes on"
                    ) from None

    def finished(self) -> list[tuple[int, Result]]:
        """The results that are there now."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._done.get_nowait())
        return found

    def _work(self, board: Board) -> None:
        try:
            while not self._stop.is_set() and board in self.boards:
                try:
                    job = self._jobs.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                self._try(board, job)
        finally:
            board.close()

    def _try(self, board: Board, job: _Job) -> None:
        try:
            result = board.measure(job.batch, job.index, self._sweep_bytes)
            if result.outcome == WRONG and not self._trusted(board):
                self._jobs.put(job)
                self._drop(board, "it gives wrong results for a candidate that was right before")
                return
        except DeviceError as error:
            self._lost(board, job, error.message)
            return
        if result.outcome == OK and self._control is None:
            self._control = job.batch, job.index
        self._done.put((job.number, result))

    def _lost(self, board: Board, job: _Job, reason: str) -> None:
        """A candidate that takes two boards (or the same one twice) with it is at fault; else it is tried again."""
        job.attempts, job.last_reason = job.attempts + 1, reason
        if job.attempts < _ATTEMPTS:
            self._jobs.put(job)
        try:
            board.session = board.connect()
        except DeviceError as error:
            self._drop(board, error.message)
            if job.attempts >= _ATTEMPTS:
                self._done.put((job.number, Result(FAILED, reason=reason)))
            return
        if job.attempts >= _ATTEMPTS:
            self._done.put((job.number, Result(FAILED, reason=reason)))

    def _trusted(self, board: Board) -> bool:
        """Whether a board that found a candidate wrong still finds a right one right."""
        if self._control is None:
            return True
        batch, index = self._control
        return board.measure(batch, index, self._sweep_bytes).outcome == OK

    def _drop(self, board: Board, reason: str) -> None:
        with self._lock:
            if board in self.boards:
                self._reason = reason if reason.startswith(board.name) else f"{board.name}: {reason}"
                self.boards.remove(board)
        self._say(f"board {board.name} is dropped: {reason}")
