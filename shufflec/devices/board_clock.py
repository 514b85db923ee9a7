"""Starts the process that tells a virtual board's time, beside the emulator.

The clock is a program of its own, spoken to over a socket like the emulator: it outlives the command that started the
board, and its core models' libraries stay out of this process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import shufflec
from shufflec.devices.process_state import last_line
from shufflec.errors import DeviceError
from shufflec.targets.target import Target, TimeModel

MODULE = "shufflec.timing.clock"
SOCKET, LOG = "clock.socket", "clock.log"
START_TIMEOUT_S = 120.0  # its first start compiles the core models' inner loop
_READY = "ready"


def start_clock(target: Target, model: TimeModel, folder: Path) -> tuple[subprocess.Popen, socket.socket]:
    """Starts the clock of a target with its time model, in a virtual board's folder.

    Returns it and its lifeline: the clock ends when every copy of that socket is closed, so give it to the emulator.
    """
    command = [sys.executable, "-m", MODULE, "--socket", SOCKET, "--core", target.core]
    command += ["--clock-hz", str(target.clock_hz), "--scale", repr(model.scale)]
    command += ["--store-miss-ns", repr(model.store_miss_ns), "--dram-line-ns", repr(model.dram_line_ns)]
    command += ["--shared-line-ns", repr(model.shared_line_ns)]
    ours, its = socket.socketpair()
    ours.shutdown(socket.SHUT_RD)  # whoever reads from it finds its end, as from /dev/null
    # It runs in the board's folder, from where a checkout's package would not be found.
    paths = [str(Path(shufflec.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with its, open(folder / LOG, "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=its,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process, ours


def wait_for_clock(process: subprocess.Popen, target: Target, folder: Path) -> None:
    """Returns when the clock answers. Raises DeviceError when it ends or says nothing for START_TIMEOUT_S."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if _READY in (folder / LOG).read_text(errors="replace").splitlines():
            return
        if ended:
            raise DeviceError(f"the clock of the virtual {target.name} did not start: {last_line(folder / LOG)}")
        time.sleep(0.02)
    raise DeviceError(f"the clock of the virtual {target.name} was not ready within {START_TIMEOUT_S:g} s")


def plugin_arguments(target: Target) -> str:
    """What the plugin needs to know of the clock and the caches (native/tcg_plugin/plugin.c)."""
    caches = [target.caches[level] for level in ("l1d", "l2", "l3") if level in target.caches]
    levels = [f"{cache.sets}x{cache.ways}{'s' if cache.shared else ''}" for cache in caches]
    return f",clock={SOCKET},caches={':'.join([str(caches[0].line_bytes), *levels])}"
