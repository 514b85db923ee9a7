"""A guarded RPC session: TVM's client, with timeouts, and with every failure as one line."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import struct
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm import rpc

from shufflec.devices.arm64_runtime import wheel_versions
from shufflec.devices.handshake import check_server, parse_address
from shufflec.errors import DeviceError, InputFileError
from shufflec.targets.target import INSTRUCTION_CLASSES, Target
from shufflec.timing.estimate import Estimate, estimate_from_dict
from shufflec.validate import build

SIMULATED, MEASURED = "simulated", "measured"
_FAILED_CHECK = re.compile(r"^Check failed: \(.*\) is false: ")
# A second session with a server that serves one client at a time would wait for ever for the first one to end.
_open_sessions: weakref.WeakValueDictionary[tuple[str, int], Session] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class Region:
    """What the board counted between the start and the end of the last timing.

    instructions: executed, by class (INSTRUCTION_CLASSES), for all `number` calls of the timing together, plus about
    75 for the timing and 31 a call. total: their sum. simulated_ns: time of the region at the target's clock.
    estimate: its parts; None on a virtual board without a time model, whose time is instructions at their class's
    cycles.
    """

    instructions: dict[str, int]
    total: int
    simulated_ns: int
    estimate: Estimate | None


class Session:
    """An open connection to one board; a context manager that closes it.

    address: "host:port". cpu: the remote CPU device, for tvm.runtime.tensor. kind: "simulated" on a virtual Pi, else
    "measured". board: the target that a virtual Pi stands for, None where the server does not say. server_tvm: TVM
    version of the server, "" when the server cannot say (TVM's own). remote: TVM's RPCSession; use it inside `guard`.
    """

    def __init__(self, host: str, port: int, remote: rpc.RPCSession, connection: socket.socket | None):
        self.address = f"{host}:{port}"
        self.remote = remote
        self.cpu = remote.cpu(0)
        self._key = (host, port)
        self._connection = connection  # a duplicate of TVM's socket: its options and its shutdown act on TVM's too
        self._closed = False
        self._lost = ""
        version = self._server_version()
        self.server_tvm: str = version.get("tvm", "")
        self.kind: str = version.get("kind", MEASURED)
        self.board: Target | None = self._server_board() if self.kind == SIMULATED else None
        self._counters = self._function("shufflec.counters") if self.kind == SIMULATED else None

    def upload_module(self, path: str | Path) -> Any:
        """Copies a shared library to the board and loads it there; returns the remote module.

        Raises InputFileError when the file is missing, DeviceError when the board cannot load it.
        """
        path = Path(path)
        if not path.is_file():
            raise InputFileError(path, "no such file", "expected a compiled library for the board")
        with self.guard(f"load {path.name}"):
            self.remote.upload(str(path))
            return self.remote.load_module(path.name)

    @contextmanager
    def caches_ignored(self) -> Iterator[None]:
        """Inside the block a virtual Pi does not follow its caches outside of timed regions, which is faster; the next
        run after it finds them as they were before. Nothing on other servers."""
        follow = self._function("shufflec.follow_caches") if self.kind == SIMULATED else None
        if follow is None:
            yield
            return
        with self.guard("leave its caches as they are"):
            follow(False)
        try:
            yield
        finally:
            # A device that was lost fails at the next use.
            with suppress(DeviceError), self.guard("follow its caches again"):
                follow(True)

    def time(self, module: Any, function: str, *arguments: Any, number: int = 1, repeat: int = 1) -> list[float]:
        """Seconds per call of a remote function, one figure per repeat, each the mean of `number` calls.

        The function runs once more before the timing. Simulated time on a virtual Pi (see `kind`).
        """
        with self.guard(f"time {function}"):
            return list(module.time_evaluator(function, self.cpu, number=number, repeat=repeat)(*arguments).results)

    def time_each(self, module: Any, function: str, empty: str, count: int) -> list[Region]:
        """Regions of `empty()`, a function that does nothing, then of function(0) ... function(count - 1), on a virtual
        Pi: each as if it ran right after the one before it, and the whole row before that once more.

        Raises DeviceError on a server that measures: a single call tells nothing there.
        """
        ask = self._function("shufflec.time_each")
        if ask is None:
            raise DeviceError(f"{self.address}: only a virtual board can time single calls")
        with self.guard(f"time {function}"):
            regions = json.loads(ask(module, function, empty, count))
        return [self._region(region) for region in regions]

    def last_region(self) -> Region | None:
        """Counters of the last timing's last repeat; None on a server that does not count.

        Raises DeviceError when a virtual Pi ran threads that are not TVM's: it miscounts them.
        """
        if self._counters is None:
            return None
        with self.guard("read the counters"):
            region = json.loads(self._counters())
        return self._region(region)

    def _region(self, region: dict[str, Any]) -> Region:
        if not region["exact"]:
            raise DeviceError(
                f"{self.address}: the code started threads of its own, which the virtual Pi cannot count",
                "only TVM's parallel loops run on several of its cores",
            )
        instructions = {name: int(region["instructions"][name]) for name in INSTRUCTION_CLASSES}
        try:
            estimate = estimate_from_dict(region["estimate"]) if region["estimate"] else None
        except TypeError as error:
            raise self._another_version() from error
        return Region(instructions, int(region["total"]), int(region["simulated_ns"]), estimate)

    def counters(self) -> dict[str, int] | None:
        """Instructions by class of the last timing's last repeat; None on a server that does not count."""
        region = self.last_region()
        return None if region is None else region.instructions

    @contextmanager
    def guard(self, action: str) -> Iterator[None]:
        """Turns what TVM raises inside the block into one DeviceError; `action` completes "could not ...".

        A failed remote function leaves the session usable; a lost connection makes every later use fail at once.
        """
        if self._closed or self._lost:
            raise DeviceError(f"{self.address}: could not {action}: {self._lost or 'the session is closed'}")
        try:
            yield
        except AttributeError as error:
            if "has no function" not in str(error):
                raise  # a bug in the block, not an answer of the board
            raise DeviceError(f"{self.address}: could not {action}: {_first_line(error)}") from error
        except (RuntimeError, OSError) as error:  # tvm.error.* derive from RuntimeError
            raise self._explain(action, error) from error

    def close(self) -> None:
        """Ends the session; the server is free for the next client. Remote objects are unusable afterwards."""
        if self._closed:
            return
        self._closed = True
        _open_sessions.pop(self._key, None)
        if not self._lost:
            with suppress(RuntimeError, AttributeError):  # a server that has gone needs no farewell
                self.remote._sess.get_function("CloseRPCConnection")()
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _explain(self, action: str, error: Exception) -> DeviceError:
        text = str(error)
        if "Resource temporarily unavailable" in text:
            self._lost = "the board did not answer in time"
            self._hang_up()
            hint = "it hangs, or the call takes longer than the session allows"
        elif "Error caught from RPC call" in text:
            return DeviceError(
                f"{self.address}: could not {action}: the board says: {_remote_line(text)}", _load_hint(text)
            )
        elif any(sign in text for sign in ("kShutdown", "SockChannel", "previously closed", "RPCSessionTimeout")):
            self._lost = "the connection was lost"
            hint = "the server, or the code that it ran, ended; see its log"
        else:
            return DeviceError(f"{self.address}: could not {action}: {_first_line(error)}")
        return DeviceError(f"{self.address}: could not {action}: {self._lost}", hint)

    def _hang_up(self) -> None:
        """Ends the connection without asking; our server then ends the code that still runs."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def _function(self, name: str) -> Any:
        """A remote global function, or None."""
        try:
            return self.remote.get_function(name)
        except AttributeError:
            return None

    def _server_board(self) -> Target | None:
        """Raises DeviceError when the server describes it as no target of this version."""
        ask = self._function("shufflec.board")
        if ask is None:
            return None
        with self.guard("ask which board it is"):
            text = ask()
        try:
            return build(Target, json.loads(text), "board")
        except ValueError as error:  # not JSON, or other fields
            raise self._another_version() from error

    def _another_version(self) -> DeviceError:
        return DeviceError(
            f"{self.address}: the virtual Pi was started by another version of shufflec",
            "start it anew: `shufflec device down`, then `shufflec device up`",
        )

    def _server_version(self) -> dict[str, str]:
        """Checks the other side's TVM version as far as it tells. Raises DeviceError for another one."""
        with self.guard("open a session"):
            ask = self._function("shufflec.version")
            version = json.loads(ask()) if ask is not None else {}
            ours = wheel_versions()["apache-tvm"]
            hint = f"install apache-tvm=={ours} on the board; see `shufflec device instructions`"
            if version and version.get("tvm") != ours:
                raise DeviceError(f"{self.address} runs TVM {version.get('tvm')}, this machine {ours}", hint)
            # TVM's own server does not tell its version; servers before tvm-ffi lack the loader that we need.
            if not version and self._function("ffi.ModuleLoadFromFile") is None:
                raise DeviceError(f"{self.address} runs an older TVM than this machine's {ours}", hint)
        return version


def connect(address: str, key: str = "", timeout_s: float = 10.0, call_timeout_s: float = 900.0) -> Session:
    """Opens a session with the TVM RPC server at "host:port".

    key: what the server was started with. timeout_s: for each step of connecting. call_timeout_s: the longest that one
    remote call may take. One session per server at a time.
    Raises OptionError for a bad address; DeviceError for a host that is unknown or unreachable, a server that refuses,
    hangs, is busy, has another key, or runs another TVM version.
    """
    host, port = parse_address(address)
    where = f"{host}:{port}"
    if (host, port) in _open_sessions:
        raise DeviceError(f"{where}: this process has a session there already", "close it first")
    check_server(host, port, timeout_s)
    remote, connection = _tvm_connect(host, port, key, timeout_s)
    if connection is not None:
        _set_options(connection, timeout_s)
    try:
        session = Session(host, port, remote, connection)
    except BaseException:
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        raise
    if connection is not None:
        _set_options(connection, call_timeout_s)
    _open_sessions[host, port] = session
    return session


def _tvm_connect(host: str, port: int, key: str, timeout_s: float) -> tuple[rpc.RPCSession, socket.socket | None]:
    """TVM's connect, which has no timeout: when it takes too long, a timer shuts its socket down under it."""
    before = _sockets_to(port)
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        for descriptor in _sockets_to(port) - before:
            with suppress(OSError), _duplicate(descriptor) as hanging:
                hanging.shutdown(socket.SHUT_RDWR)

    watchdog = threading.Timer(timeout_s, expire)
    watchdog.daemon = True
    watchdog.start()
    try:
        remote = rpc.connect(host, port, key)
    except RuntimeError as error:
        raise _connect_error(f"{host}:{port}", key, timeout_s if expired.is_set() else None, str(error)) from error
    finally:
        watchdog.cancel()
    opened = _sockets_to(port) - before
    return remote, _duplicate(opened.pop()) if opened else None


def _connect_error(where: str, key: str, waited_s: float | None, text: str) -> DeviceError:
    if waited_s is not None:
        return DeviceError(
            f"{where} does not finish the handshake within {waited_s:g} s", "it is busy or hangs: restart it"
        )
    if "matches key" in text:
        shown = f"the key {key!r}" if key else "a client without a key"
        return DeviceError(f"{where} refuses {shown}", "give the key that the server was started with")
    if "mismatch" in text or "protocol" in text:
        ours = wheel_versions()["apache-tvm"]
        return DeviceError(
            f"{where} runs another TVM version: {_remote_line(text)}", f"install apache-tvm=={ours} on the board"
        )
    return DeviceError(f"{where}: the connection failed: {_remote_line(text)}")


def _sockets_to(port: int) -> set[int]:
    """This process's descriptors that are TCP connections to a remote `port`."""
    return {descriptor for name in os.listdir("/proc/self/fd") if _peer_port(descriptor := int(name)) == port}


def _peer_port(descriptor: int) -> int | None:
    """The remote port of a TCP connection; None for every other descriptor, and for one closed meanwhile."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with _duplicate(descriptor) as connection:
            return connection.getpeername()[1] if connection.family in (socket.AF_INET, socket.AF_INET6) else None
    except OSError:
        return None


def _duplicate(descriptor: int) -> socket.socket:
    """A socket of our own on TVM's connection: closing it leaves TVM's open; options and shutdown act on both."""
    return socket.socket(fileno=os.dup(descriptor))


def _set_options(connection: socket.socket, timeout_s: float) -> None:
    """Limits each wait for the board, and notices within about a minute that the board has gone from the network."""
    limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _FAILED_CHECK.sub("", lines[0])[:300] if lines else type(error).__name__


def _remote_line(text: str) -> str:
    """The line of a remote error that says what was wrong, without TVM's headings."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and "Error caught from RPC call" not in line]
    return _FAILED_CHECK.sub("", lines[0])[:300] if lines else "an error without a message"


def _load_hint(text: str) -> str:
    if "GLIBC" in text:
        return "the board's system libraries are older than the library needs"
    if "Failed to load dynamic shared library" in text:
        return "was it compiled for this kind of board? See --target"
    return ""
