"""The figures of the shipped digits checkpoints on the virtual boards: one line of estimates.txt for each.

    python tests/golden/estimates.py            writes estimates.txt anew, all lines (`make golden`)
    python tests/golden/estimates.py --check    computes all lines and compares them (`make golden-check`)

Estimates are deterministic, so a figure that changed has a reason: a kernel, the core or cache models, a target's
figures, the quantizer, or another version of QEMU, which cuts code into other blocks. Look at the difference before
it is committed.
"""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path

from shufflec.backends.bundle import Bundle
from shufflec.backends.compile import compile_model
from shufflec.files import write_atomic
from shufflec.models.checkpoint import bundled_checkpoint
from shufflec.profiling.inputs import seeded_inputs
from shufflec.profiling.open_device import open_device
from shufflec.profiling.profile import profile_bundle
from shufflec.quantize.prepare import prepare_model
from shufflec.reports.build import bundle_report
from shufflec.reports.schema import Report
from shufflec.targets.target import load_target

FILE = Path(__file__).with_name("estimates.txt")
GROUPS = (1, 2, 3, 4, 8)
BOARDS = ("rasp3", "rasp4", "rasp5", "zero2w")
_COLUMNS = (
    "groups", "board", "instructions", "estimated", "compute", "load_misses", "store_misses", "dram", "floor",
    "l1_load_misses", "l1_store_misses", "dram_lines",
)  # fmt: skip
_WIDTH = 17
_HEAD = "# Times in microseconds, one thread. Written by `make golden`; see estimates.py.\n"


def figures_line(groups: int, board: str) -> str:
    """Compiles the shipped checkpoint of `groups` for a board, profiles it there, and writes its figures as a line."""
    with tempfile.TemporaryDirectory() as folder:
        report = _profiled(_compiled(groups, board, Path(folder)))
    cost, roof = report.cost, report.roofline
    assert cost is not None and cost.milliseconds is not None and cost.estimate is not None and roof is not None
    parts = cost.estimate
    times = (cost.milliseconds, parts.compute_ms, parts.load_miss_ms, parts.store_miss_ms, parts.dram_ms, roof.floor_ms)
    events = (parts.l1_load_misses, parts.l1_store_misses, parts.dram_lines)
    return _line(groups, board, cost.instructions, *(f"{1e3 * time:.3f}" for time in times), *events)


def kept_line(groups: int, board: str) -> str:
    """The line of estimates.txt, or one that says that it has none."""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.split()[:2] == [str(groups), board]:
            return line
    return f"estimates.txt has no line for groups {groups} on {board}"


def _line(*cells: object) -> str:
    return "".join(f"{cell!s:>{_WIDTH}}" for cell in cells)


@cache
def _quantized(groups: int):
    return prepare_model(bundled_checkpoint(groups)).model


def _compiled(groups: int, board: str, path: Path) -> Bundle:
    compiled = compile_model(_quantized(groups), load_target(board), f"shufflenet_v1_g{groups}_x0.25_digits")
    write_atomic(path / compiled.library_name, compiled.library)
    return Bundle(path, compiled.manifest({}), compiled.integer.graph)


def _profiled(bundle: Bundle) -> Report:
    with open_device(bundle.target) as session:
        return bundle_report(bundle, profile_bundle(bundle, session, seeded_inputs(bundle.preprocessing, 1)))


def main(arguments: list[str]) -> int:
    lines, different = [], 0
    for groups in GROUPS:
        for board in BOARDS:
            lines.append(line := figures_line(groups, board))
            if "--check" in arguments and line != kept_line(groups, board):
                different += 1
                print(f"expected {kept_line(groups, board)}\nfound    {line}", flush=True)
            else:
                print(line, flush=True)
    if "--check" not in arguments:
        write_atomic(FILE, _HEAD + "\n".join([_line(*_COLUMNS), *lines]) + "\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
