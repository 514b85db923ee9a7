"""One tuning run: propose, build, measure, learn, until the trials, the time or the gains are used up.

A run is deterministic: which candidates it measures depends on the tasks, the seed and the results alone, never on how
many boards there are or which one was faster. Within a round all proposals are fixed before the first is measured.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shufflec import kernels
from shufflec.errors import ShufflecError
from shufflec.files import cache_dir
from shufflec.kernels.records import Record, Tiling, toolchain
from shufflec.targets.target import Target
from shufflec.tuning.case import Case, make_case
from shufflec.tuning.cost_model import FAILED_RATIO, CostModel
from shufflec.tuning.fleet import Batch, Fleet
from shufflec.tuning.journal import Journal
from shufflec.tuning.library import Candidate, build_candidates
from shufflec.tuning.measure import FAILED, OK, WRONG, Result
from shufflec.tuning.search import SEED, Search
from shufflec.tuning.state import GAIN, RunState, TaskState
from shufflec.tuning.tasks import Task

#: Tilings of one task in a round, tasks in a round, candidates in a library.
BATCH, TASKS_A_ROUND, LIBRARY = 4, 4, 8
#: Batches in a row without gain after which a task is done.
PATIENCE = 3
TRIALS, BUDGET, DONE = "trials", "budget", "done"

Observe = Callable[[RunState], None]


@dataclass(frozen=True)
class Limits:
    """trials: measurements at most, 0 for no limit. seconds: of wall-clock time, 0 for no limit."""

    trials: int = 0
    seconds: float = 0.0


@cache
def _kernel_sources() -> str:
    """Hash of the kernels' sources: a changed kernel is not what an older journal measured."""
    digest = hashlib.sha256()
    for path in sorted(Path(kernels.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def journal_path(target: Target, tasks: list[Task], where: str, sweep_bytes: int) -> Path:
    """Where a run keeps its journal: its name is a hash of all that decides what it measures.

    where: the kind of boards, virtual ones or those at an address.
    """
    tools = toolchain()
    parts = [repr(target), tools.tvm, tools.llvm, where, str(sweep_bytes), str(SEED), _kernel_sources()]
    parts += sorted(f"{task.family.NAME} {task.record_key} {len(task.layers)}" for task in tasks)
    name = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
    return cache_dir("tuning") / f"{target.name}-{name}.jsonl"


class Run:
    """A run over some tasks. observe: told whenever something changed. model: what earlier runs for the same target
    learned, to go on with; a run that is to be resumed must begin with the same again."""

    def __init__(
        self,
        tasks: list[Task],
        target: Target,
        fleet: Fleet,
        journal: Journal,
        limits: Limits,
        observe: Observe = lambda state: None,
        model: CostModel | None = None,
    ):
        self._target, self._fleet, self._journal, self._limits, self._observe = target, fleet, journal, limits, observe
        self.state = RunState([TaskState(task) for task in tasks], limits.trials)
        self._model = model or CostModel()
        self._searches = {task.key: Search(task, self._model, BATCH) for task in tasks}
        self._cases: dict[str, Case] = {}
        self._deadline = time.monotonic() + limits.seconds if limits.seconds else None
        self._folder = Path()
        self._submitted: dict[int, tuple[Task, Tiling]] = {}

    def records(self) -> list[Record]:
        """The best of every task whose default tiling was right."""
        return [state.record(self._target) for state in self.state.tasks if state.best]

    def run(self) -> str:
        """Runs to the end and says what ended it: TRIALS, BUDGET, or DONE when there is nothing left to gain.

        Raises DeviceError when no board is left, KeyboardInterrupt on Ctrl-C; the journal has every measurement.
        """
        with tempfile.TemporaryDirectory(prefix="shufflec-tune-") as folder:
            self._folder = Path(folder)
            try:
                return self._rounds()
            finally:
                for number, result in self._fleet.finished():
                    self._keep(*self._submitted.pop(number), result)

    def _rounds(self) -> str:
        ended = self._round(self.state.tasks)
        while not ended:
            eligible = [one for one in self.state.tasks if self._can_gain(one)]
            if not eligible:
                return DONE
            chosen: list[TaskState] = []
            while eligible and len(chosen) < TASKS_A_ROUND:
                chosen.append(self.state.next_task(eligible))
                eligible.remove(chosen[-1])
            ended = self._round(chosen)
        return ended

    def _can_gain(self, state: TaskState) -> bool:
        return bool(state.best) and state.stale < PATIENCE and not self._searches[state.task.key].exhausted

    def _round(self, states: list[TaskState]) -> str:
        """Measures a batch of each task; returns what ended the run, or "" to go on."""
        proposed = [(state, self._searches[state.task.key].propose()) for state in states]
        wanted = [(state.task, tiling) for state, tilings in proposed for tiling in tilings]
        results, ended = self._measured(wanted)
        for state, tilings in proposed:
            before = state.best
            for tiling in tilings:
                result = results.get((state.task.key, tiling))
                if result is not None:
                    self._learn(state, tiling, result)
            state.batches += 1
            state.stale = 0 if not before or state.best < before * (1 - GAIN) else state.stale + 1
            told = [results.get((state.task.key, tiling), Result(FAILED)) for tiling in tilings]
            seconds = [1e-9 * one.nanoseconds if one.outcome == OK else None for one in told]
            self._searches[state.task.key].tell(seconds)
        self._model.fit()
        if all(state.default or state.trials for state in self.state.tasks):
            self.state.curve.append((self.state.trials, self.state.best))
        self._observe(self.state)
        return ended

    def _learn(self, state: TaskState, tiling: Tiling, result: Result) -> None:
        state.take(tiling, result)
        self.state.trials += 1
        if state.default:
            ratio = result.nanoseconds / state.default if result.outcome == OK else FAILED_RATIO
            self._model.add(state.task, tiling, ratio)
        if result.outcome != OK:
            name = ",".join(f"{axis}={value}" for axis, value in tiling)
            self.state.problems.append(f"{result.outcome}: {state.task.layers[0]} with {name}: {result.reason}")
            self.state.wrong += result.outcome == WRONG

    def _measured(self, wanted: list[tuple[Task, Tiling]]) -> tuple[dict[tuple[str, Tiling], Result], str]:
        """Results by task and tiling, and what ended the run early. Known ones come from the journal."""
        results: dict[tuple[str, Tiling], Result] = {}
        new = []
        for task, tiling in wanted:
            if self._limits.trials and self.state.trials + len(results) + len(new) >= self._limits.trials:
                break
            known = self._journal.known.get((task.key, task.family.NAME, tiling))
            if known is not None:
                results[task.key, tiling] = known
                self.state.replayed += 1
            else:
                new.append((task, tiling))
        self._submitted.clear()
        waiting: set[int] = set()
        for first in range(0, len(new), LIBRARY):
            if self._out_of_time():
                break
            for number in self._build(new[first : first + LIBRARY], first, results):
                waiting.add(number)
            self._collect(waiting, results, 0)
        # While the last ones are measured nothing is left to build.
        self.state.doing = "measuring"
        self._collect(waiting, results, None)
        if self._out_of_time():
            return results, BUDGET
        full = self._limits.trials and self.state.trials + len(results) >= self._limits.trials
        return results, TRIALS if full else ""

    def _out_of_time(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _build(self, chunk: list[tuple[Task, Tiling]], first: int, results: dict) -> list[int]:
        """Compiles a library and queues its candidates; returns their numbers."""
        self.state.doing = f"compiling {len(chunk)} candidates"
        self._observe(self.state)
        candidates = [Candidate(self._case(task), tiling) for task, tiling in chunk]
        try:
            library = build_candidates(candidates, self._target)
        except (ShufflecError, RuntimeError, ValueError) as error:
            if len(chunk) > 1:  # one of them, or the tools: build each alone
                numbers = []
                for offset, one in enumerate(chunk):
                    numbers += self._build([one], first + offset, results)
                return numbers
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            self._keep(*chunk[0], result := Result(FAILED, reason=f"does not compile: {line[:200]}"))
            results[chunk[0][0].key, chunk[0][1]] = result
            return []
        path = self._folder / f"{len(list(self._folder.iterdir()))}.so"
        path.write_bytes(library)
        batch = Batch(path, candidates)
        for index, one in enumerate(chunk):
            self._submitted[first + index] = one
            self._fleet.submit(batch, index, first + index)
        return [first + index for index in range(len(chunk))]

    def _collect(self, waiting: set[int], results: dict, timeout_s: float | None) -> None:
        """Takes finished measurements; all of them when timeout_s is None, else those that are there."""
        while waiting:
            finished = self._fleet.finished() if timeout_s is not None else [self._fleet.result()]
            for number, result in finished:
                task, tiling = self._submitted.pop(number)
                waiting.discard(number)
                results[task.key, tiling] = result
                self._keep(task, tiling, result)
            self.state.boards = self._fleet.alive
            self._observe(self.state)
            if timeout_s is not None:
                return

    def _keep(self, task: Task, tiling: Tiling, result: Result) -> None:
        self._journal.add(task.key, task.family.NAME, tiling, result)

    def _case(self, task: Task) -> Case:
        if task.key not in self._cases:
            self._cases[task.key] = make_case(task)
        return self._cases[task.key]
