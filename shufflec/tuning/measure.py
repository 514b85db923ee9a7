"""Measures one candidate on one board, after checking its result bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import tvm

from shufflec.devices.session import SIMULATED, Session
from shufflec.tuning.case import SEED, digest
from shufflec.tuning.library import Candidate

OK, WRONG, FAILED = "ok", "wrong", "failed"
#: On a board that measures: this many figures, each over at least this long.
_REPEATS = 5
_SHORTEST_S = 2e-3
_MOST_RUNS = 10_000


@dataclass(frozen=True)
class Result:
    """What became of a candidate. outcome: OK, WRONG (another result than the reference's) or FAILED. nanoseconds: of
    one call, 0 unless OK. reason: one line, "" when OK. kind: where the time is from."""

    outcome: str
    nanoseconds: int = 0
    reason: str = ""
    kind: str = "estimated"


class LoadedCandidates:
    """A library of candidates on a board. Every method raises DeviceError when the board is lost or hangs."""

    def __init__(self, session: Session, library: Path, candidates: list[Candidate], sweep_bytes: int):
        self._session = session
        self._candidates = candidates
        self._sweep_bytes = sweep_bytes
        self._module = session.upload_module(library)

    def measure(self, index: int) -> Result:
        """Checks and times one candidate."""
        case = self._candidates[index].case
        kind = "estimated" if self._session.kind == SIMULATED else "measured"
        with self._session.guard("run a candidate"):
            self._module["select"](index, case.checked_bytes, self._sweep_bytes, SEED)
            found = tuple(int(self._module["digest"](which)) for which in (0, 1))
            if found != digest(case.expected_arena()):
                left = tvm.runtime.empty((case.checked_bytes,), "int8", self._session.cpu)
                self._module["arena"](left)
                return Result(WRONG, reason=case.difference(np.asarray(left.numpy())), kind=kind)
        nanoseconds = self._estimated() if kind == "estimated" else self._measured()
        return Result(OK, max(round(nanoseconds), 1), kind=kind)

    def _estimated(self) -> float:
        nothing, _, call = self._session.time_each(self._module, "step", "nothing", 2)
        return call.simulated_ns - nothing.simulated_ns

    def _measured(self) -> float:
        """Nanoseconds by the board's own clock: the median of several figures, each over many runs."""
        once = self._session.time(self._module, "repeat", 1)[0]
        runs = min(max(round(_SHORTEST_S / max(once, 1e-9)), 1), _MOST_RUNS)
        return median(self._session.time(self._module, "repeat", runs, repeat=_REPEATS)) / runs * 1e9
