"""The clock of a virtual board: a process beside the emulator that says how long a region took.

    python -m shufflec.timing.clock --socket PATH --core cortex-a72 --clock-hz 1800000000 --scale 1.05 ...

It answers the emulator's plugin (clock_protocol.py) until its standard input ends, which is the other end of a pair
that the emulator holds: so it lives as long as the emulator, whatever ends that. It is a process of its own because the
core models are Python and C of this machine, and the program that asks is emulated.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import sys
from pathlib import Path

from shufflec.errors import ShufflecError
from shufflec.targets.target import TimeModel
from shufflec.timing.clock_protocol import (
    HEADER_BYTES,
    ProtocolError,
    pack_estimate,
    pack_problem,
    read_request,
    request_bytes,
)
from shufflec.timing.cores.core import load_core
from shufflec.timing.cores.model import BlockEstimate, block_cycles
from shufflec.timing.cores.simulator import library
from shufflec.timing.region_time import board_with, region_time

READY = "ready"
_PATIENCE_S = 60.0  # for a plugin that stops in the middle of its request


class Clock:
    """Answers requests for one board. Keeps what it knows of blocks, so that a second region is fast."""

    def __init__(self, core: str, clock_hz: float, time: TimeModel):
        self._core = core
        self._board = board_with(load_core(core), clock_hz, time)
        self._known: dict[bytes, BlockEstimate] = {}

    def answer(self, request: bytes) -> bytes:
        """The answer to a whole request; what goes wrong is in it."""
        try:
            return pack_estimate(region_time(self._board, read_request(request), self._cycles))
        except (ShufflecError, ProtocolError) as error:
            return pack_problem(str(error))
        except (ValueError, KeyError, OSError) as error:  # a bug or a full disk: said where the time is asked for
            return pack_problem(f"the clock failed: {type(error).__name__}: {error}")

    def _cycles(self, blocks: list[bytes]) -> list[BlockEstimate]:
        new = list(dict.fromkeys(block for block in blocks if block not in self._known))
        if new:
            self._known.update(zip(new, block_cycles(self._core, new), strict=True))
        return [self._known[block] for block in blocks]


def serve(clock: Clock, listening: socket.socket, lifeline: socket.socket) -> None:
    """Answers one connection after the other until the other end of `lifeline` is closed."""
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(lifeline, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if lifeline in ready and not lifeline.recv(1):
                return
            if listening in ready:
                connection, _ = listening.accept()
                with connection:
                    _converse(clock, connection)


def _converse(clock: Clock, connection: socket.socket) -> None:
    connection.settimeout(_PATIENCE_S)
    try:
        header = _receive(connection, HEADER_BYTES)
        try:
            size = request_bytes(header)
        except ProtocolError as error:
            connection.sendall(pack_problem(str(error)))
            return
        connection.sendall(clock.answer(header + _receive(connection, size - HEADER_BYTES)))
    except OSError as error:  # the emulator ended while it asked: nobody waits for the answer
        print(f"a question was not answered: {error}", flush=True)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(min(size - len(received), 1 << 20))
        if not part:
            raise ConnectionError(f"it ended after {len(received)} of {size} bytes")
        received += part
    return bytes(received)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shufflec.timing.clock", description="The clock of a virtual board.")
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to answer on")
    parser.add_argument("--core", required=True, help="core model, as in cortex-a72")
    parser.add_argument("--clock-hz", type=float, required=True)
    for name in ("--scale", "--store-miss-ns", "--dram-line-ns", "--shared-line-ns"):
        parser.add_argument(name, type=float, required=True, help="parameter of the board, see targets/*.toml")
    return parser.parse_args()


def main() -> int:
    """Says READY on standard output when it can answer, or one line on why it never will."""
    options = _options()
    time = TimeModel(
        options.scale,
        options.store_miss_ns,
        options.dram_line_ns,
        uncertainty_percent=0,
        shared_line_ns=options.shared_line_ns,
    )
    try:
        clock = Clock(options.core, options.clock_hz, time)
        library()  # built on first use: now, not in the middle of a measurement
    except ShufflecError as error:
        print(error, flush=True)
        return int(error.exit_code)
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(fileno=sys.stdin.fileno()) as lifeline:
        listening.bind(str(options.socket))
        listening.listen()
        print(READY, flush=True)
        serve(clock, listening, lifeline)
    return 0


if __name__ == "__main__":
    sys.exit(main())
