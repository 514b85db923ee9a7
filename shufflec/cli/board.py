"""`shufflec board`: make the estimates of virtual boards fit a board of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console
from shufflec.errors import InputFileError, OptionError

if TYPE_CHECKING:
    from shufflec.profiling.calibrate import Calibration
    from shufflec.targets.target import Target

app = typer.Typer(
    no_args_is_help=True,
    help="Make the estimates of virtual boards fit a board of your own.\n\n"
    "Example: shufflec board calibrate --rpc 192.168.1.20:9090 --target rasp4 -o my-board.toml",
)


@app.callback()
def _group() -> None:
    """Keeps `calibrate` a command of its own name while it is the only one."""


@app.command()
def calibrate(
    rpc: Annotated[str, typer.Option(metavar="HOST:PORT", help="The board's RPC server.")],
    target: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="The board that it is, or is like; see `shufflec targets`.")
    ] = "rasp4",
    clock: Annotated[
        str | None, typer.Option(metavar="1.5GHz", help="Clock of the board. Default: the target's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.toml", help="Default: TARGET-calibrated.toml.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="The board in words, for reports.")] = None,
    key: Annotated[str, typer.Option(help="Key of the RPC server, if it has one.")] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that the board may take for one answer.")] = 120.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Time everything, also what an interrupted run has.")] = False,
    dated: Annotated[bool, typer.Option("--date/--no-date", help="Write today's date into the file.")] = True,
    json: JsonOption = False,
) -> None:
    """Calibrate a board: time some networks and layers on it, refit the target's three time parameters, write a target.

    Networks with random weights are compiled and timed by the board's own timer, one thread, and estimated on a virtual
    board here. The errors shown are those of runs whose network the fit did not see; they become the range of the new
    target, which every command takes as --target my-board.toml. An interrupted run goes on where it stopped.

    Examples:

        shufflec board calibrate --rpc 192.168.1.20:9090 --target rasp4 -o my-board.toml

        shufflec compile --target my-board.toml
    """
    from dataclasses import replace

    from shufflec.devices.handshake import parse_address
    from shufflec.files import write_atomic
    from shufflec.reports.calibration import named_target, print_calibration, target_file, to_json
    from shufflec.targets.target import load_target, read_target, with_clock

    parse_address(rpc)
    board = load_target(target)
    if clock is not None:
        board = replace(with_clock(board, clock), sources=board.sources | {"clock": "given as --clock"})
    place = output or Path(f"{board.name}-calibrated.toml")
    name = _name(place)
    if place.exists():
        read_target(place)  # a user's file that is no target is not replaced
    calibration, progress = _calibrate(board, rpc, key, timeout, fresh)
    new = named_target(calibration, name, title or f"{board.title}, calibrated", _date() if dated else "")
    write_atomic(place, target_file(new))
    progress.unlink(missing_ok=True)
    if json:
        emit_json({"file": str(place), **to_json(calibration)})
        return
    console = stdout_console()
    print_calibration(console, calibration)
    console.print(f"\nWrote {place}; use it as --target {place}", markup=False)


def _name(place: Path) -> str:
    """The target's name from its file's. Raises OptionError for one that is no name."""
    from shufflec.targets.target import is_name, target_names

    if place.suffix != ".toml" or not is_name(place.stem):
        raise OptionError("--output", place, "expected a name like my-board.toml: a-z, 0-9, '-' and '_'")
    if place.stem in target_names():
        raise OptionError("--output", place, f"{place.stem} is the name of a shipped target", "choose another")
    if place.is_dir():
        raise InputFileError(place, "is a folder, expected a target file")
    return place.stem


def _calibrate(board: Target, rpc: str, key: str, timeout: float, fresh: bool) -> tuple[Calibration, Path]:
    """The calibration, and the file with its timings, to be removed when all is written."""
    from contextlib import contextmanager
    from tempfile import TemporaryDirectory

    from shufflec.profiling.calibrate import calibrate as run_calibration
    from shufflec.profiling.calibrate import starting_target
    from shufflec.profiling.calibrate_progress import kept_timings, progress_file
    from shufflec.profiling.calibrate_set import build_networks
    from shufflec.profiling.open_device import open_device

    notes = stderr_console()
    say = lambda words: notes.print(words, markup=False)  # noqa: E731

    @contextmanager
    def open_board():
        with open_device(board, rpc, key, 1, timeout, say) as session:
            yield session

    @contextmanager
    def open_virtual(target: Target):
        with open_device(target, None, "", 1, timeout, say) as session:
            yield session

    start = starting_target(board)
    with open_board():
        pass  # a board that cannot be reached is said before minutes of compiling
    with TemporaryDirectory(prefix="shufflec-calibrate-") as folder, progress_bar() as bar:
        task = bar.add_task("", total=None, note="")
        advance = lambda phase, done, total: bar.update(task, description=phase, completed=done, total=total)  # noqa: E731
        networks = build_networks(start, Path(folder), progress=advance)
        progress = progress_file(rpc, networks)
        if fresh:
            progress.unlink(missing_ok=True)
        timings = kept_timings(progress, networks)
        if timings.milliseconds:
            say(f"Going on: {len(timings.milliseconds)} runs were timed before it was interrupted (--fresh: none).")
        calibration = run_calibration(start, networks, open_board, open_virtual, timings, advance)
    return calibration, progress


def _date() -> str:
    """Today, or the day of SOURCE_DATE_EPOCH (reproducible-builds.org), as 2026-11-20."""
    import os
    from datetime import UTC, datetime

    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return now.strftime("%Y-%m-%d")
