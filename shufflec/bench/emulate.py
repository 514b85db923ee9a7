"""Runs one engine under qemu-user with the instruction-counting plugin and the board's clock, and reads both."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shufflec.bench.arm64_python import PYTHON
from shufflec.bench.peers import Peer, PeerModel
from shufflec.devices import board_clock
from shufflec.errors import DeviceError
from shufflec.targets.target import INSTRUCTION_CLASSES, Target
from shufflec.timing.clock_protocol import read_answer

_GUEST_SCRIPT = Path(__file__).resolve().parent / "guest" / "run_engine.py"
_OUTPUTS = 1000  # logits
_WARM_RUNS = 2  # the first inference packs weights and allocates
_COUNTED_RUNS = 2
_TIMEOUT_S = 1800  # MNN's quantizer takes minutes

# The protocol of devices/native/common/counters.h; a test compares these numbers with that file.
SYSTEM_CALL = 0x5346
REGION_START, REGION_STOP, SESSION_START = 1, 2, 3
COUNTERS_MAGIC = 0x33746E6366756873
MAX_THREADS = 16
_HEADER_WORDS = 3  # magic, regions, exact; then a row of counts by class for each thread
ESTIMATE_WORDS = 41  # struct ShufflecEstimate, which is empty without a clock


@dataclass(frozen=True)
class EngineRun:
    """instructions: executed in one inference, by class. output: float32, flat. version: what the engine says.

    milliseconds: estimated; None for an engine that starts threads of its own, or a board without a time model.
    """

    instructions: dict[str, int]
    output: np.ndarray
    version: str
    milliseconds: float | None = None


@dataclass(frozen=True)
class Board:
    """What every run shares. root: folder for -L of the target's core. plugin: the compiled TCG plugin."""

    target: Target
    root: Path
    qemu: Path
    plugin: Path


def run_peer(board: Board, peer: Peer, packages: Path, model: PeerModel, image: Path) -> EngineRun:
    """One engine, one model, one thread: the instructions of one inference after two others.

    packages: folder with the engine's arm64 wheels. image: .npy with the input.
    Raises DeviceError when the engine fails, hangs or cannot be counted.
    """
    with tempfile.TemporaryDirectory(prefix="shufflec-bench-") as name:
        work = Path(name)
        (work / "counters").touch()
        job = {
            "engine": peer.engine,
            "files": [str(file) for file in model.files],
            "input": str(image),
            "input_name": model.input,
            "output_name": model.output,
            "outputs": _OUTPUTS,
            "options": dict(peer.options),
            "folder": str(work),
            "output": str(work / "output.npy"),
            "result": str(work / "result.json"),
            "counters": str(work / "counters"),
            "system_call": SYSTEM_CALL,
            "region_start": REGION_START,
            "region_stop": REGION_STOP,
            "session_start": SESSION_START,
            "warm_runs": _WARM_RUNS,
            "counted_runs": _COUNTED_RUNS,
        }
        (work / "job.json").write_text(json.dumps(job))
        result = _attempt(board, peer, packages, work, timed=bool(board.target.time))
        if not _exact(result):  # helper threads, even where an engine computes on one; they count too, but have no time
            result = _attempt(board, peer, packages, work, timed=False)
        try:
            output = np.load(work / "output.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DeviceError(f"{peer.key} under emulation: wrote no result: {error}") from error
    empty, runs = result["empty"], result["runs"]
    return EngineRun(count_of_one_run(empty, runs), output, str(result["version"]), time_of_one_run(empty, runs[-1]))


def _attempt(board: Board, peer: Peer, packages: Path, work: Path, timed: bool) -> dict:
    """Runs the guest script once. timed: with the board's clock, which does not know of an engine's own threads."""
    plugin = f"{board.plugin},counters={work / 'counters'}"
    plugin += board_clock.plugin_arguments(board.target) if timed else ",guest_threads=many"
    command = [str(board.qemu), "-cpu", board.target.qemu_cpu, "-L", str(board.root), "-plugin", plugin]
    command += [str(board.root / "usr" / "bin" / PYTHON), str(_GUEST_SCRIPT), str(work / "job.json")]
    with _clock(board.target, work) if timed else _no_clock() as lifeline:
        _run(command, _environment(packages), peer, work, lifeline)
    try:
        return json.loads((work / "result.json").read_text())
    except (OSError, ValueError) as error:
        raise DeviceError(f"{peer.key} under emulation: wrote no result: {error}") from error


@contextmanager
def _clock(target: Target, work: Path) -> Iterator[object]:
    """The board's clock, listening in `work`; yields what keeps it alive."""
    process, lifeline = board_clock.start_clock(target, target.time, work)
    try:
        with lifeline:
            board_clock.wait_for_clock(process, target, work)
            yield lifeline
    finally:
        process.wait()
        (work / board_clock.SOCKET).unlink(missing_ok=True)


@contextmanager
def _no_clock() -> Iterator[int]:
    yield subprocess.DEVNULL


def _exact(result: dict) -> bool:
    return all(words[2] for words in (result["empty"], *result["runs"]) if len(words) > 2)


def time_of_one_run(empty: Sequence[int], run: Sequence[int]) -> float | None:
    """Estimated milliseconds of a run less those of an empty region; None where no clock was asked.

    Each list is the plugin's ShufflecCounters as 64-bit words. Raises DeviceError when the clock could not tell.
    """
    times = []
    for words in (empty, run):
        tail = words[-ESTIMATE_WORDS:]
        if not tail[0]:
            return None
        estimate = read_answer(struct.pack(f"<{len(tail)}Q", *tail))
        if isinstance(estimate, str):
            raise DeviceError(f"no estimated time: {estimate}")
        times.append(estimate.total_ns)
    return max(0.0, times[1] - times[0]) / 1e6


def count_of_one_run(empty: Sequence[int], runs: Sequence[Sequence[int]]) -> dict[str, int]:
    """Instructions of the last run by class, less those of an empty region.

    Each list is the plugin's ShufflecCounters as 64-bit words.
    Raises DeviceError when a list is not that, when a count is not exact, or when the runs differ by over 1 %.
    """
    nothing, *counts = [_by_class(words) for words in (empty, *runs)]
    totals = [sum(count) for count in counts]
    if max(totals) - min(totals) > 0.01 * max(totals):
        raise DeviceError(f"the instructions of one inference vary: {' and '.join(map(str, totals))}")
    last = zip(INSTRUCTION_CLASSES, counts[-1], nothing, strict=True)
    return {name: max(0, after - before) for name, after, before in last}


def _by_class(words: Sequence[int]) -> list[int]:
    """Counts of one region by class, over all threads."""
    classes = len(INSTRUCTION_CLASSES)
    end = _HEADER_WORDS + MAX_THREADS * classes
    if len(words) != end + ESTIMATE_WORDS or words[0] != COUNTERS_MAGIC:
        raise DeviceError("the instruction counter answers in another layout than this shufflec expects")
    if not words[2]:
        raise DeviceError("the engine runs threads that the instruction counter was not started for")
    return [sum(words[_HEADER_WORDS + index : end : classes]) for index in range(classes)]


def _environment(packages: Path) -> dict[str, str]:
    """Only what the guest needs, so that this machine's settings change no count."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(packages),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _run(command: list[str], environment: dict[str, str], peer: Peer, work: Path, lifeline: object) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env=environment,
            stdin=lifeline,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{peer.key} under emulation: no result after {_TIMEOUT_S} s") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1][:300] if lines else "nothing"
        raise DeviceError(f"{peer.key} under emulation: ended with code {done.returncode}, its last line: {said}")
