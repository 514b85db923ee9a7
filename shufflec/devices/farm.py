"""A farm on this machine: TVM's RPC tracker and virtual boards that register with it.

A farm of real boards is the same tracker, with TVM's own server on each board (`shufflec device instructions`).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from shufflec.devices import process_state, virtual_pi
from shufflec.devices.process_state import RunningServer
from shufflec.devices.tracker import TrackerSummary, ask_summary
from shufflec.errors import DeviceError, OptionError
from shufflec.targets.target import Target

TRACKER_KIND = "tracker"
HOST = "127.0.0.1"
DEFAULT_PORT = 9190  # of TVM's own tracker
START_TIMEOUT_S = 120.0
MAX_BOARDS = 16


@dataclass(frozen=True)
class Farm:
    """tracker: None when none runs here. boards: the farm's virtual boards. summary: what the tracker says."""

    tracker: RunningServer | None
    boards: list[RunningServer]
    summary: TrackerSummary | None


def up(
    target: Target, count: int, port: int | None = None, say: Callable[[str], None] = lambda _: None
) -> tuple[RunningServer, list[RunningServer]]:
    """Adds `count` virtual boards to this machine's farm, starting its tracker where none runs; their key is the
    target's name. Returns the tracker and the new boards.

    port: of a new tracker; DEFAULT_PORT, or any free one, when None. Raises OptionError for a bad count or a port
    that is not the running tracker's, DeviceError when something does not start (boards that did are stopped).
    """
    if not 1 <= count <= MAX_BOARDS:
        raise OptionError("-n", count, f"expected 1 to {MAX_BOARDS} boards")
    tracker = _tracker()
    if tracker is not None and port not in (None, tracker.port):
        raise OptionError("--tracker-port", port, f"the farm's tracker runs on port {tracker.port}", "leave it out")
    started = tracker is None
    if tracker is None:
        tracker = _start_tracker(port)
    boards: list[RunningServer] = []
    try:
        for _ in range(count):
            boards.append(virtual_pi.start(target, say=say, tracker=(tracker.address, target.name)))
        _wait_for_boards(tracker, boards, target.name)
    except BaseException:
        for server in [*boards, *([tracker] if started else [])]:
            process_state.stop(server)
        raise
    return tracker, boards


def status() -> Farm:
    """What runs. Raises DeviceError when the tracker runs and does not answer."""
    tracker = _tracker()
    summary = ask_summary(tracker.host, tracker.port) if tracker is not None else None
    return Farm(tracker, _boards(), summary)


def down() -> list[RunningServer]:
    """Stops the boards and the tracker; returns what was stopped."""
    tracker = _tracker()
    stopped = [*_boards(), *([tracker] if tracker is not None else [])]
    for server in stopped:
        process_state.stop(server)
    return stopped


def _tracker() -> RunningServer | None:
    return next((one for one in process_state.running_servers() if one.kind == TRACKER_KIND), None)


def _boards() -> list[RunningServer]:
    return [one for one in process_state.running_servers() if one.kind == virtual_pi.FARM_KIND]


def _start_tracker(port: int | None) -> RunningServer:
    chosen = _free_port(DEFAULT_PORT) if port is None else port
    folder = process_state.new_folder(TRACKER_KIND)
    command = [sys.executable, "-m", "tvm.exec.rpc_tracker", "--host", HOST, "--port", str(chosen)]
    command += ["--port-end", str(chosen + 1)]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            command,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = process_state.process_start(process.pid) or 0
    server = RunningServer(TRACKER_KIND, TRACKER_KIND, HOST, chosen, process.pid, 1, started, folder)
    try:
        _wait_for_tracker(process, server)
    except BaseException:
        process_state.stop(server)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    process_state.save(server)
    return server


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return probe.getsockname()[1]
    raise DeviceError("no TCP port is free on the loopback interface")


def _wait_for_tracker(process: subprocess.Popen, server: RunningServer) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = process_state.last_line(server.log)
            raise DeviceError(f"TVM's RPC tracker did not start: {said}", "is the port taken? See --tracker-port")
        # It fails until the tracker listens. The answer must come from ours, not from one that had the port.
        with suppress(DeviceError):
            ask_summary(server.host, server.port, 5.0)
            if f"bind to {server.address}" in server.log.read_text(errors="replace"):
                return
        time.sleep(0.1)
    raise DeviceError(f"TVM's RPC tracker did not answer within {START_TIMEOUT_S:g} s")


def _wait_for_boards(tracker: RunningServer, boards: list[RunningServer], key: str) -> None:
    """Returns when the tracker lists every one of them."""
    deadline = time.monotonic() + START_TIMEOUT_S
    wanted = {board.address for board in boards}
    while time.monotonic() < deadline:
        listed = {one.address for one in ask_summary(tracker.host, tracker.port).servers if one.key == key}
        if wanted <= listed:
            return
        if gone := next((board for board in boards if not board.alive), None):
            raise DeviceError(f"a virtual {key} of the farm ended as it started; see {gone.log}")
        time.sleep(0.1)
    raise DeviceError(f"the farm's boards did not register with its tracker within {START_TIMEOUT_S:g} s")
