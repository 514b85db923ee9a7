"""Frames of the serial line protocol against byte streams made by hand, whole and damaged."""

from __future__ import annotations

import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from shufflec.devices.serial_frames import MOST, Decoder, Frame, encode

FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=MOST))
DETERMINISTIC = settings(derandomize=True, database=None, deadline=None)


def decoded(data: bytes) -> list[Frame]:
    return list(Decoder().feed(data))


def test_a_frame_by_hand():
    body = bytes.fromhex("05 85 02 00 7e 7d")
    data = bytes.fromhex("7e 05 85 02 00 7d5e 7d5d") + zlib.crc32(body).to_bytes(4, "little")
    assert encode(Frame(5, 0x85, b"\x7e\x7d")) == data
    assert decoded(data) == [Frame(5, 0x85, b"\x7e\x7d")]


def test_the_crc_is_that_of_ieee_802_3():
    # The check value that every description of this CRC gives, for the nine digits.
    assert encode(Frame(ord("1"), ord("2"), b""))[5:] == zlib.crc32(b"12\0\0").to_bytes(4, "little")
    assert zlib.crc32(b"123456789") == 0xCBF43926


def test_a_length_above_the_most_is_passed_over():
    body = bytes([1, 2]) + (MOST + 1).to_bytes(2, "little") + bytes(MOST + 1)
    data = b"\x7e" + body + zlib.crc32(body).to_bytes(4, "little")
    assert decoded(data) == []
    assert decoded(data + encode(Frame(1, 2, b""))) == [Frame(1, 2, b"")]


@DETERMINISTIC
@given(FRAMES)
def test_the_start_byte_is_only_at_the_start(frame):
    assert encode(frame).count(0x7E) == 1
    assert encode(frame)[0] == 0x7E


@DETERMINISTIC
@given(st.lists(FRAMES, max_size=4), st.binary(max_size=30), st.integers(1, 50))
def test_frames_come_back_however_the_bytes_are_cut_and_whatever_was_before(frames, noise, step):
    decoder, found = Decoder(), []
    data = noise.replace(b"\x7e", b"") + b"".join(map(encode, frames))
    for at in range(0, len(data), step):
        found += decoder.feed(data[at : at + step])
    assert found == frames


@DETERMINISTIC
@given(FRAMES, FRAMES, st.data(), st.sampled_from(["dropped", "doubled", "changed"]))
def test_a_damaged_frame_is_never_another_one_and_the_next_is_whole(first, second, data, kind):
    line = bytearray(encode(first))
    at = data.draw(st.integers(0, len(line) - 1))
    if kind == "dropped":
        del line[at]
    elif kind == "doubled":
        line.insert(at, line[at])
    else:
        line[at] ^= data.draw(st.integers(1, 255))
    # A doubled start byte, or the last byte doubled, leaves the frame whole.
    assert decoded(bytes(line) + encode(second)) in ([second], [first, second])
    if kind == "changed":
        assert decoded(bytes(line) + encode(second)) == [second]
