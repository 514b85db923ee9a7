"""TVM's own RPC server on this machine: the device of the `host` target, and what a real Pi runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shufflec.devices import process_state
from shufflec.devices.handshake import check_server
from shufflec.devices.process_state import RunningServer
from shufflec.errors import DeviceError, OptionError

KIND = "stock"
HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0


def start(port: int = 0, threads: int = 1) -> RunningServer:
    """Starts `python -m tvm.exec.rpc_server` on the loopback interface and returns when it answers.

    port: 0 takes a free one. threads: of TVM's thread pool in its sessions. The server outlives this process; end it
    with `process_state.stop`. Raises OptionError for a bad port, DeviceError when the server does not start.
    """
    if not 0 <= port <= 65535:
        raise OptionError("--port", port, "expected 0 (any free port) to 65535")
    port = port or _free_port()
    folder = process_state.new_folder("host")
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", HOST, "--port", str(port)]
    command += ["--port-end", str(port + 1)]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "TVM_NUM_THREADS": str(threads), "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = process_state.process_start(process.pid) or 0
    server = RunningServer(KIND, "host", HOST, port, process.pid, threads, started, folder)
    try:
        _wait_until_answering(process, server)
    except BaseException:
        process_state.stop(server)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    process_state.save(server)
    return server


@contextmanager
def stock_server(threads: int = 1) -> Iterator[RunningServer]:
    """A stock server of one's own on a free port, stopped at the end of the block."""
    server = start(threads=threads)
    try:
        yield server
    finally:
        process_state.stop(server)


def _free_port() -> int:
    # The server cannot take "any free port" itself. Another process could take this one first; then the start fails.
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait_until_answering(process: subprocess.Popen, server: RunningServer) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DeviceError(f"TVM's RPC server did not start: {process_state.last_line(server.log)}")
        # It fails until the server listens. The answer must come from our server, not from one that had the port.
        with suppress(DeviceError):
            check_server(server.host, server.port, timeout_s=5.0)
            if f"bind to {server.address}" in server.log.read_text(errors="replace"):
                return
        time.sleep(0.1)
    raise DeviceError(
        f"TVM's RPC server did not answer within {START_TIMEOUT_S:g} s: {process_state.last_line(server.log)}"
    )
