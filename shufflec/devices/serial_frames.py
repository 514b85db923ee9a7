"""Frames of the serial line protocol (backends/native/baremetal/SERIAL.md): bytes of a line to frames and back."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

START, ESCAPE, FLIP = 0x7E, 0x7D, 0x20
MOST = 256  # bytes of payload
_HEAD = 4
_CRC = 4


@dataclass(frozen=True)
class Frame:
    """sequence, type: 0 to 255 each; payload: at most MOST bytes."""

    sequence: int
    type: int
    payload: bytes


def encode(frame: Frame) -> bytes:
    """The bytes of a frame on the line, its start byte first."""
    body = bytes([frame.sequence, frame.type]) + len(frame.payload).to_bytes(2, "little") + frame.payload
    body += zlib.crc32(body).to_bytes(_CRC, "little")
    escaped = body.replace(b"\x7d", b"\x7d\x5d").replace(b"\x7e", b"\x7d\x5e")
    return bytes([START]) + escaped


class Decoder:
    """Finds frames in bytes as they come; what is not a whole frame with its CRC is passed over."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._inside = False
        self._flip = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete."""
        for byte in data:
            if byte == START:
                self._body.clear()
                self._inside, self._flip = True, 0
            elif self._inside and byte == ESCAPE:
                self._flip = FLIP
            elif self._inside:
                self._body.append(byte ^ self._flip)
                self._flip = 0
                yield from self._completed()

    def _completed(self) -> Iterator[Frame]:
        body = self._body
        if len(body) < _HEAD:
            return
        length = int.from_bytes(body[2:4], "little")
        if length > MOST:
            self._inside = False
        elif len(body) == _HEAD + length + _CRC:
            self._inside = False
            if zlib.crc32(body[:-_CRC]) == int.from_bytes(body[-_CRC:], "little"):
                yield Frame(body[0], body[1], bytes(body[_HEAD:-_CRC]))
