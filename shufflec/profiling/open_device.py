"""A session with a device: the one at an address, or a local one that is started and stopped here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shufflec.devices.session import Session, connect
from shufflec.devices.stock_server import stock_server
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.targets.target import Target


@contextmanager
def open_device(
    target: Target,
    address: str | None = None,
    key: str = "",
    threads: int | None = None,
    timeout_s: float = 60.0,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Session]:
    """Connects to address "host:port"; without one, starts the target's virtual board, or for the host target TVM's
    own RPC server on this machine, on the loopback interface, and stops it at the end of the block.

    threads: of the device's pool; None leaves a given device as it is and starts one with 1. say: told what is
    started. Raises DeviceError, ToolMissingError (no emulator) or OptionError (more threads than cores).
    """
    if address is not None:
        with connect(address, key=key, timeout_s=timeout_s) as session:
            if threads is not None:
                session.set_threads(threads)
            yield session
        return
    start = stock_server if target.family == "host" else virtual_pi
    with (
        start(target, threads=threads or 1, say=say) as server,
        connect(server.address, timeout_s=timeout_s) as session,
    ):
        yield session
