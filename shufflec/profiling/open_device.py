"""A session with a device: the one at an address, or a local one that is started and stopped here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shufflec.devices.session import Session, connect
from shufflec.devices.stock_server import stock_server
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.profiling.threads import set_device_threads
from shufflec.targets.target import Target

CONNECT_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 120.0


def connect_device(address: str, key: str = "", timeout_s: float = CALL_TIMEOUT_S) -> Session:
    """A session with the server at "host:port" whose every call may take timeout_s seconds.

    Raises OptionError for a bad address and DeviceError when the server cannot be reached.
    """
    return connect(address, key=key, timeout_s=min(timeout_s, CONNECT_TIMEOUT_S), call_timeout_s=timeout_s)


@contextmanager
def open_device(
    target: Target,
    address: str | None = None,
    key: str = "",
    threads: int | None = None,
    timeout_s: float = CALL_TIMEOUT_S,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Session]:
    """Connects to address "host:port"; without one, starts the target's virtual board, or for the host target TVM's
    own RPC server on this machine, on the loopback interface, and stops it at the end of the block.

    threads: of the device's pool; None leaves a given device as it is and starts one with 1. say: told before
    anything that takes time. Raises DeviceError, ToolMissingError (no emulator) or OptionError (more threads than
    cores).
    """
    with _server(target, address, threads or 1, say) as where, connect_device(where, key, timeout_s) as session:
        if threads is not None:
            set_device_threads(session, threads)
        yield session


@contextmanager
def _server(target: Target, address: str | None, threads: int, say: Callable[[str], None]) -> Iterator[str]:
    """The address of a running server."""
    if address is not None:
        yield address
    elif target.family == "host":
        with stock_server(threads) as server:
            yield server.address
    else:
        with virtual_pi(target, threads, say) as server:
            yield server.address
