"""Firmware of ShuffleNetV1 on QEMU's Cortex-M boards: instructions, flash and RAM beside CMSIS-NN's.

`python -m shufflec.bench.cortex_m FOLDER [README]` (make bench-mcu) writes cortex-m.json, .md and .html there, and the
table between its markers in the README.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from shufflec.bench import cortex_m_render
from shufflec.bench.cortex_m_rows import Row
from shufflec.bench.readme_table import read_readme, replace_table, write_table
from shufflec.errors import InputFileError, WrongResultError
from shufflec.files import read_limited, write_atomic
from shufflec.validate import ValidationError, build

CLASSES, STEM = 10, 24
_LIMIT = 1 << 20
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


def read_rows(path: Path) -> list[Row]:
    """The rows of a cortex-m.json. Raises InputFileError for another file."""
    try:
        values = json.loads(read_limited(path, _LIMIT, "figures of bench-mcu"))
        if not isinstance(values, list):
            raise ValidationError("a list of rows was expected")
        return [build(Row, value) for value in values]
    except ValueError as error:
        raise InputFileError(
            path, f"holds no figures of bench-mcu: {error}", "make them with: make bench-mcu"
        ) from error


def write_reports(rows: list[Row], folder: Path, readme: Path | None = None) -> None:
    """Writes cortex-m.json, .md and .html, and the table between its markers in a README."""
    write_atomic(folder / "cortex-m.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if not all(row.equal for row in rows):
        raise WrongResultError("a firmware's logits differ from the integer reference; see cortex-m.json")
    write_atomic(folder / "cortex-m.md", cortex_m_render.markdown(rows))
    write_atomic(folder / "cortex-m.html", cortex_m_render.html(rows))
    if readme is not None:
        write_table(readme, cortex_m_render.readme_block(rows), cortex_m_render.START, cortex_m_render.END)


def main(folder: Path, readme: Path | None) -> None:
    """Measures every network on every core, writes the reports and prints the table."""
    if readme is not None:
        replace_table(read_readme(readme), "", readme, cortex_m_render.START, cortex_m_render.END)
    rows: list[Row] = []
    for net in NETS:
        print(f"{net.name} ...", file=sys.stderr, flush=True)
        rows += measure(net)
    write_reports(rows, folder, readme)
    print(cortex_m_render.markdown(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
