"""Servers on the loopback interface that go wrong in one way each."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAGIC = 0xFF271
MISMATCH = MAGIC + 2


@contextmanager
def serve(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Calls `handle` with each connection, one after the other, and closes it; yields the address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def loop() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # closed: the test is over
            with connection:
                try:
                    handle(connection)
                except OSError:
                    continue  # the client went away

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(timeout=10)


def read_key(connection: socket.socket) -> str:
    """The client's greeting."""
    magic, size = struct.unpack("<ii", connection.recv(8, socket.MSG_WAITALL))
    assert magic == MAGIC
    return connection.recv(size, socket.MSG_WAITALL).decode()


def say_nothing(connection: socket.socket) -> None:
    """Accepts and waits until the client gives up."""
    while connection.recv(4096):
        pass


def answer_mismatch_then(handle: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A server without a key that refuses other keys properly, and treats the right one as `handle` does."""

    def greet(connection: socket.socket) -> None:
        if read_key(connection).split()[0] == "client:":
            handle(connection)
        else:
            connection.sendall(struct.pack("<i", MISMATCH))

    return greet


def welcome(connection: socket.socket) -> None:
    """The proper answer to the right key."""
    name = b"server:"
    connection.sendall(struct.pack("<ii", MAGIC, len(name)) + name)
