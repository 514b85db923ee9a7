"""`shufflec farm`: TVM's RPC tracker with any number of virtual boards on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stderr_console, stdout_console

if TYPE_CHECKING:
    from shufflec.devices.process_state import RunningServer

app = typer.Typer(
    no_args_is_help=True,
    help="Several boards behind one address: TVM's RPC tracker, with virtual boards on this machine.\n\n"
    "Example: shufflec farm up --target rasp4 -n 3, then shufflec tune --tracker 127.0.0.1:9190 --key rasp4",
)


@app.command()
def up(
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="Boards to stand for; see `shufflec targets`.")
    ] = "rasp4",
    number: Annotated[int, typer.Option("-n", "--number", help="How many boards to add.")] = 2,
    tracker_port: Annotated[
        int | None, typer.Option(min=1, max=65534, help="Of a new tracker. Default: 9190, or a free one.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Start a tracker, where none runs, and virtual boards that register with it; all on the loopback interface only.

    Their key is the target's name. Real boards join the same way: TVM's own server with `--tracker` and `--key`.

    Examples:

        shufflec farm up --target rasp4 -n 3

        shufflec farm up --target rasp5 -n 1
    """
    from shufflec.devices.farm import up as start
    from shufflec.targets.target import load_target

    notes = stderr_console()
    tracker, boards = start(load_target(target), number, tracker_port, lambda words: notes.print(words, markup=False))
    if json:
        emit_json({"tracker": tracker.address, "key": target, "boards": [_entry(board) for board in boards]})
        return
    console = stdout_console()
    console.print(f"{len(boards)} x {boards[0].target} at the tracker {tracker.address}", markup=False)
    console.print(f"Next: shufflec tune --tracker {tracker.address} --key {boards[0].target}", markup=False)


@app.command()
def status(json: JsonOption = False) -> None:
    """List the tracker's boards and how many of them are free.

    Example:

        shufflec farm status
    """
    from rich.table import Table

    from shufflec.devices.farm import status as ask

    farm = ask()
    if farm.tracker is None or farm.summary is None:
        if json:
            emit_json({"tracker": None, "servers": [], "free": {}})
        else:
            stdout_console().print("No farm runs; start one with `shufflec farm up --target rasp4 -n 2`.", markup=False)
        return
    servers = [{"address": one.address, "key": one.key} for one in farm.summary.servers]
    if json:
        emit_json({"tracker": farm.tracker.address, "servers": servers, "free": farm.summary.free})
        return
    ours = {board.address for board in farm.boards}
    table = Table("board", "key", "where", title=f"tracker {farm.tracker.address}", title_justify="left")
    for one in servers:
        table.add_row(one["address"], one["key"], "virtual, here" if one["address"] in ours else "joined")
    console = stdout_console()
    console.print(table)
    for key in sorted(farm.summary.free):
        count, waiting = farm.summary.free[key], farm.summary.pending.get(key, 0)
        console.print(f"{key}: {count} free, {waiting} clients waiting", markup=False)


@app.command()
def down(json: JsonOption = False) -> None:
    """Stop the farm's boards and its tracker.

    Example:

        shufflec farm down
    """
    from shufflec.devices.farm import down as stop

    stopped = stop()
    if json:
        emit_json({"stopped": [_entry(server) for server in stopped]})
        return
    for server in stopped:
        stdout_console().print(f"{server.target} on {server.address} stopped", markup=False)
    if not stopped:
        stdout_console().print("No farm runs.")


def _entry(server: RunningServer) -> dict[str, object]:
    return {"target": server.target, "address": server.address, "pid": server.pid, "log": str(server.log)}
