"""The live view of a tuning run: a table that redraws on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shufflec.cli.console import stderr_console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Group

    from shufflec.tuning.state import RunState

_ROWS = 12
_LINE_S = 10.0


@contextmanager
def tuning_view(target: str, seconds: float) -> Iterator[Callable[[RunState], None]]:
    """A function to call with the state whenever it changed. seconds: the budget, 0 for none."""
    started = time.monotonic()
    if not sys.stderr.isatty():
        yield _Lines(started, seconds)
        return
    from rich.live import Live

    with Live(console=stderr_console(), refresh_per_second=4, transient=True) as live:
        yield lambda state: live.update(_table(target, state, time.monotonic() - started, seconds))


class _Lines:
    """A line at the start of a round and every few seconds."""

    def __init__(self, started: float, seconds: float):
        self._started, self._seconds, self._last, self._trials = started, seconds, -_LINE_S, -1
        self._console = stderr_console()
        self._told = 0

    def __call__(self, state: RunState) -> None:
        now = time.monotonic() - self._started
        for problem in state.problems[self._told :]:
            self._console.print(problem, markup=False)
        self._told = len(state.problems)
        if state.trials != self._trials or now - self._last >= _LINE_S:
            self._trials, self._last = state.trials, now
            self._console.print(headline(state, now, self._seconds), markup=False)


def headline(state: RunState, elapsed: float, seconds: float) -> str:
    """One line: the whole network's tuned layers, trials, failures, time left, what happens now."""
    known = all(one.trials for one in state.tasks)
    figure = "-"
    if known and state.default:
        figure = f"{state.best / 1e6:.3f} ms, {1 - state.best / state.default:.1%} saved"
    trials = f"{state.trials}/{state.limit}" if state.limit else str(state.trials)
    parts = [f"tuned layers {figure}", f"{trials} trials", f"{state.failures} failed"]
    if state.replayed:
        parts.append(f"{state.replayed} from an earlier run")
    left = time_left(state, elapsed, seconds)
    if left is not None:
        parts.append(f"at most {_minutes(left)} left")
    parts.append(f"{state.boards} board{'s' * (state.boards != 1)}")
    return ", ".join(parts) + (f": {state.doing}" if state.doing else "")


def time_left(state: RunState, elapsed: float, seconds: float) -> float | None:
    """Seconds until the budget or the trials are used up, at the pace so far; None while nothing tells."""
    limits = []
    if seconds:
        limits.append(max(seconds - elapsed, 0.0))
    measured = state.trials - state.replayed
    if state.limit and measured > 0:
        limits.append((state.limit - state.trials) * elapsed / measured)
    return min(limits) if limits else None


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _table(target: str, state: RunState, elapsed: float, seconds: float) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"tuning for {target}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("layer", "kind"):
        table.add_column(name)
    for name in ("runs", "default", "best", "saved", "trials", "failed"):
        table.add_column(name, justify="right")
    ordered = sorted(state.tasks, key=lambda one: -one.weight * one.default)
    for one in ordered[:_ROWS]:
        saved = f"{one.gain:.1%}" if one.trials else ""
        times = [f"{ns / 1e3:,.1f} µs" if ns else "" for ns in (one.default, one.best)]
        row = [one.task.layers[0], one.task.workload.kind, str(one.weight), *times, saved, str(one.trials)]
        table.add_row(*row, str(one.failures) if one.failures else "", style="bold" if one.gain >= 0.005 else None)
    parts = [table]
    if len(ordered) > _ROWS:
        parts.append(Text(f"... and {len(ordered) - _ROWS} smaller ones", style="dim"))
    parts += [Text(problem, style="bold red") for problem in state.problems[-3:]]
    return Group(*parts, Text(headline(state, elapsed, seconds)))
