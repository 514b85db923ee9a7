"""`shufflec device`: virtual boards on this machine, and how to start the server on a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stderr_console, stdout_console

if TYPE_CHECKING:
    from shufflec.devices.process_state import RunningServer

app = typer.Typer(
    no_args_is_help=True,
    help="Virtual boards on this machine, and how to set up a real one.\n\n"
    "Example: shufflec device up --target rasp4 --port 9090, then shufflec profile --rpc 127.0.0.1:9090",
)

TargetOption = Annotated[
    str, typer.Option("--target", metavar="NAME", help="Board to stand for; see `shufflec targets`.")
]


@app.command()
def up(
    target: TargetOption = "rasp4",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="TCP port. Default: 9090, or a free one where that is used.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of TVM's thread pool on the board.")] = 1,
    json: JsonOption = False,
) -> None:
    """Start a virtual board, or find the one that runs already. It listens on the loopback interface only.

    The first use fetches TVM's runtime for AArch64 and builds the server, about a minute. For the target `host` it is
    TVM's own server, which measures real time.

    Examples:

        shufflec device up --target rasp4

        shufflec device up --target rasp5 --port 9091 --threads 4
    """
    from shufflec.devices.local import up as start
    from shufflec.targets.target import load_target

    notes = stderr_console()
    server, started = start(load_target(target), port, threads, lambda words: notes.print(words, markup=False))
    if json:
        emit_json({**_entry(server), "started": started})
        return
    what = "started" if started else "runs already"
    stdout_console().print(f"{server.target} {what} on {server.address} ({_time_kind(server)} time)", markup=False)


@app.command()
def down(
    target: Annotated[str | None, typer.Option("--target", metavar="NAME", help="Only this target's.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Only the one on this port.")] = None,
    json: JsonOption = False,
) -> None:
    """Stop virtual boards: those chosen, or all of them.

    Examples:

        shufflec device down

        shufflec device down --target rasp4
    """
    from shufflec.devices.local import down as stop
    from shufflec.targets.target import load_target

    stopped = stop(None if target is None else load_target(target).name, port)
    if json:
        emit_json({"stopped": [_entry(server) for server in stopped]})
        return
    for server in stopped:
        stdout_console().print(f"{server.target} on {server.address} stopped", markup=False)
    if not stopped:
        stdout_console().print("No such device runs.")


@app.command("list")
def list_devices(json: JsonOption = False) -> None:
    """List the virtual boards that run on this machine.

    Example:

        shufflec device list
    """
    from rich.table import Table

    from shufflec.devices.local import devices

    servers = devices()
    if json:
        emit_json({"devices": [_entry(server) for server in servers]})
        return
    if not servers:
        stdout_console().print("No device runs; start one with `shufflec device up --target rasp4`.", markup=False)
        return
    table = Table("target", "address", "threads", "time", "process", "log")
    for server in servers:
        log = str(server.log)
        table.add_row(server.target, server.address, str(server.threads), _time_kind(server), str(server.pid), log)
    stdout_console().print(table)


@app.command()
def instructions(
    host: Annotated[str, typer.Option(metavar="USER@HOST", help="How ssh reaches the board.")] = "pi@raspberrypi",
    port: Annotated[int, typer.Option(min=1, max=65534, help="TCP port of the server.")] = 9090,
    json: JsonOption = False,
) -> None:
    """Print how to start the RPC server on a real Raspberry Pi, and how to tunnel to it through ssh.

    Examples:

        shufflec device instructions

        shufflec device instructions --host me@192.168.1.20 --port 9191
    """
    from shufflec.devices.instructions import instructions as steps_for

    steps = steps_for(host, port)
    if json:
        emit_json({"steps": [{"title": step.title, "commands": list(step.commands)} for step in steps]})
        return
    for number, step in enumerate(steps, 1):
        typer.echo(f"{number}. {step.title}\n")
        for command in step.commands:
            typer.echo(f"    {command}")  # not through rich: a wrapped command cannot be copied
        typer.echo()


def _time_kind(server: RunningServer) -> str:
    return "simulated" if server.kind == "virtual-pi" else "measured"


def _entry(server: RunningServer) -> dict[str, object]:
    return {
        "target": server.target,
        "address": server.address,
        "port": server.port,
        "threads": server.threads,
        "kind": _time_kind(server),
        "pid": server.pid,
        "log": str(server.log),
    }
