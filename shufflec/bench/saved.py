"""Measurements that are kept: an interrupted bench goes on where it was, and several processes share one.

A measurement is named by everything that decides it (sources, versions, board, network), and its result is the same
whenever and wherever it is made; so what was made before is read, and what another process is making is waited for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shufflec.files import cache_dir, data_dir, write_atomic

Progress = Callable[[str, int, int], None]
PACKAGE = Path(__file__).resolve().parent.parent
_SOURCES = (".py", ".c", ".cc", ".h", ".toml", ".json", ".jsonl", ".map")


@dataclass(frozen=True)
class Job:
    """what: for people. key: everything that decides the result. run: makes it, as plain values for JSON.

    keep: whether a result is worth keeping; a failure that the network caused is not.
    """

    what: str
    key: Mapping[str, object]
    run: Callable[[], dict]
    keep: Callable[[dict], bool] = lambda result: True


def complete(jobs: Sequence[Job], progress: Progress, fresh: bool = False) -> list[dict]:
    """The results of all jobs, in their order.

    progress(what, done, total): before each that has to be made. fresh: makes all of them anew. Jobs that another
    process has begun come last.
    """
    folder = cache_dir("bench", "rows")
    paths = [folder / f"{key_digest(job.key)}.json" for job in jobs]
    results: dict[int, dict] = {}
    if not fresh:
        results = {i: found for i, path in enumerate(paths) if (found := _read(path)) is not None}
    waiting = [i for i in range(len(jobs)) if i not in results]
    for patient in (False, True):
        for i in list(waiting):
            with _locked(paths[i], patient) as mine:
                if not mine:
                    continue
                found = None if fresh else _read(paths[i])
                if found is None:
                    progress(jobs[i].what, len(results), len(jobs))
                    found = jobs[i].run()
                    if jobs[i].keep(found):
                        write_atomic(paths[i], json.dumps({"key": dict(jobs[i].key), "result": found}, indent=1) + "\n")
                results[i] = found
                waiting.remove(i)
    return [results[i] for i in range(len(jobs))]


def key_digest(key: Mapping[str, object]) -> str:
    """The name under which the result of `key` is kept: 24 hexadecimal digits."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


def _read(path: Path) -> dict | None:
    """A kept result; None for one that is missing or damaged."""
    try:
        return json.loads(path.read_text())["result"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(path: Path, patient: bool):
    """Yields whether this process holds the measurement; the lock ends with the process, however it ends."""
    with open(path.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@cache
def source_digest(rooms: tuple[str, ...]) -> str:
    """Hash of the sources in rooms of the package ("bench/emulate.py" or "timing"), boards and tuned records."""
    files = [file for room in rooms for file in _files(PACKAGE / room)]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(PACKAGE.parent)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:24]


@cache
def records_digest() -> str:
    """Hash of the tuned records that compile reads."""
    digest = hashlib.sha256()
    for file in sorted(_files(data_dir("schedules"))):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:24]


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and file.suffix in _SOURCES]
