"""What the emulator's plugin asks the clock, as bytes: the other side of devices/native/common/clock_protocol.h."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shufflec.timing.estimate import Estimate
from shufflec.timing.waits import NAMES, Waits

MAGIC = 0x326B6C6366756873  # SHUFFLEC_CLOCK_MAGIC
MAX_REQUEST_BYTES = 256 << 20
MAX_THREADS = 16
_ESTIMATED, _FAILED = 1, 2  # enum ShufflecEstimateState
_PROBLEM_BYTES = 200
_HEADER = struct.Struct("<QQII")  # struct ClockRequest
_BLOCK = struct.Struct("<QQQQII")  # struct ClockBlock
_ANSWER = struct.Struct(f"<QddddQQQ{len(NAMES)}d{_PROBLEM_BYTES}s")  # struct ShufflecEstimate
HEADER_BYTES, ANSWER_BYTES = _HEADER.size, _ANSWER.size
_WORD = 4


class ProtocolError(ValueError):
    """Bytes that are no request."""


@dataclass(frozen=True)
class BlockRun:
    """A block of code and what it did in a region. code: whole instruction words. executions: by thread. The misses
    are over all threads."""

    code: bytes
    executions: tuple[int, ...]
    l1_load_misses: int = 0
    l1_store_misses: int = 0
    dram_lines: int = 0


def request_bytes(header: bytes) -> int:
    """Size of the whole request that begins with `header` (HEADER_BYTES long). Raises ProtocolError."""
    magic, size, threads, _ = _HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolError("a counter of another version asks; start the virtual board anew")
    if not HEADER_BYTES <= size <= MAX_REQUEST_BYTES or not 1 <= threads <= MAX_THREADS:
        raise ProtocolError(f"a request of {size} bytes for {threads} threads, which cannot be")
    return size


def read_request(request: bytes) -> list[BlockRun]:
    """The blocks of a whole request. Raises ProtocolError when it is cut off or too long."""
    _, _, threads, count = _HEADER.unpack_from(request)
    runs = []
    at = HEADER_BYTES
    counters = struct.Struct(f"<{threads}Q")
    try:
        for _ in range(count):
            _, load_misses, store_misses, dram_lines, length, _ = _BLOCK.unpack_from(request, at)
            at += _BLOCK.size
            executions = counters.unpack_from(request, at)
            at += counters.size
            code = request[at : at + _WORD * length]
            at += _WORD * (length + length % 2)
            runs.append(BlockRun(code, executions, load_misses, store_misses, dram_lines))
    except struct.error as error:
        raise ProtocolError(f"the request is cut off at byte {at}") from error
    if at != len(request):
        raise ProtocolError(f"the request has {len(request)} bytes, its blocks {at}")
    return runs


def pack_request(runs: list[BlockRun]) -> bytes:
    """The bytes of a request, as the plugin sends them."""
    threads = len(runs[0].executions) if runs else 1
    parts = []
    for run in runs:
        length = len(run.code) // _WORD
        parts.append(_BLOCK.pack(0, run.l1_load_misses, run.l1_store_misses, run.dram_lines, length, 0))
        parts.append(struct.pack(f"<{threads}Q", *run.executions) + run.code + bytes(_WORD * (length % 2)))
    body = b"".join(parts)
    return _HEADER.pack(MAGIC, HEADER_BYTES + len(body), threads, len(runs)) + body


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
