"""The host's side of the serial line: a board in Python over a bad line, refusals, and ports that are none."""

from __future__ import annotations

import os
import struct
import tty

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shufflec.devices.serial_board import LOGITS, SerialBoard
from shufflec.devices.serial_frames import Decoder, Frame, encode
from shufflec.devices.serial_port import SerialPort
from shufflec.errors import DeviceError, OptionError

DIGEST = bytes(range(16))


class FakeBoard:
    """A line with a board at its end that remembers its input. damage: what becomes of each frame, both ways in turn;
    version, refuse: what it says. runs: how many requests to run were carried out."""

    path, baud = "/dev/fake", 10_000_000

    def __init__(self, damage=(), version=1, refuse=None, noise=b"", whole=1):
        self.damage, self.version, self.refuse, self.whole = list(damage), version, refuse, whole
        self.waiting, self.decoder, self.runs, self.last = noise, Decoder(), 0, None
        self.input, self.answer = bytearray(1000), b""

    def damaged(self, data: bytes) -> bytes:
        kind, at = self.damage.pop() if self.damage else ("whole", 0)
        at %= len(data)
        if kind == "dropped":
            return data[:at] + data[at + 1 :]
        if kind == "doubled":
            return data[: at + 1] + data[at:]
        if kind == "changed":
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return {"whole": data, "lost": b"", "twice": data + data}[kind]

    def write(self, data: bytes, timeout_s: float) -> None:
        for frame in self.decoder.feed(self.damaged(data)):
            if (frame.sequence, frame.type) != self.last or frame.type == 1:
                self.answer = encode(self.carried_out(frame))
            self.last = (frame.sequence, frame.type)
            self.waiting += self.damaged(self.answer)

    def carried_out(self, frame: Frame) -> Frame:
        payload = b""
        if frame.type == self.refuse:
            return Frame(frame.sequence, 0xFF, b"\x02")
        if frame.type == 1:
            payload = struct.pack("<BBIIII16s", self.version, 1, 0, 1000, 10, 3, DIGEST) + b"fake"
        elif frame.type == 2:
            at = int.from_bytes(frame.payload[:4], "little")
            self.input[at : at + len(frame.payload) - 4] = frame.payload[4:]
        elif frame.type == 3:
            self.runs += 1
            payload = struct.pack("<IIB", self.runs, 200, self.whole)
        elif frame.type == 5:
            _, at, count = struct.unpack("<BIH", frame.payload)
            payload = bytes(self.input[at : at + count])
        return Frame(frame.sequence, frame.type | 0x80, payload)

    def read(self, timeout_s: float) -> bytes:
        data, self.waiting = self.waiting, b""
        return data


DAMAGE = st.tuples(st.sampled_from(["whole", "dropped", "doubled", "changed", "lost", "twice"]), st.integers(0, 300))


@settings(derandomize=True, database=None, deadline=None, max_examples=40)
@given(st.lists(DAMAGE, max_size=30), st.binary(min_size=1000, max_size=1000))
def test_a_bad_line_costs_nothing_but_time(damage, data):
    fake = FakeBoard(damage)
    board = SerialBoard(fake, timeout_s=600, resend_s=1e-4)
    board.write_input(data)
    assert [board.run().cycles, board.run().cycles] == [1, 2]
    assert board.read(LOGITS, 1000) == data
    assert fake.runs == 2  # a request that came twice was carried out once


def test_what_a_board_says_of_itself():
    board = SerialBoard(FakeBoard(), 1).board
    assert (board.name, board.digest, board.counts_cycles) == ("fake", DIGEST, True)
    assert (board.input_bytes, board.classes, board.layers) == (1000, 10, 3)


def test_more_exchanges_than_there_are_sequence_numbers():
    board = SerialBoard(FakeBoard(), 1)
    assert [board.run().cycles for _ in range(600)] == list(range(1, 601))


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        (FakeBoard(damage=[("lost", 0)] * 100_000), "is silent: no byte in 0.05 s"),
        (FakeBoard(damage=[("lost", 0)] * 100_000, noise=b"\x7e hello"), "talks nonsense: 7 bytes"),
        (FakeBoard(version=9), "speaks version 9 of the protocol, expected 1"),
        (FakeBoard(refuse=1), "refused request 1: a request was outside"),
    ],
)
def test_a_board_that_cannot_be_greeted(fake, words):
    fake.baud = 10**9
    with pytest.raises(DeviceError, match=words) as caught:
        SerialBoard(fake, timeout_s=0.05, resend_s=0.02)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_another_model_and_a_broken_arena_are_named():
    with pytest.raises(DeviceError, match="another model's firmware: it has 000102030405, g8 is ffff"):
        SerialBoard(FakeBoard(), 1).check_model(b"\xff" * 16, "g8")
    with pytest.raises(DeviceError, match="outside of its arena"):
        SerialBoard(FakeBoard(whole=0), 1).run()


@pytest.fixture
def terminal():
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_bytes_pass_raw_both_ways(terminal):
    master, path = terminal
    with SerialPort(path) as port:
        port.write(bytes(range(256)), 1)
        assert os.read(master, 300) == bytes(range(256))
        os.write(master, b"\x03\x04\r\n\x11\x13")
        assert port.read(1) == b"\x03\x04\r\n\x11\x13"
        assert port.read(0) == b""


def test_a_port_that_is_absent_busy_or_none(terminal, tmp_path):
    with pytest.raises(DeviceError, match="there is no serial port /dev/nowhere"):
        SerialPort("/dev/nowhere")
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path, "/dev/null"):
        with pytest.raises(DeviceError, match="is not a serial port"):
            SerialPort(str(path))
    with SerialPort(terminal[1]), pytest.raises(DeviceError, match="in use by another program"):
        SerialPort(terminal[1])
    with SerialPort(terminal[1]):
        pass  # free again
    with pytest.raises(OptionError, match=r"--baud 12345: expected one of .*115200"):
        SerialPort(terminal[1], 12345)


def test_a_port_that_is_unplugged_is_one_error():
    master, slave = os.openpty()
    with SerialPort(os.ttyname(slave)) as port:
        os.close(slave)
        os.close(master)
        with pytest.raises(DeviceError, match="still plugged in"):
            port.read(1)
