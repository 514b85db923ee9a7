"""What folding the channel shuffle away saves: the same network compiled with the pass on and off."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from shufflec.bench.own_row import run_shufflec
from shufflec.bench.workload import make_workload
from shufflec.errors import WrongResultError
from shufflec.targets.target import Target

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ShuffleRow:
    """Instructions of one inference of ShuffleNetV1 1.0x at 224x224 with every shuffle folded, and with copies."""

    target: str
    groups: int
    folded: int
    copied: int

    @property
    def saved(self) -> float:
        """Part of the instructions with copies that folding saves."""
        return 1 - self.folded / self.copied

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "saved": round(self.saved, 5)}


def run_shuffle_bench(targets: Sequence[Target], groups: Sequence[int], progress: Progress) -> list[ShuffleRow]:
    """Measures every target and number of groups on the virtual board, both ways.

    progress(what, done, total): before every measurement. Raises WrongResultError when the two outputs differ in
    any bit.
    """
    rows = []
    total = 2 * len(targets) * len(groups)
    with tempfile.TemporaryDirectory(prefix="shufflec-bench-") as name:
        for count in groups:
            workload = make_workload(count, Path(name) / f"g{count}")
            for target in targets:
                runs = []
                for fold, what in ((True, "folded"), (False, "copied")):
                    progress(f"shuffle {what} on {target.name}, g={count}", 2 * len(rows) + len(runs), total)
                    runs.append(run_shufflec(workload, target, fold))
                if not np.array_equal(runs[0].output, runs[1].output):
                    raise WrongResultError(f"{target.name}, g={count}: folding the shuffle changes the output")
                rows.append(ShuffleRow(target.name, count, *(sum(run.instructions.values()) for run in runs)))
    return rows
