"""Every measurement of a tuning run, appended as it is made: what is left of a run when it is stopped or killed.

A run is resumed by searching again from the start, with the journal's figures in the place of measurements: the search
is deterministic, so it comes to where it was and goes on as if nothing had happened.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from shufflec.errors import InputFileError, ShufflecError
from shufflec.files import read_limited, write_errors
from shufflec.kernels.records import Tiling
from shufflec.tuning.measure import Result
from shufflec.validate import ValidationError, build

_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Entry:
    """A measurement. task: its key. kernel: the family. tiling: as in a record. The rest is a Result's."""

    task: str
    kernel: str
    tiling: dict[str, int]
    outcome: Literal["ok", "wrong", "failed"]
    nanoseconds: int
    reason: str
    kind: Literal["estimated", "measured"]

    @property
    def place(self) -> tuple[str, str, Tiling]:
        return self.task, self.kernel, tuple(self.tiling.items())

    @property
    def result(self) -> Result:
        return Result(self.outcome, self.nanoseconds, self.reason, self.kind)


def read_journal(path: Path) -> tuple[list[str], list[Entry]]:
    """(keys of the run's tasks, its measurements in the order they were made); nothing for a run that is new.

    A last line that was cut off by a kill is left out. Raises InputFileError for a journal that is damaged elsewhere.
    """
    if not path.is_file():
        return [], []
    lines = read_limited(path, _MAX_BYTES, "a tuning journal").decode("utf-8", "replace").split("\n")[:-1]
    tasks, entries = [], []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            if number == 1:
                tasks = [str(key) for key in value["tasks"]]
            else:
                entries.append(build(Entry, value, ""))
        except (ValueError, KeyError, TypeError, ValidationError, RecursionError) as error:
            raise InputFileError(path, f"line {number} is damaged", "remove the file to start the run anew") from error
    return tasks, entries


class Journal:
    """The open journal of a run; a context manager. known: measurements of earlier sessions of the run.

    Raises ShufflecError when another process writes it.
    """

    def __init__(self, path: Path, tasks: list[str]):
        self.path = path
        started, entries = read_journal(path)
        self.tasks = started or tasks
        self.entries = entries
        self.known: dict[tuple[str, str, Tiling], Result] = {entry.place: entry.result for entry in entries}
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = open(path, "ab")  # noqa: SIM115 - closed by __exit__
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ShufflecError("the same tuning runs in another process", "wait for it or stop it") from error
        self._cut_partial_line()
        if not started:
            self._append({"tasks": tasks})

    def add(self, task: str, kernel: str, tiling: Tiling, result: Result) -> None:
        """Appends one measurement; it is on the disk when this returns."""
        entry = Entry(task, kernel, dict(tiling), result.outcome, result.nanoseconds, result.reason[:300], result.kind)
        self.entries.append(entry)
        self.known[entry.place] = result
        self._append(vars(entry))

    def _append(self, value: dict) -> None:
        with write_errors(self.path):
            self._file.write(json.dumps(value).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _cut_partial_line(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self.path, whole)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
