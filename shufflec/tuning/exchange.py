"""Records between machines: written to a file, and taken over from one after they were checked."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shufflec.errors import InputFileError
from shufflec.files import cache_dir
from shufflec.kernels.records import Record, best_of, read_records, toolchain, user_records, write_records


def own_records(target: str) -> list[Record]:
    """The user's own records of a target. Raises InputFileError for a damaged file."""
    path = user_records(target)
    if not path.is_file():
        return []
    return _sound(path)


def export_records(target: str, path: Path) -> int:
    """Writes the user's own records of a target; returns how many. Raises InputFileError when there are none."""
    records = own_records(target)
    if not records:
        raise InputFileError(
            user_records(target), f"there are no records of your own for {target}", "make some: shufflec tune"
        )
    write_records(path, records)
    return len(records)


def import_records(target: str, path: Path) -> tuple[int, dict[str, int]]:
    """Adds the records of a file to the user's own; returns (how many hold here, how many do not, by the reason).

    A file is taken over whole or not at all: InputFileError names its first damaged line. Records of another target or
    toolchain are left out. Whether a tiling is one that its kernel has is checked where it is used (kernels/select.py).
    """
    ours, skipped, taken = toolchain(), {}, []
    for record in best_of(_sound(path)):
        reason = ""
        if record.target != target:
            reason = "for another target"
        elif (record.tvm, record.llvm) != (ours.tvm, ours.llvm):
            reason = "of another toolchain"
        if reason:
            skipped[reason] = skipped.get(reason, 0) + 1
        else:
            taken.append(record)
    if taken:
        keep_records(target, taken)
    return len(taken), skipped


def keep_records(target: str, records: list[Record]) -> Path:
    """Adds records to the user's own ones, in the place of older ones of the same workloads."""
    with _one_writer(target):
        return _kept(target, records)


@contextmanager
def _one_writer(target: str) -> Iterator[None]:
    """Two runs that end at the same time keep both their records; the lock ends with the process."""
    with open(cache_dir("schedules") / f"{target}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept(target: str, records: list[Record]) -> Path:
    new = {(record.workload, record.kernel, record.kind, record.tvm, record.llvm) for record in records}
    old = [
        record
        for record in own_records(target)
        if (record.workload, record.kernel, record.kind, record.tvm, record.llvm) not in new
    ]
    return write_records(user_records(target), [*old, *records])


def _sound(path: Path) -> list[Record]:
    records, problems = read_records(path)
    if problems:
        raise InputFileError(path, problems[0], f"{len(problems)} damaged lines; remove them to use the rest")
    return records
