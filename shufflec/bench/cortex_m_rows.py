"""What bench-mcu measures, and figures of other engines, measured elsewhere, beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One network on one core. Bytes; ram_bytes is the arena with the input, and the stack's computed worst case."""

    net: str
    core: str
    macs: int
    instructions: int
    vector_instructions: int
    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    stack_bytes: int
    equal: bool


@dataclass(frozen=True)
class Peer:
    """Another engine's network on one core: instructions of one inference, bytes of flash, bytes of arena and scratch.

    None where it is not known.
    """

    instructions: int
    flash_bytes: int | None = None
    ram_bytes: int | None = None


#: By network and core. Not measured by this bench, but once and elsewhere: CMSIS-NN of 2026-07, with gcc 12 -O3 (clang
#: on the M55), on QEMU's boards by the same rule; networks with g=3, 10 classes and a stem of 24 channels.
PEERS: dict[str, dict[tuple[str, str], Peer]] = {
    "CMSIS-NN, called by hand": {
        ("0.25x 64x64 g=3", "cortex-m4"): Peer(8_820_000, 127_840, 37_824),
        ("0.25x 64x64 g=3", "cortex-m7"): Peer(8_790_000),
        ("0.25x 64x64 g=3", "cortex-m55"): Peer(2_260_000, 125_056, 41_328),
        ("0.5x 64x64 g=3", "cortex-m4"): Peer(16_090_000, 333_148, 38_784),
        ("0.5x 64x64 g=3", "cortex-m55"): Peer(3_730_000),
        ("0.25x 96x96 g=3", "cortex-m4"): Peer(19_580_000, 127_840, 83_904),
        ("0.25x 96x96 g=3", "cortex-m55"): Peer(5_080_000),
        ("0.5x 96x96 g=3", "cortex-m4"): Peer(35_300_000, 333_148, 84_864),
        ("0.5x 96x96 g=3", "cortex-m55"): Peer(8_430_000),
    },
    "TFLM with CMSIS-NN": {
        ("0.25x 64x64 g=3", "cortex-m4"): Peer(9_210_000, 252_860, 76_404),
        ("0.25x 64x64 g=3", "cortex-m55"): Peer(2_880_000),
        ("0.5x 64x64 g=3", "cortex-m4"): Peer(16_360_000, 507_172, 100_692),
        ("0.5x 64x64 g=3", "cortex-m55"): Peer(4_600_000),
        ("0.25x 96x96 g=3", "cortex-m4"): Peer(20_760_000, None, 122_484),
        ("0.25x 96x96 g=3", "cortex-m55"): Peer(6_420_000),
        ("0.5x 96x96 g=3", "cortex-m4"): Peer(37_010_000, None, 146_772),
        ("0.5x 96x96 g=3", "cortex-m55"): Peer(10_330_000),
    },
}
