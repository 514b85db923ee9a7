"""Servers that outlive the command which started them: one folder each, with its state, log and scratch files."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from shufflec.errors import DeviceError
from shufflec.files import cache_dir, write_atomic

# A folder without state belongs to a server that is being started, unless it is older than any start may take.
_START_LIMIT_S = 300.0


@dataclass(frozen=True)
class RunningServer:
    """A server process on this machine.

    kind: "virtual-pi" or "stock". target: name of the target it stands for. started: the process's start time in
    clock ticks since boot, which tells it from a later process with the same id. folder: its files.
    """

    kind: str
    target: str
    host: str
    port: int
    pid: int
    threads: int
    started: int
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        return process_start(self.pid) == self.started


def process_start(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot; None when there is none, or only its zombie."""
    try:
        # The name, in parentheses, may hold anything: the fields are counted from the last parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def new_folder(name: str) -> Path:
    """An empty folder for a server that is about to start."""
    folder = cache_dir("devices", "running") / f"{name}-{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def save(server: RunningServer) -> None:
    """Makes the server known to `running_servers`."""
    write_atomic(
        server.folder / "state.json", json.dumps({**asdict(server), "folder": server.folder.name}, indent=2) + "\n"
    )


def running_servers() -> list[RunningServer]:
    """Servers that are alive, by port. Folders of servers that ended are removed on the way."""
    found = []
    for folder in cache_dir("devices", "running").iterdir():
        server = _load(folder)
        if server is not None and server.alive:
            found.append(server)
        elif server is not None or _age(folder) > _START_LIMIT_S:
            shutil.rmtree(folder, ignore_errors=True)
    return sorted(found, key=lambda server: (server.port, server.pid))


def stop(server: RunningServer, timeout_s: float = 10.0) -> None:
    """Ends the server and removes its files; asks first, and insists after `timeout_s`. Fine when it ended already."""
    _signal(server, signal.SIGTERM)
    if not _ended(server, timeout_s):
        _signal(server, signal.SIGKILL)
        if not _ended(server, timeout_s):
            raise DeviceError(f"process {server.pid} of the server on {server.address} does not end")
    shutil.rmtree(server.folder, ignore_errors=True)


def last_line(log: Path) -> str:
    """The last line of a log that says something, for an error message."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _load(folder: Path) -> RunningServer | None:
    try:
        state = json.loads((folder / "state.json").read_text())
        return RunningServer(**{**state, "folder": folder})
    except (OSError, ValueError, TypeError):
        return None  # not written yet, or by another version: the folder's age decides


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _signal(server: RunningServer, number: signal.Signals) -> None:
    # The whole process group: a session may be running uploaded code in a child.
    try:
        if server.alive:
            os.killpg(server.pid, number)
    except ProcessLookupError:
        return


def _ended(server: RunningServer, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while server.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    try:
        os.waitpid(server.pid, os.WNOHANG)  # our own child leaves a zombie otherwise
    except ChildProcessError:
        return True  # somebody else's child
    return True
