"""The boards of a tuning run: at addresses, from a tracker, or virtual ones that are started for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from shufflec.devices.handshake import parse_address
from shufflec.devices.session import Session, connect
from shufflec.devices.stock_server import stock_server
from shufflec.devices.tracker import ask_summary, request_server
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.errors import DeviceError
from shufflec.targets.target import Target
from shufflec.tuning.fleet import Board

CONNECT_TIMEOUT_S = 15.0
CALL_TIMEOUT_S = 60.0
_MOST_BOARDS = 64
# TVM's client finds its own socket by comparing what is open before and after: one connection at a time.
_connecting = threading.Lock()


def board_at(address: str, key: str = "", timeout_s: float = CALL_TIMEOUT_S) -> Board:
    """The board whose server listens at "host:port". timeout_s: for each call, after which it counts as hung."""
    parse_address(address)

    def open_session() -> Session:
        with _connecting:
            return connect(address, key, min(timeout_s, CONNECT_TIMEOUT_S), timeout_s)

    return Board(address, open_session)


def boards_of_tracker(address: str, key: str, timeout_s: float = CALL_TIMEOUT_S) -> list[Board]:
    """A board for each server with this key that is free now.

    Which of them a board is may change when it reconnects: the tracker hands out whatever is free.
    Raises DeviceError when there is none.
    """
    host, port = parse_address(address, "--tracker")
    summary = ask_summary(host, port, CONNECT_TIMEOUT_S)
    free = min(summary.free.get(key, 0), _MOST_BOARDS)
    if not free:
        known = ", ".join(sorted({server.key for server in summary.servers})) or "none"
        raise DeviceError(f"{address}: no free board with the key {key!r}", f"keys of its boards: {known}")

    def open_session() -> Session:
        with _connecting:
            where, match_key = request_server(host, port, key, CONNECT_TIMEOUT_S)
            return connect(where, match_key, min(timeout_s, CONNECT_TIMEOUT_S), timeout_s)

    return [Board(f"{key} {number} of {address}", open_session) for number in range(1, free + 1)]


@contextmanager
def started_boards(
    target: Target, count: int, timeout_s: float = CALL_TIMEOUT_S, say: Callable[[str], None] = lambda _: None
) -> Iterator[list[Board]]:
    """Virtual boards of one's own (for the host target TVM's own server), stopped at the end of the block."""
    with ExitStack() as stack:
        boards = []
        for _ in range(count):
            server = stack.enter_context(stock_server() if target.family == "host" else virtual_pi(target, say=say))
            boards.append(board_at(server.address, timeout_s=timeout_s))
        yield boards
