"""What the emulator's plugin asks the clock, as bytes: the other side of devices/native/common/clock_protocol.h."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shufflec.timing.estimate import Estimate
from shufflec.timing.waits import NAMES, Waits

MAGIC = 0x336B6C6366756873  # SHUFFLEC_CLOCK_MAGIC
MAX_REQUEST_BYTES = 256 << 20
MAX_THREADS = 16
_ESTIMATED, _FAILED = 1, 2  # enum ShufflecEstimateState
_PROBLEM_BYTES = 200
_HEADER = struct.Struct("<QQIIQ")  # struct ClockRequest
_BLOCK = struct.Struct("<QII")  # struct ClockBlock
_RUN = struct.Struct("<IIIIQQQQQ")  # struct ClockRun
_ANSWER = struct.Struct(f"<QddddQQQ{len(NAMES)}d{_PROBLEM_BYTES}s")  # struct ShufflecEstimate
HEADER_BYTES, ANSWER_BYTES = _HEADER.size, _ANSWER.size
_WORD = 4
ALONE = 0  # the section of all that ran alone


class ProtocolError(ValueError):
    """Bytes that are no request."""


@dataclass(frozen=True)
class BlockRun:
    """A block of code and what it did for one thread in one section of a region.

    code: whole instruction words. dram_fills, dram_writes: lines that moved between the last cache and the memory.
    section: in each, threads ran side by side; ALONE is all that did not.
    """

    code: bytes
    executions: int
    l1_load_misses: int = 0
    l1_store_misses: int = 0
    dram_fills: int = 0
    dram_writes: int = 0
    section: int = ALONE
    thread: int = 0

    @property
    def dram_lines(self) -> int:
        return self.dram_fills + self.dram_writes


def request_bytes(header: bytes) -> int:
    """Size of the whole request that begins with `header` (HEADER_BYTES long). Raises ProtocolError."""
    magic, size, threads, _, _ = _HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolError("a counter of another version asks; start the virtual board anew")
    if size > MAX_REQUEST_BYTES:
        raise ProtocolError(
            f"a region of {size >> 20} MiB of counts, more than {MAX_REQUEST_BYTES >> 20}; time fewer calls"
        )
    if size < HEADER_BYTES or not 1 <= threads <= MAX_THREADS:
        raise ProtocolError(f"a request of {size} bytes for {threads} threads, which cannot be")
    return size


def read_request(request: bytes) -> list[BlockRun]:
    """The runs of a whole request. Raises ProtocolError when it is cut off, too long, or contradicts itself."""
    _, _, threads, block_count, run_count = _HEADER.unpack_from(request)
    at = HEADER_BYTES
    codes, runs = [], []
    try:
        for _ in range(block_count):
            _, length, _ = _BLOCK.unpack_from(request, at)
            at += _BLOCK.size
            codes.append(request[at : at + _WORD * length])
            at += _WORD * (length + length % 2)
        for _ in range(run_count):
            block, section, thread, _, *counts = _RUN.unpack_from(request, at)
            at += _RUN.size
            if block >= block_count or thread >= threads:
                raise ProtocolError(f"a run of block {block} by thread {thread}, which the request does not have")
            runs.append(BlockRun(codes[block], *counts, section, thread))
    except struct.error as error:
        raise ProtocolError(f"the request is cut off at byte {at}") from error
    if at != len(request):
        raise ProtocolError(f"the request has {len(request)} bytes, its blocks and runs {at}")
    return runs


def pack_request(runs: list[BlockRun]) -> bytes:
    """The bytes of a request, as the plugin sends them."""
    threads = max((run.thread for run in runs), default=0) + 1
    places = {code: place for place, code in enumerate(dict.fromkeys(run.code for run in runs))}
    parts = []
    for code in places:
        length = len(code) // _WORD
        parts.append(_BLOCK.pack(0, length, 0) + code + bytes(_WORD * (length % 2)))
    for run in runs:
        misses = (run.l1_load_misses, run.l1_store_misses, run.dram_fills, run.dram_writes)
        parts.append(_RUN.pack(places[run.code], run.section, run.thread, 0, run.executions, *misses))
    body = b"".join(parts)
    return _HEADER.pack(MAGIC, HEADER_BYTES + len(body), threads, len(places), len(runs)) + body


def pack_estimate(estimate: Estimate) -> bytes:
    """The answer to a request."""
    times = (estimate.compute_ns, estimate.load_miss_ns, estimate.store_miss_ns, estimate.dram_ns)
    misses = (estimate.l1_load_misses, estimate.l1_store_misses, estimate.dram_lines)
    waits = (getattr(estimate.waits, name) for name in NAMES)
    return _ANSWER.pack(_ESTIMATED, *times, *misses, *waits, b"")


def pack_problem(problem: str) -> bytes:
    """The answer to a request that cannot be answered; one line, cut where it is too long."""
    line = " ".join(problem.split()).encode("ascii", "replace")[: _PROBLEM_BYTES - 1]
    return _ANSWER.pack(_FAILED, *[0] * (7 + len(NAMES)), line)


def read_answer(answer: bytes) -> Estimate | str:
    """The estimate, or the line that says why there is none."""
    state, *values, problem = _ANSWER.unpack(answer)
    if state == _FAILED:
        return problem.rstrip(b"\0").decode("ascii")
    return Estimate(*values[:7], waits=Waits(*values[7:]))
