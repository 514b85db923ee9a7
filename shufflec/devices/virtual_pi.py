"""The virtual Pi: our RPC server under qemu-user, with a counter that makes its time simulated and repeatable."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from shufflec.devices import board_clock, process_state
from shufflec.devices.build import SERVER, NativePrograms, native_programs
from shufflec.devices.emulator import INSTALL, Emulator, find_emulator
from shufflec.devices.guest_files import make_root
from shufflec.devices.process_state import RunningServer
from shufflec.errors import DeviceError, OptionError
from shufflec.targets.target import Target
from shufflec.timing.cores.core import core_names

KIND, FARM_KIND = "virtual-pi", "farm-pi"
HOST = "127.0.0.1"
BOARD = "board.json"  # the target as JSON, which the server tells its clients
MAX_THREADS = 16  # SHUFFLEC_MAX_THREADS of native/common/counters.h
START_TIMEOUT_S = 60.0
_LISTENING = re.compile(r"^listening on [^ ]+:(\d+) ", re.MULTILINE)


def start(
    target: Target,
    port: int = 0,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
    tracker: tuple[str, str] | None = None,
) -> RunningServer:
    """Starts a virtual Pi for `target` on the loopback interface and returns when it listens.

    port: 0 takes any free one. threads: of TVM's parallel loops on the board, 1 to target.cores. say: told before
    anything that takes time (the first use fetches and builds the server). tracker: ("host:port", key) of an RPC
    tracker to register with; then only its clients are served.
    The server outlives this process; end it with `process_state.stop`. Its time is estimated by a clock process beside
    it when the target has a time model and its core has one, else each instruction counts at its class's cycles.
    Raises OptionError, ToolMissingError (no qemu, no arm64 libraries), or DeviceError when it does not start.
    """
    if target.family != "linux" or not target.qemu_cpu:
        raise OptionError(
            "--target", target.name, "has no virtual board", "choose an ARM Linux target, see `shufflec targets`"
        )
    if not target.cycles:
        raise OptionError("--target", target.name, "has no [cycles] table, which simulated time needs")
    if not 1 <= threads <= min(target.cores, MAX_THREADS):
        most = min(target.cores, MAX_THREADS)
        raise OptionError("--threads", threads, f"expected 1 to {most}, the cores of {target.name}")
    if not 0 <= port <= 65535:
        raise OptionError("--port", port, "expected 0 (any free port) to 65535")
    if target.time and target.core not in core_names():
        say(f"There is no model of the {target.core}: its instructions are counted, its time is not estimated.")
        target = replace(target, time=None)
    emulator = find_emulator()
    programs = native_programs(emulator, say)
    folder = process_state.new_folder(target.name)
    try:
        return _launch(target, port, threads, emulator, programs, folder, tracker)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def virtual_pi(
    target: Target, threads: int = 1, say: Callable[[str], None] = lambda _: None
) -> Iterator[RunningServer]:
    """A virtual Pi of one's own on a free port, stopped at the end of the block."""
    server = start(target, 0, threads, say)
    try:
        yield server
    finally:
        process_state.stop(server)


def _launch(
    target: Target,
    port: int,
    threads: int,
    emulator: Emulator,
    programs: NativePrograms,
    folder: Path,
    tracker: tuple[str, str] | None,
) -> RunningServer:
    (folder / "sessions").mkdir()
    (folder / "counters").touch()
    (folder / BOARD).write_text(json.dumps(target.to_dict()), encoding="utf-8")
    make_root(folder / "root", emulator.sysroot, target)
    cycles = ",".join(f"{name}={value:g}" for name, value in target.cycles.items())
    # Relative names and a fixed argv[0], environment and seed: the guest sees the same bytes in every run.
    command = [str(emulator.program), "-cpu", target.qemu_cpu, "-L", "root", "-seed", "1", "-0", SERVER]
    plugin = str(programs.plugin).replace(",", ",,")  # how QEMU's options spell a comma
    plugin += f",counters=counters,threads={threads}"
    if target.time:
        plugin += board_clock.plugin_arguments(target)
    command += ["-plugin", plugin, str(programs.server)]
    command += ["--host", HOST, "--port", str(port)]
    command += ["--counters", "counters", "--clock-hz", str(target.clock_hz), "--cycles", cycles]
    command += ["--threads", str(threads), "--board", BOARD]
    if tracker is not None:
        command += ["--tracker", tracker[0], "--key", tracker[1]]
    environment = {
        "TVM_NUM_THREADS": "1",  # the board's threads run one after the other (native/rpc_server/parallel_launch.h)
        "TVM_BIND_THREADS": "0",
        "TMPDIR": "sessions",
        "LC_ALL": "C",
        "PATH": os.defpath,
    }
    with ExitStack() as stack:
        log = stack.enter_context(open(folder / "server.log", "wb"))
        clock, lifeline = None, None
        if target.time:
            clock, lifeline = board_clock.start_clock(target, target.time, folder)
            stack.enter_context(lifeline)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=lifeline or subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        bound = _wait_until_listening(process, folder / "server.log", target, port)
        if clock is not None:
            board_clock.wait_for_clock(clock, target, folder)
    except BaseException:
        process.kill()
        process.wait()
        raise
    started = process_state.process_start(process.pid)
    if started is None:
        raise DeviceError(
            f"the virtual {target.name} ended as it started: {process_state.last_line(folder / 'server.log')}"
        )
    kind = KIND if tracker is None else FARM_KIND
    server = RunningServer(kind, target.name, HOST, bound, process.pid, threads, started, folder)
    process_state.save(server)
    return server


def _wait_until_listening(process: subprocess.Popen, log: Path, target: Target, port: int) -> int:
    """The port that the server printed. Raises DeviceError when it ends or says nothing for START_TIMEOUT_S."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if found := _LISTENING.search(log.read_text(errors="replace")):
            return int(found[1])
        if ended:
            said = process_state.last_line(log)
            raise DeviceError(f"the virtual {target.name} did not start: {said}", _start_hint(said, port))
        time.sleep(0.02)
    raise DeviceError(
        f"the virtual {target.name} did not listen within {START_TIMEOUT_S:g} s: {process_state.last_line(log)}"
    )


def _start_hint(said: str, port: int) -> str:
    """What to do about the last line of a server that did not start."""
    if "Address already in use" in said:
        return f"port {port} is in use: choose another with --port"
    if "API version" in said or "plugin interface version" in said:
        return f"this QEMU's plugins are of another kind than the counter's; versions 4.2 to 10 fit: {INSTALL}"
    if "unknown option 'plugin'" in said:
        return f"this QEMU was built without plugins; one with them: {INSTALL}"
    if "Could not load plugin" in said:
        return "the counter is damaged: delete the folder that is named, and it is built again"
    return ""
