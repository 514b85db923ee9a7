"""What every command shares: the two consoles, JSON output and progress bars."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout instead of text.")]


def stdout_console() -> Console:
    """Rich console for results."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr_console() -> Console:
    """Rich console for progress and notes, so that stdout stays clean for results and JSON."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def emit_json(value: object) -> None:
    """Prints one JSON object, keys in the order given."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def progress_bar(transient: bool = True) -> Iterator[Progress]:
    """A progress display on stderr: description, bar, count, time left. Silent when stderr is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr_console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    ) as progress:
        yield progress


@contextmanager
def counted_progress(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """A function to call before each step with what it is, how many are done and of how many: a bar on a terminal, one
    line a step elsewhere. name: of the bar until the first step."""
    console = stderr_console()
    with progress_bar() as bar:
        task = bar.add_task(name, total=None, note="")

        def advance(what: str, done: int, total: int) -> None:
            if console.is_terminal:
                bar.update(task, description=what, completed=done, total=total)
            else:
                console.print(f"{done + 1}/{total} {what}", markup=False)

        yield advance
