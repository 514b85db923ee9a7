"""Firmware of ShuffleNetV1 on QEMU's Cortex-M boards: instructions, flash and RAM beside CMSIS-NN's.

`python -m shufflec.bench.cortex_m FOLDER` (make bench-mcu) writes cortex-m.json and cortex-m.md there.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from shufflec.errors import WrongResultError
from shufflec.files import write_atomic

CLASSES, STEM = 10, 24
FLASH_BYTES = 4 << 20  # so that no network is refused; QEMU's boards have as much


@dataclass(frozen=True)
class Net:
    """One network: groups of the 1x1 convolutions, scale of the channels, input pixels a side."""

    groups: int
    scale: float
    size: int

    @property
    def name(self) -> str:
        return f"{self.scale:g}x {self.size}x{self.size} g={self.groups}"


NETS = (
    Net(3, 0.25, 64), Net(3, 0.5, 64), Net(3, 0.25, 96), Net(3, 0.5, 96), Net(8, 0.25, 64), Net(8, 0.5, 96),
    Net(3, 1.0, 64), Net(8, 1.0, 64), Net(3, 0.75, 64),
)  # fmt: skip
CORES = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")

#: CMSIS-NN of 2026-07, by hand, gcc 12 -O3 (clang on the M55): (instructions, flash bytes, arena and scratch bytes).
#: Counted on the same boards by the same rule; the networks have g=3, 10 classes and a stem of 24 channels.
CMSIS_NN: dict[tuple[str, str], tuple[int, int | None, int | None]] = {
    ("0.25x 64x64 g=3", "cortex-m4"): (8_820_000, 127_840, 37_824),
    ("0.25x 64x64 g=3", "cortex-m7"): (8_790_000, None, None),
    ("0.25x 64x64 g=3", "cortex-m55"): (2_260_000, 125_056, 41_328),
    ("0.5x 64x64 g=3", "cortex-m4"): (16_090_000, 333_148, 38_784),
    ("0.5x 64x64 g=3", "cortex-m55"): (3_730_000, None, None),
    ("0.25x 96x96 g=3", "cortex-m4"): (19_580_000, 127_840, 83_904),
    ("0.25x 96x96 g=3", "cortex-m55"): (5_080_000, None, None),
    ("0.5x 96x96 g=3", "cortex-m4"): (35_300_000, 333_148, 84_864),
    ("0.5x 96x96 g=3", "cortex-m55"): (8_430_000, None, None),
}


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


def measure(net: Net, cores: tuple[str, ...] = CORES) -> list[Row]:
    """Compiles a network with random weights for each core and runs one inference; outputs are compared."""
    import numpy as np

    from shufflec.backends.baremetal.firmware import compile_firmware
    from shufflec.backends.baremetal.source import arena_bytes
    from shufflec.devices.qemu_board import run_firmware
    from shufflec.ir.reference import execute
    from shufflec.models.architecture import Architecture
    from shufflec.models.random_weights import random_checkpoint
    from shufflec.profiling.inputs import seeded_inputs
    from shufflec.quantize.prepare import prepare_model
    from shufflec.targets.target import load_target

    arch = Architecture(groups=net.groups, scale=net.scale, classes=CLASSES, input_size=net.size, stem_channels=STEM)
    prepared = prepare_model(random_checkpoint(arch))
    x = seeded_inputs(prepared.preprocessing, 1)[0]
    rows = []
    for core in cores:
        target = replace(load_target(core), flash_bytes=FLASH_BYTES)
        compiled = compile_firmware(prepared.model, target, "bench", [x])
        graph, firmware = compiled.integer.graph, compiled.firmware
        expected = execute(graph, x)
        run = run_firmware(target, firmware.elf, [expected[graph.ops[0].output]])
        logits = np.frombuffer(run.answer, np.int32, CLASSES)
        counts, arena = run.regions[0], arena_bytes(firmware.plan)
        rows.append(
            Row(
                net.name,
                core,
                sum(layer.macs for layer in firmware.program.layers),
                sum(counts.values()),
                counts["vector"],
                firmware.code.flash_bytes,
                arena + firmware.code.stack_bytes,
                arena,
                firmware.code.stack_bytes,
                bool(np.array_equal(logits, expected[graph.ops[-2].output].reshape(-1))),
            )
        )
    return rows


def markdown(rows: list[Row]) -> str:
    """The table, CMSIS-NN's figures beside ours where they are known."""
    lines = [
        "# ShuffleNetV1 on Cortex-M",
        "",
        "Instructions of one inference, counted on QEMU's boards; weights are random (the work does not depend on",
        "them) and every output equals the NumPy reference bit for bit. Flash is code and constants; RAM is the",
        "arena, with the input in it, and the stack's worst case. CMSIS-NN (2026-07, called by hand without an",
        "interpreter) ran the same layers; its RAM is arena and scratch. An MVE instruction takes about two",
        "cycles.",
        "",
        "| net | MACs | core | instructions | of them MVE | CMSIS-NN | ratio | flash B | CMSIS-NN | RAM B | CMSIS-NN |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        peer, flash, ram = CMSIS_NN.get((row.net, row.core), (None, None, None))
        cells = (
            row.net, f"{row.macs / 1e6:.2f} M", row.core, f"{row.instructions / 1e6:.2f} M",
            f"{row.vector_instructions / 1e6:.2f} M" if row.vector_instructions else "",
            f"{peer / 1e6:.2f} M" if peer else "", f"{row.instructions / peer:.2f}" if peer else "",
            f"{row.flash_bytes:,}", f"{flash:,}" if flash else "", f"{row.ram_bytes:,}", f"{ram:,}" if ram else "",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(folder: str) -> None:
    """Measures every network on every core and writes the reports."""
    rows: list[Row] = []
    for net in NETS:
        print(f"{net.name} ...", file=sys.stderr, flush=True)
        rows += measure(net)
    write_atomic(Path(folder) / "cortex-m.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if not all(row.equal for row in rows):
        raise WrongResultError("a firmware's logits differ from the integer reference; see cortex-m.json")
    text = markdown(rows)
    write_atomic(Path(folder) / "cortex-m.md", text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "reports")
