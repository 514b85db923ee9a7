"""Tunes a network for a board: from its integer graph to records that `compile` takes."""

from __future__ import annotations

from collections.abc import Callable

from shufflec.backends.layout import lay_out
from shufflec.backends.planner import plan
from shufflec.errors import DeviceError, OptionError
from shufflec.ir.graph import Graph
from shufflec.kernels.records import Records, load_records
from shufflec.kernels.select import Selection
from shufflec.targets.target import Target
from shufflec.tuning.exchange import keep_records
from shufflec.tuning.fleet import Board, Fleet
from shufflec.tuning.journal import Journal
from shufflec.tuning.outcome import INTERRUPTED, Outcome, TunedTask
from shufflec.tuning.run import Limits, Observe, Run, journal_path
from shufflec.tuning.state import TaskState
from shufflec.tuning.tasks import Task, extract_tasks
from shufflec.tuning.whole import network_ms

MAX_SWEEP = 8 << 20  # of native/tuning.c
Say = Callable[[str], None]


def tune(
    graph: Graph,
    target: Target,
    open_boards: Callable[[], list[Board]],
    *,
    name: str = "network",
    layers: str = "*",
    again: bool = False,
    trials: int = 0,
    seconds: float = 0.0,
    check_whole: bool = True,
    say: Say = lambda words: None,
    observe: Observe = lambda state: None,
) -> Outcome:
    """Tunes the workloads of a network and keeps what it found among the user's own records.

    open_boards: the boards to measure on, asked for only when there is something to tune. layers: pattern of layer
    names. again: also workloads with a record. trials, seconds: limits, 0 for none. check_whole: time the whole network
    before and after. say: told what a user should know at once. observe: told whenever something changed.

    A run that was stopped is resumed by the same call. On Ctrl-C the best so far is kept and KeyboardInterrupt goes
    on. Raises OptionError when no layer can be tuned, DeviceError when no board is left.
    """
    if target.isa == "portable" or not target.triple:
        raise OptionError("--target", target.name, "its kernels have nothing to tune", "choose an ARM Linux target")
    every = extract_tasks(graph, target.isa, layers)
    if not every:
        raise OptionError("--layers", layers, "no layer that can be tuned has such a name")
    path = journal_path(target, every, "again" if again else "", sweep := sweep_bytes(graph, target))
    tasks = every if again or path.is_file() else unknown_tasks(every, load_records(target.name))
    if not tasks:
        return _outcome(name, target, [], None, len(every), None)
    boards = open_boards()
    with Journal(path, [task.key for task in tasks]) as journal:
        tasks = [task for task in every if task.key in journal.tasks]
        with Fleet(boards, sweep, say) as fleet:
            run = Run(tasks, target, fleet, journal, Limits(trials, seconds), observe)
            try:
                ended = run.run()
            except (KeyboardInterrupt, DeviceError):
                if run.records():
                    keep_records(target.name, run.records())
                raise
    records = run.records()
    place = keep_records(target.name, records) if records else None
    whole = _whole(graph, target, boards, say) if check_whole and records else None
    known = len(every) - len(tasks)
    return _outcome(name, target, run.state.tasks, run, known, whole, ended, str(place or ""))


def unknown_tasks(tasks: list[Task], records: Records) -> list[Task]:
    """Tasks without a record of their family's version; `records` are one target's, of this toolchain."""
    return [task for task in tasks if records.find(task.workload, task.family.NAME) is None]


def sweep_bytes(graph: Graph, target: Target) -> int:
    """What an inference touches between two runs of a layer: its other constants and the activations."""
    program = lay_out(graph, target.isa, Selection())
    touched = program.weight_bytes + plan(program.buffers.values()).peak_bytes
    return min(touched, MAX_SWEEP) // 64 * 64


def _whole(graph: Graph, target: Target, boards: list[Board], say: Say) -> tuple[float, float] | None:
    """The network's milliseconds before and after; None when its board has gone meanwhile."""
    try:
        with boards[0].connect() as session:
            before = network_ms(graph, target, session, Records())
            return before, network_ms(graph, target, session, load_records(target.name))
    except DeviceError as error:
        say(f"the whole network was not measured: {error.message}")
        return None


def _outcome(
    name: str,
    target: Target,
    states: list[TaskState],
    run: Run | None,
    known: int,
    whole: tuple[float, float] | None,
    ended: str = INTERRUPTED,
    place: str = "",
) -> Outcome:
    tasks = tuple(
        TunedTask(
            layer=one.task.layers[0],
            kind=one.task.workload.kind,
            key=one.task.record_key,
            kernel=one.task.family.NAME,
            weight=one.weight,
            default=one.default,
            best=one.best,
            tiling=dict(one.tiling),
            default_tiling=dict(one.task.tilings[0]),
            tilings=len(one.task.tilings),
            trials=one.trials,
            failures=one.failures,
        )
        for one in states
    )
    state = run.state if run is not None else None
    return Outcome(
        name=name,
        target=target.name,
        title=target.title,
        kind=states[0].kind if states else "estimated",
        ended=ended,
        known=known,
        trials=state.trials if state else 0,
        replayed=state.replayed if state else 0,
        wrong=state.wrong if state else 0,
        tasks=tasks,
        curve=tuple(state.curve) if state else (),
        before_ms=whole[0] if whole else None,
        after_ms=whole[1] if whole else None,
        problems=tuple(state.problems) if state else (),
        records=place,
    )
