"""The compiled simulator: built once with the project's C compiler, kept by a hash of its sources."""

from __future__ import annotations

import ctypes
import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from shufflec.errors import ShufflecError
from shufflec.files import atomic_directory, cache_dir
from shufflec.timing.cores.core import MAX_CHOICES, MAX_PORTS, Core, Cost
from shufflec.timing.cores.decode import Instruction
from shufflec.timing.cores.instructions import groups
from shufflec.zig import run_zig, zig_version

NATIVE = Path(__file__).resolve().parent / "native"
LIBRARY = "libshufflec_cores.so"
MAX_READS, MAX_WRITES = 12, 6
_FLAGS = ["-O2", "-s", "-shared", "-fPIC", "-fvisibility=default"]
_GLIBC = "2.28"
_NONE = -1
_GROUPS = 255  # no group has this number
# An instruction that the tables do not know: a place in the decoders, a result a cycle later.
_UNKNOWN = Cost(choices=())
# Long enough for a window of 128 to fill and drain several times, and for blocks of a few instructions to settle.
_INSTRUCTIONS, _REPETITIONS = 600, 8


class _Operation(ctypes.Structure):
    """struct Operation of native/simulate.h."""

    _fields_ = [
        ("choices", ctypes.c_uint16 * MAX_CHOICES),
        ("reserved", ctypes.c_uint16),
        *((name, ctypes.c_uint8) for name in ("reserved_after", "choice_count", "operations", "occupancy", "latency")),
        *((name, ctypes.c_uint8) for name in ("stagger", "accumulate", "group", "read_count", "write_count")),
        *((name, ctypes.c_int8) for name in ("accumulator", "base")),
        ("ends_fetch", ctypes.c_uint8),
        ("update_latency", ctypes.c_uint8),
        ("reads", ctypes.c_int8 * MAX_READS),
        ("early", ctypes.c_uint8 * MAX_READS),
        ("writes", ctypes.c_int8 * MAX_WRITES),
    ]


class _Core(ctypes.Structure):
    """struct Core of native/simulate.h."""

    _fields_ = [(name, ctypes.c_int32) for name in ("out_of_order", "width", "queue", "window", "ports")]


class _Waits(ctypes.Structure):
    """struct Waits of native/simulate.h."""

    _fields_ = [("latency", ctypes.c_double), ("dispatch", ctypes.c_double), ("port", ctypes.c_double * MAX_PORTS)]


@dataclass(frozen=True)
class Simulation:
    """Cycles of one repetition in a long run, of the first one, and where the former went (they add up to it)."""

    cycles: float
    first_cycles: float
    latency: float
    dispatch: float
    ports: dict[str, float]


@cache
def library() -> ctypes.CDLL:
    """Raises ToolMissingError when the compiler is not installed, ShufflecError when it fails."""
    version = zig_version("build the core models")
    sources = sorted(NATIVE.glob("*.c"))
    target = f"{platform.machine()}-linux-gnu.{_GLIBC}"
    inputs = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(NATIVE.iterdir())}
    identity = [inputs, _FLAGS, target, version]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir("cores") / f"simulator-{key}"
    if not (folder / LIBRARY).is_file():
        with atomic_directory(folder) as work:
            command = ["cc", "-target", target, *_FLAGS, "-o", str(work / LIBRARY), *map(str, sources)]
            run_zig(command, "the core models")
    loaded = ctypes.CDLL(str(folder / LIBRARY))
    loaded.simulate_block.restype = ctypes.c_int
    return loaded


def simulate(core: Core, instructions: list[Instruction]) -> Simulation:
    """Repeats a block (not empty) on `core`. An unknown instruction takes a place in the decoders and one cycle."""
    count = len(instructions)
    packed = b"".join(_operation(core.cost(one), core.address_early, core.update_latency, one) for one in instructions)
    operations = (_Operation * count).from_buffer_copy(packed)
    machine = _Core(core.kind == "out-of-order", core.width, core.queue, core.window, len(core.ports))
    repetitions = max(_REPETITIONS, -(-_INSTRUCTIONS // count))
    steady, first, waits = ctypes.c_double(), ctypes.c_double(), _Waits()
    arguments = (ctypes.byref(steady), ctypes.byref(first), ctypes.byref(waits))
    if library().simulate_block(ctypes.byref(machine), operations, count, repetitions, *arguments) != 0:
        raise ShufflecError(f"no memory to simulate a block of {count} instructions")
    ports = {name: waits.port[number] for number, name in enumerate(core.ports)}
    return Simulation(steady.value, first.value, waits.latency, waits.dispatch, ports)


@lru_cache(maxsize=100_000)
def _operation(cost: Cost | None, address_early: int, update_latency: int, instruction: Instruction) -> bytes:
    """struct Operation of an instruction; blocks share most of theirs."""
    known = cost is not None and instruction.group is not None
    cost = cost or _UNKNOWN
    each = instruction.registers if cost.each else 1
    operation = _Operation(
        reserved=cost.reserved,
        reserved_after=cost.reserved_after,
        choice_count=len(cost.choices),
        operations=cost.operations * each,
        occupancy=cost.occupancy * each,
        latency=cost.latency,
        stagger=cost.stagger,
        accumulate=cost.accumulate,
        group=_group_number(instruction.group.name) if known else _GROUPS,
        accumulator=_NONE if instruction.accumulator is None else instruction.accumulator,
        base=_NONE if instruction.base is None else instruction.base,
        ends_fetch=instruction.branches,
        update_latency=update_latency,
    )
    operation.choices[: len(cost.choices)] = cost.choices
    operation.read_count = min(len(instruction.reads), MAX_READS)
    operation.write_count = min(len(instruction.writes), MAX_WRITES)
    operation.reads[: operation.read_count] = instruction.reads[:MAX_READS]
    early = [address_early if one in instruction.addresses else cost.early for one in instruction.reads[:MAX_READS]]
    operation.early[: operation.read_count] = early
    operation.writes[: operation.write_count] = instruction.writes[:MAX_WRITES]
    return bytes(operation)


@cache
def _group_number(name: str) -> int:
    return [group.name for group in groups()].index(name)
