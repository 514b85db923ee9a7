"""Cycles of blocks of A64 code on a core: `block_cycles`. Kept by the block's bytes and the model's version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from shufflec.errors import OptionError
from shufflec.files import cache_dir, write_atomic
from shufflec.timing.cores.core import load_core
from shufflec.timing.cores.decode import STACK_POINTER, Instruction, decode_block
from shufflec.timing.cores.simulator import simulate

_HERE = Path(__file__).resolve().parent
_WORD = 4
_LOADS = ("load", "update")  # a load of one lane updates its register
_KEPT = 50_000  # blocks in a cache file, about 10 MB: some twenty networks


@dataclass(frozen=True)
class BlockEstimate:
    """What a block costs when it repeats, in cycles unless said.

    cycles: of one repetition in a long run. first_cycles: of the first, from an empty pipeline to its last result.
    waits: where `cycles` went, adding up to it: "dispatch" (the decoders were the limit), "latency" (results were not
    there yet), and a port's name (that port was in use). instructions, unknown: how many, and how many of them the
    model does not know (counted as one cycle's latency and a place in the decoders). streams: see `_streams`.
    """

    cycles: float
    first_cycles: float
    waits: dict[str, float]
    instructions: int
    unknown: int
    streams: int = 0


def block_cycles(core: str, blocks: list[bytes]) -> list[BlockEstimate]:
    """Estimates for each of `blocks` (whole instruction words, little endian), in their order.

    core: "cortex-a53", "cortex-a72" or "cortex-a76". The same blocks give the same figures on every machine.
    Raises OptionError for a core without a model or a block of no whole words, ToolMissingError without the compiler.
    """
    load_core(core)
    for block in blocks:
        if not block or len(block) % _WORD:
            raise OptionError("blocks", f"{len(block)} bytes", "a block is one or more instructions of 4 bytes")
    path = cache_dir("cores") / f"blocks-{core}-{model_version()}.json"
    kept = _read(path)
    keys = [hashlib.sha256(block).hexdigest()[:32] for block in blocks]
    new = {key: block for key, block in zip(keys, blocks, strict=True) if key not in kept}
    for key, block in new.items():
        kept[key] = _estimate(core, block)
    if new:
        newest = dict(list(kept.items())[-_KEPT:])
        content = {key: _to_list(estimate) for key, estimate in newest.items()}
        write_atomic(path, json.dumps(content, separators=(",", ":")))
    return [kept[key] for key in keys]


@cache
def model_version() -> str:
    """Hash of all that decides an estimate: tables, decoder, simulator, and the disassembler's version."""
    digest = hashlib.sha256(metadata.version("capstone").encode())
    for path in sorted(path for pattern in ("*.py", "data/*.toml", "native/*") for path in _HERE.glob(pattern)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _estimate(core: str, block: bytes) -> BlockEstimate:
    machine = load_core(core)
    instructions = decode_block(block)
    result = simulate(machine, instructions)
    waits = {"dispatch": result.dispatch, "latency": result.latency, **result.ports}
    unknown = sum(machine.cost(instruction) is None for instruction in instructions)
    return BlockEstimate(
        result.cycles,
        result.first_cycles,
        {name: cycles for name, cycles in waits.items() if cycles > 0},
        len(instructions),
        unknown,
        _streams(instructions),
    )


def _streams(instructions: list[Instruction]) -> int:
    """How many places a block loads from that nothing but the core's prefetcher can fetch ahead: registers that its
    loads start from, but the stack pointer (what is there stays in L1D); 0 for a block that prefetches itself."""
    if any(one.group is not None and one.group.name == "prefetch" for one in instructions):
        return 0
    loads = (one for one in instructions if one.group is not None and one.group.use in _LOADS and one.addresses)
    return len({one.reads[0] for one in loads} - {STACK_POINTER})


def _to_list(estimate: BlockEstimate) -> list[object]:
    numbers = (estimate.instructions, estimate.unknown, estimate.streams)
    return [estimate.cycles, estimate.first_cycles, estimate.waits, *numbers]


def _read(path: Path) -> dict[str, BlockEstimate]:
    """The kept estimates; none when the file is missing or damaged (it is only a cache)."""
    try:
        return {key: BlockEstimate(*values) for key, values in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
