"""`shufflec tune`: measures tilings of a network's kernels on boards and keeps the fastest as records."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console
from shufflec.cli.model_source import Stages, model_source, prepared_model, wishes_of
from shufflec.cli.tune_view import tuning_view
from shufflec.errors import OptionError

if TYPE_CHECKING:
    from shufflec.ir.graph import Graph
    from shufflec.targets.target import Target
    from shufflec.tuning.fleet import Board
    from shufflec.tuning.outcome import Outcome

_SECONDS = {"": 60, "s": 1, "m": 60, "h": 3600}


def tune_command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE|MODEL]",
            help="A bundle, or what `shufflec compile` takes. Default: the bundled checkpoint for --groups.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.toml", help="Default: the bundle's, or rasp4.")
    ] = None,
    rpc: Annotated[str | None, typer.Option(metavar="HOST:PORT,...", help="Boards to measure on.")] = None,
    tracker: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="TVM's tracker, with --key.")] = None,
    key: Annotated[str, typer.Option(help="Of the boards at the tracker, or of the server at --rpc.")] = "",
    boards: Annotated[int, typer.Option(min=1, max=16, help="Virtual boards to start, without an address.")] = 1,
    trials: Annotated[int, typer.Option(min=0, help="Measurements at most. 0: until nothing more is gained.")] = 0,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="At most this long, as in 90s, 30m or 2h.")] = None,
    layers: Annotated[str, typer.Option(metavar="PATTERN", help="Only workloads of these layers, as stage3.*.")] = "*",
    again: Annotated[bool, typer.Option("--again", help="Also workloads that have a record already.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which a board that is silent hangs.")] = 60.0,
    groups: Annotated[int | None, typer.Option(help="As for compile.")] = None,
    scale: Annotated[float | None, typer.Option(help="As for compile.")] = None,
    variant: Annotated[str | None, typer.Option(help="As for compile.")] = None,
    family: Annotated[str | None, typer.Option(metavar="v1|v2", help="As for compile.")] = None,
    input_size: Annotated[str | None, typer.Option(metavar="N|HxW", help="As for compile.")] = None,
    classes: Annotated[int | None, typer.Option(help="As for compile.")] = None,
    data: Annotated[str | None, typer.Option(help="As for compile.")] = None,
    random_weights: Annotated[bool, typer.Option("--random-weights", help="As for compile.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE", help="Write an HTML page about the run; a DIR gets tuning.html.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write your own records of --target, do not tune.")
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Check and take over records, do not tune.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure tilings of a network's kernels and keep the fastest of each as a record that `shufflec compile` uses.

    Without an address it starts virtual boards itself, which give the same figures every time. Every candidate must
    equal the integer reference bit for bit before it counts. Ctrl-C, a killed process or a lost board lose at most the
    candidates in hand: the same command goes on where it was.

    Examples:

        shufflec tune --target rasp4 --groups 8

        shufflec tune photos-bundle --rpc 192.168.1.20:9090 --budget 30m

        shufflec farm up --target rasp4 -n 3 && shufflec tune --tracker 127.0.0.1:9190 --key rasp4

        shufflec tune --target rasp4 --export rasp4.jsonl
    """
    from shufflec.targets.target import load_target

    if export is not None or import_ is not None:
        _move_records(load_target(target or "rasp4"), export, import_, json)
        return
    seconds = parse_budget(budget) if budget is not None else 0.0
    if (tracker is not None) and rpc is not None:
        raise OptionError("--rpc", rpc, "boards come from the tracker", "give --rpc or --tracker")
    if tracker is not None and not key:
        raise OptionError("--tracker", tracker, "needs --key, the kind of board to ask it for")
    wishes = wishes_of(groups, scale, variant, classes, input_size, family)
    stages = Stages()
    with progress_bar() as bar:
        stages.show(bar)
        name, board, graph = _network(model, target, wishes, data, random_weights, stages)
        stages.done()
    outcome = _tuned(
        graph,
        board,
        rpc,
        tracker,
        key,
        boards,
        timeout,
        name=name,
        layers=layers,
        again=again,
        trials=trials,
        seconds=seconds,
    )
    written = _write_report(outcome, report) if report is not None else None
    if json:
        emit_json({**outcome.to_dict(), "report": None if written is None else str(written)})
    else:
        _print_outcome(outcome, written)


def parse_budget(text: str) -> float:
    """Seconds of "90s", "30m", "2h", or minutes without a unit. Raises OptionError."""
    found = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)([smh]?)", text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not seconds:
        raise OptionError("--budget", text, "expected a time such as 90s, 30m or 2h")
    return seconds


def _network(
    model: Path | None,
    target: str | None,
    wishes: dict[str, object],
    data: str | None,
    random_weights: bool,
    stages: Stages,
) -> tuple[str, Target, Graph]:
    """The name, the board and the integer graph of a bundle, or of a model as compile takes it."""
    from shufflec.targets.target import load_target

    stages("loading")
    if model is not None and model.is_dir():
        from shufflec.backends.bundle import open_bundle

        for option, value in wishes.items():
            raise OptionError("--" + option.replace("_", "-"), value, f"{model} has its own", "leave the option out")
        bundle = open_bundle(model)
        return bundle.name, load_target(target) if target is not None else bundle.target, bundle.graph()
    from shufflec.ir.pipeline import lower

    board = load_target(target or "rasp4")
    name, source = model_source(model, wishes, random_weights, stages)
    stages("quantizing")
    prepared = prepared_model(source, data, stages)
    stages("lowering to integers")
    return name, board, lower(prepared.model).graph


def _tuned(
    graph: Graph,
    board: Target,
    rpc: str | None,
    tracker: str | None,
    key: str,
    count: int,
    timeout: float,
    *,
    seconds: float,
    **wishes: object,
) -> Outcome:
    from shufflec.tuning.boards import board_at, boards_of_tracker, started_boards
    from shufflec.tuning.tune import tune

    notes = stderr_console()

    def say(words: str) -> None:
        notes.print(words, markup=False)

    with ExitStack() as stack:

        def open_boards() -> list[Board]:
            if tracker is not None:
                return boards_of_tracker(tracker, key, timeout)
            if rpc is not None:
                return [board_at(address.strip(), key, timeout) for address in rpc.split(",")]
            return stack.enter_context(started_boards(board, count, timeout, say))

        observe = stack.enter_context(tuning_view(board.name, seconds))
        return tune(graph, board, open_boards, say=say, observe=observe, seconds=seconds, **wishes)


def _print_outcome(outcome: Outcome, report: Path | None) -> None:
    from rich.table import Table

    console = stdout_console()
    table = Table("layer", "kind", box=None, padding=(0, 2, 0, 0))
    for name in ("runs", "default", "best", "saved", "tiling", "trials"):
        table.add_column(name, justify="left" if name == "tiling" else "right")
    for one in sorted(outcome.tasks, key=lambda one: -one.weight * one.default):
        times = [f"{ns / 1e3:,.1f} µs" if ns else "-" for ns in (one.default, one.best)]
        tiling = ",".join(f"{axis}={value}" for axis, value in one.tiling.items())
        table.add_row(one.layer, one.kind, str(one.weight), *times, f"{one.gain:.1%}", tiling, str(one.trials))
    if outcome.tasks:
        console.print(table)
        console.print()
    for sentence in outcome.sentences():
        console.print(sentence, markup=False)
    if report is not None:
        console.print(f"Wrote {report}", markup=False)


def _write_report(outcome: Outcome, place: Path) -> Path:
    from shufflec.files import write_atomic
    from shufflec.reports.tuning import render

    path = place if place.suffix == ".html" else place / "tuning.html"
    return write_atomic(path, render(outcome))


def _move_records(board: Target, export: Path | None, import_: Path | None, json: bool) -> None:
    from shufflec.tuning.exchange import export_records, import_records

    if export is not None and import_ is not None:
        raise OptionError("--export", export, "cannot be given with --import", "do one after the other")
    if export is not None:
        count = export_records(board.name, export)
        text = f"Wrote {count} records of {board.name} to {export}"
        skipped: dict[str, int] = {}
    else:
        count, skipped = import_records(board.name, import_)
        left = "".join(f"; {number} {reason} left out" for reason, number in sorted(skipped.items()))
        text = f"Took over {count} records for {board.name}{left}"
    if json:
        emit_json({"target": board.name, "records": count, "skipped": skipped})
    else:
        stdout_console().print(text, markup=False)
