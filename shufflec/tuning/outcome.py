"""What a tuning run came to: the data of its summary, its JSON and its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from shufflec.tuning.run import BUDGET, DONE, TRIALS

INTERRUPTED = "interrupted"
_ENDS = {
    DONE: "nothing more was gained",
    TRIALS: "the trials are used up",
    BUDGET: "the time is used up; the same command goes on from here",
    INTERRUPTED: "interrupted; the same command goes on from here",
}


@dataclass(frozen=True)
class TunedTask:
    """A workload. layer: the first that has it; kind: operator; weight: runs in an inference; default, best:
    nanoseconds of one run; tiling: the best; key: of its record."""

    layer: str
    kind: str
    key: str
    kernel: str
    weight: int
    default: int
    best: int
    tiling: dict[str, int]
    default_tiling: dict[str, int]
    tilings: int
    trials: int
    failures: int

    @property
    def gain(self) -> float:
        """1 - best / default."""
        return 1 - self.best / self.default if self.default else 0.0


@dataclass(frozen=True)
class Outcome:
    """A run. kind: "estimated" or "measured". ended: why. known: workloads that had records and were left alone.
    trials, replayed: measurements, and how many of them an earlier session made. curve: (trials, nanoseconds of all
    tuned layers). before_ms, after_ms: the whole network with default tilings and with all records, None when it was
    not measured. problems: wrong and failed candidates. records: the file they are in."""

    name: str
    target: str
    title: str
    kind: str
    ended: str
    known: int
    trials: int
    replayed: int
    wrong: int
    tasks: tuple[TunedTask, ...]
    curve: tuple[tuple[int, int], ...]
    before_ms: float | None
    after_ms: float | None
    problems: tuple[str, ...]
    records: str

    @property
    def default(self) -> int:
        """Nanoseconds of the tuned layers with their default tilings."""
        return sum(one.weight * one.default for one in self.tasks)

    @property
    def best(self) -> int:
        """The same with the best tilings."""
        return sum(one.weight * one.best for one in self.tasks)

    def sentences(self) -> list[str]:
        """The summary, a sentence a line."""
        lines = []
        if self.known:
            lines.append(f"{self.known} workloads have a record and were left alone (--again tunes them anew).")
        if self.tasks and self.default:
            saved = 1 - self.best / self.default
            lines.append(
                f"Tuned layers: {self.default / 1e6:.3f} -> {self.best / 1e6:.3f} ms {self.kind}, {saved:.1%} saved "
                f"in {self.trials} trials{f' ({self.replayed} of an earlier run)' if self.replayed else ''}."
            )
        if self.before_ms is not None and self.after_ms is not None:
            lines.append(
                f"Whole network: {self.before_ms:.3f} -> {self.after_ms:.3f} ms {self.kind}; its output equals the "
                "integer reference bit for bit."
            )
            if self.after_ms > self.before_ms:
                lines.append(
                    "The whole network is no faster: its layers meet other caches than each alone. Delete the records "
                    "if it stays so."
                )
        if self.problems:
            failed = len(self.problems) - self.wrong
            lines.append(f"{self.wrong} candidates gave wrong results and {failed} failed; none of them is recorded:")
            lines += [f"  {problem}" for problem in self.problems[:10]]
        if self.tasks:
            lines.append(f"Ended: {_ENDS[self.ended]}.")
            lines.append(f"Records: {self.records}; `shufflec compile` takes them from there.")
        return lines

    def to_dict(self) -> dict[str, object]:
        """For --json."""
        return asdict(self)
