"""Threads of a device's TVM thread pool, on any TVM RPC server."""

from __future__ import annotations

from shufflec.devices.session import Session
from shufflec.errors import DeviceError

# threading::ThreadGroup::AffinityMode::kBig of TVM's runtime: the fast cores first; on a board of equal cores, all.
_FAST_CORES = 1


def device_threads(session: Session) -> int:
    """How many threads the device's parallel loops use. Raises DeviceError when the connection is lost."""
    with session.guard("ask for its number of threads"):
        return int(session.remote.get_function("runtime.NumThreads")())


def set_device_threads(session: Session, threads: int) -> None:
    """Sets the number of threads for this session; the server itself stays as it is.

    Raises DeviceError when the device has fewer cores, or the connection is lost.
    """
    with session.guard("set its number of threads"):
        session.remote.get_function("runtime.config_threadpool")(_FAST_CORES, threads)
    have = device_threads(session)
    if have != threads:
        raise DeviceError(f"{session.address} runs {have} threads at most, not {threads}", "give a smaller --threads")
