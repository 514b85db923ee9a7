"""What we ask TVM's tracker, and what a farm of nothing says; the other side is a socket that goes wrong."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tvm.rpc.tracker import Tracker

from shufflec.devices.tracker import TrackerSummary, ask_summary, request_server
from shufflec.errors import DeviceError

MAGIC = struct.pack("<i", 0x2F271)


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))

    def loop() -> None:
        try:
            connection, _ = listening.accept()
            with connection:
                answer(connection)
        except OSError:
            return

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()
        thread.join(timeout=5)


def saying(value: object, magic: bytes = MAGIC) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4)
        connection.sendall(magic)
        connection.recv(4096)
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        connection.sendall(struct.pack("<i", len(text)) + text)

    return answer


def test_a_summary_is_read():
    info = {
        "queue_info": {"rasp4": {"free": 1, "pending": 0}},
        "server_info": [{"addr": ["10.0.0.7", 9090], "key": "server:rasp4"}, {"addr": None, "key": "client:x"}],
    }
    with serving(saying([0, info])) as port:
        summary = ask_summary("127.0.0.1", port)
    assert [(one.address, one.key) for one in summary.servers] == [("10.0.0.7:9090", "rasp4")]
    assert summary.free == {"rasp4": 1} and summary.pending == {"rasp4": 0}


def test_a_board_is_handed_out_with_its_key():
    with serving(saying([0, ["10.0.0.7", 9090, "rasp4:0.5"]])) as port:
        assert request_server("127.0.0.1", port, "rasp4", 5) == ("10.0.0.7:9090", "rasp4:0.5")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (saying([0, {}]), "answers as no RPC tracker does"),
        (saying([0, None]), "answers as no RPC tracker does"),
        (saying([-1, "no"]), "refuses"),
        (saying(b"{"), "unreadable"),
        (saying([0, {"queue_info": 1, "server_info": [1]}]), "answers as no RPC tracker does"),
        (saying([0, {}], b"HTTP"), "is not an RPC tracker"),
        (lambda connection: connection.close(), "not an RPC tracker"),
    ],
)
def test_what_is_no_tracker_is_one_line(answer, message):
    with serving(answer) as port, pytest.raises(DeviceError, match=message) as caught:
        ask_summary("127.0.0.1", port, 5)
    assert "\n" not in str(caught.value)


def test_an_answer_of_an_absurd_size_is_refused():
    def answer(connection: socket.socket) -> None:
        connection.recv(4)
        connection.sendall(MAGIC + struct.pack("<i", 1 << 30))

    with serving(answer) as port, pytest.raises(DeviceError, match="1073741824 bytes"):
        ask_summary("127.0.0.1", port, 5)


def test_waiting_for_a_board_ends():
    def answer(connection: socket.socket) -> None:
        connection.recv(4)
        connection.sendall(MAGIC)
        while connection.recv(4096):
            pass

    with serving(answer) as port, pytest.raises(DeviceError, match="no free board with the key 'rasp4'"):
        request_server("127.0.0.1", port, "rasp4", 0.2)


def test_nobody_listens():
    with pytest.raises(DeviceError, match="no RPC tracker answers"):
        ask_summary("127.0.0.1", 1, 1)


def test_tvms_own_tracker_is_understood():
    tracker = Tracker(host="127.0.0.1", port=39190, port_end=39290, silent=True)
    try:
        assert ask_summary("127.0.0.1", tracker.port, 60) == TrackerSummary((), {}, {})
    finally:
        tracker.terminate()
    assert "tvm" in sys.modules
