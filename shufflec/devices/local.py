"""Devices on this machine that outlive one command: a virtual Pi per ARM target, TVM's own server for `host`."""

from __future__ import annotations

import json
from collections.abc import Callable

from shufflec.devices import process_state, stock_server, virtual_pi
from shufflec.devices.process_state import RunningServer
from shufflec.errors import DeviceError
from shufflec.targets.target import Target

DEFAULT_PORT = 9090  # of TVM's own server too


def devices() -> list[RunningServer]:
    """The devices that run on this machine, by port; those of a farm (farm.py) belong to it."""
    kinds = (virtual_pi.KIND, stock_server.KIND)
    return [server for server in process_state.running_servers() if server.kind in kinds]


def up(
    target: Target, port: int | None = None, threads: int = 1, say: Callable[[str], None] = lambda _: None
) -> tuple[RunningServer, bool]:
    """A running device for `target` with `threads` and the same figures, and whether it was started by this call.

    port: the one it must listen on; None takes a running device on any port, else starts one on DEFAULT_PORT, or on
    any free port where another of ours has that. say: told before anything that takes time.
    Raises DeviceError when the port is taken; OptionError and ToolMissingError as `virtual_pi.start`.
    """
    running = devices()
    for server in running:
        wanted = (server.target, server.threads) == (target.name, threads) and _stands_for(server, target)
        if wanted and port in (None, server.port):
            return server, False
        if server.port == port:
            raise DeviceError(
                f"port {port} is taken by the {server.target} device with {server.threads} thread(s)",
                f"stop it with `shufflec device down --port {port}`, or choose another port",
            )
    if port is None:
        port = 0 if any(server.port == DEFAULT_PORT for server in running) else DEFAULT_PORT
    if target.family == "host":
        return stock_server.start(port, threads), True
    return virtual_pi.start(target, port, threads, say), True


def _stands_for(server: RunningServer, target: Target) -> bool:
    """Whether a running device has a target's figures: a user's file keeps its name when its figures change."""
    if server.kind != virtual_pi.KIND:
        return True
    try:
        return (server.folder / virtual_pi.BOARD).read_text(encoding="utf-8") == json.dumps(target.to_dict())
    except OSError:
        return False  # it is being started, or has just ended


def down(target_name: str | None = None, port: int | None = None) -> list[RunningServer]:
    """Stops the devices of that target and on that port, all when neither is given; returns those it stopped."""
    chosen = [server for server in devices() if target_name in (None, server.target) and port in (None, server.port)]
    for server in chosen:
        process_state.stop(server)
    return chosen
