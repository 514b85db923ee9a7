"""The host's side of the serial line protocol (backends/native/baremetal/SERIAL.md): a board with one model's firmware.

Requests are sent again until their answer is there, so that bytes which the line loses, doubles or changes cost time
and nothing else.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Protocol

from shufflec.devices.serial_frames import MOST, Decoder, Frame, encode
from shufflec.errors import DeviceError

VERSION = 1
LOGITS, OUTPUT, TENSOR = range(3)
HELLO, WRITE, RUN, LAYER, READ = range(1, 6)
ANSWER, REFUSED = 0x80, 0xFF
_HELLO = struct.Struct("<BBIIII16s")
_RAN = struct.Struct("<IIB")
_REASONS = {
    1: "it does not know the request",
    2: "a request was outside of its input or tensor",
    3: "layers were asked for out of turn",
    4: "the run failed",
}
HELLO_S = 5.0  # for a board that may just have been reset
_RESEND_S, _LONGEST_RESEND_S = 0.25, 4.0
_FLASH = "build and flash the project that `shufflec compile --export` writes for this bundle"


class Line(Protocol):
    """What carries the bytes: a SerialPort, or a fake in tests."""

    path: str
    baud: int

    def read(self, timeout_s: float) -> bytes: ...

    def write(self, data: bytes, timeout_s: float) -> None: ...


@dataclass(frozen=True)
class Board:
    """What a firmware says of itself. clock_hz: 0 when it does not know; digest: of its model."""

    counts_cycles: bool
    clock_hz: int
    input_bytes: int
    classes: int
    layers: int
    digest: bytes
    name: str


@dataclass(frozen=True)
class Ran:
    """cycles: 0 on a board that does not count them; bytes: of stack for a whole run, of the tensor for a layer."""

    cycles: int
    bytes: int


class SerialBoard:
    """A session with a board. timeout_s: how long one request may take. Every method raises DeviceError."""

    def __init__(self, line: Line, timeout_s: float, resend_s: float = _RESEND_S):
        self._line, self._timeout_s, self._resend_s = line, timeout_s, resend_s
        self._decoder = Decoder()
        self._sequence = 0
        self.board = self._hello()

    def check_model(self, digest: bytes, name: str) -> None:
        """Raises DeviceError for a board with another model than this one."""
        if self.board.digest != digest:
            raise DeviceError(
                f"the board at {self._line.path} ({self.board.name}) runs another model's firmware: it has "
                f"{self.board.digest.hex()[:12]}, {name} is {digest.hex()[:12]}",
                _FLASH,
            )

    def write_input(self, data: bytes) -> None:
        """Puts an input into the board's memory, where it stays."""
        step = MOST - 4
        for at in range(0, len(data), step):
            self._ask(WRITE, at.to_bytes(4, "little") + data[at : at + step], 0)

    def run(self) -> Ran:
        """One inference; bytes: how deep the stack was."""
        return self._ran(self._ask(RUN, b"", _RAN.size))

    def run_layer(self, number: int) -> Ran:
        """One layer: 0 first, then each in turn; bytes: of its tensor."""
        return self._ran(self._ask(LAYER, number.to_bytes(4, "little"), _RAN.size))

    def read(self, what: int, size: int) -> bytes:
        """size bytes of LOGITS, OUTPUT or TENSOR, from their first one on."""
        data = b""
        while len(data) < size:
            count = min(MOST, size - len(data))
            data += self._ask(READ, struct.pack("<BIH", what, len(data), count), count)
        return data

    def _hello(self) -> Board:
        answer = self._exchange(HELLO, bytes([VERSION]), min(HELLO_S, self._timeout_s))
        if answer and answer[0] != VERSION:
            raise DeviceError(
                f"the firmware at {self._line.path} speaks version {answer[0]} of the protocol, expected {VERSION}",
                _FLASH,
            )
        if len(answer) < _HELLO.size:
            raise self._short(HELLO)
        _, flags, clock_hz, input_bytes, classes, layers, digest = _HELLO.unpack(answer[: _HELLO.size])
        name = "".join(c for c in answer[_HELLO.size :].decode(errors="replace") if c.isprintable())
        return Board(bool(flags & 1), clock_hz, input_bytes, classes, layers, digest, name)

    def _ran(self, answer: bytes) -> Ran:
        cycles, count, whole = _RAN.unpack(answer)
        if not whole:
            raise DeviceError(f"the firmware at {self._line.path} wrote outside of its arena")
        return Ran(cycles, count)

    def _ask(self, kind: int, payload: bytes, size: int) -> bytes:
        answer = self._exchange(kind, payload, self._timeout_s)
        if len(answer) != size:
            raise self._short(kind)
        return answer

    def _short(self, kind: int) -> DeviceError:
        return DeviceError(
            f"the firmware at {self._line.path} gave an answer of the wrong size to request {kind}", _FLASH
        )

    def _exchange(self, kind: int, payload: bytes, timeout_s: float) -> bytes:
        """The answer to one request, which is sent again until it is there."""
        self._sequence = (self._sequence + 1) % 256
        data = encode(Frame(self._sequence, kind, payload))
        # Of the request and the longest answer, 10 bits a byte, so that nothing is sent again that is only slow.
        on_line_s = 10 * (len(data) + 2 * MOST) / self._line.baud
        wait_s, end, heard = self._resend_s + on_line_s, time.monotonic() + timeout_s, 0
        while time.monotonic() < end:
            self._line.write(data, timeout_s)
            again = min(time.monotonic() + wait_s, end)
            while (left := again - time.monotonic()) > 0:
                received = self._line.read(left)
                if not received:
                    break  # the time is over
                heard += len(received)
                for frame in self._decoder.feed(received):
                    if frame.sequence == self._sequence and frame.type == REFUSED:
                        raise self._refused(kind, frame.payload)
                    if frame.sequence == self._sequence and frame.type == kind | ANSWER:
                        return frame.payload
            wait_s = min(2 * wait_s, _LONGEST_RESEND_S + on_line_s)
        raise self._no_answer(timeout_s, heard)

    def _refused(self, kind: int, payload: bytes) -> DeviceError:
        reason = _REASONS.get(payload[0] if payload else 0, "it does not say why")
        return DeviceError(f"the firmware at {self._line.path} refused request {kind}: {reason}", _FLASH)

    def _no_answer(self, timeout_s: float, heard: int) -> DeviceError:
        if heard:
            return DeviceError(
                f"the board at {self._line.path} talks nonsense: {heard} bytes without an answer in {timeout_s:g} s",
                f"--baud {self._line.baud} must be its rate, and its firmware the exported project's serial one",
            )
        return DeviceError(
            f"the board at {self._line.path} is silent: no byte in {timeout_s:g} s",
            "reset it, check the cable, and that it runs the exported project's serial firmware",
        )
