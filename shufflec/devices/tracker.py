"""TVM's RPC tracker: the process that knows which boards are free, and the few questions we ask it.

TVM's own client waits for a board without a limit; these have a timeout each. Protocol: tvm/rpc/tracker.py.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass

from shufflec.errors import DeviceError

_MAGIC = 0x2F271
_SUCCESS, _REQUEST, _SUMMARY = 0, 4, 6
_MAX_ANSWER = 1 << 20
START_HINT = "start one with `shufflec farm up`, or `python -m tvm.exec.rpc_tracker`"


@dataclass(frozen=True)
class TrackedServer:
    """A server that registered. address: "host:port"; key: the kind of board it says it is."""

    address: str
    key: str


@dataclass(frozen=True)
class TrackerSummary:
    """What a tracker knows. free: by key, how many servers wait for a client; pending: clients that wait for one."""

    servers: tuple[TrackedServer, ...]
    free: dict[str, int]
    pending: dict[str, int]


def ask_summary(host: str, port: int, timeout_s: float = 10.0) -> TrackerSummary:
    """Raises DeviceError when the tracker cannot be reached, does not answer, or is none."""
    with _Connection(host, port, timeout_s) as tracker:
        value = tracker.ask([_SUMMARY])
    try:
        servers = tuple(
            TrackedServer(f"{one['addr'][0]}:{int(one['addr'][1])}", str(one["key"]).removeprefix("server:"))
            for one in value["server_info"]
            if one.get("addr")
        )
        queues = {str(key): (int(info["free"]), int(info["pending"])) for key, info in value["queue_info"].items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DeviceError(f"{host}:{port} answers as no RPC tracker does: {error!r}") from error
    free, pending = ({key: counts[i] for key, counts in queues.items()} for i in (0, 1))
    return TrackerSummary(tuple(sorted(servers, key=lambda one: (one.key, one.address))), free, pending)


def request_server(host: str, port: int, key: str, timeout_s: float) -> tuple[str, str]:
    """("host:port", the key to present there) of a free board. Raises DeviceError when none gets free in time."""
    with _Connection(host, port, timeout_s) as tracker:
        try:
            value = tracker.ask([_REQUEST, key, "", 1])
        except TimeoutError as error:
            raise DeviceError(
                f"{host}:{port} has no free board with the key {key!r} within {timeout_s:g} s",
                "`shufflec farm status` lists its boards",
            ) from error
    try:
        url, its_port, match_key = value
        return f"{url}:{int(its_port)}", str(match_key)
    except (TypeError, ValueError) as error:
        raise DeviceError(f"{host}:{port} answers as no RPC tracker does: {value!r:.80}") from error


class _Connection:
    """One conversation with a tracker."""

    def __init__(self, host: str, port: int, timeout_s: float):
        self._where = f"{host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise DeviceError(f"{self._where}: no RPC tracker answers: {error}", START_HINT) from error
        self._greet()

    def _greet(self) -> None:
        try:
            self._socket.sendall(struct.pack("<i", _MAGIC))
            if self._read(4) != struct.pack("<i", _MAGIC):
                raise DeviceError(f"{self._where} is not an RPC tracker", START_HINT)
        except OSError as error:
            self._socket.close()
            raise DeviceError(f"{self._where} is not an RPC tracker: {error}", START_HINT) from error
        except DeviceError:
            self._socket.close()
            raise

    def ask(self, question: list[object]) -> object:
        """The value of a successful answer. Raises TimeoutError, and DeviceError for everything else."""
        text = json.dumps(question).encode()
        try:
            self._socket.sendall(struct.pack("<i", len(text)) + text)
            (size,) = struct.unpack("<i", self._read(4))
            if not 0 < size <= _MAX_ANSWER:
                raise DeviceError(f"{self._where} answers with {size} bytes, which no RPC tracker does")
            answer = json.loads(self._read(size))
            if not isinstance(answer, list) or answer[:1] != [_SUCCESS]:
                raise DeviceError(f"{self._where} refuses: {str(answer)[:80]}")
            return answer[1]
        except TimeoutError:
            raise
        except (OSError, ValueError, IndexError, RecursionError) as error:
            raise DeviceError(f"{self._where}: the RPC tracker's answer is unreadable: {error}") from error

    def _read(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            part = self._socket.recv(size - len(received))
            if not part:
                raise DeviceError(f"{self._where} closed the connection: it is not an RPC tracker", START_HINT)
            received += part
        return received

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
