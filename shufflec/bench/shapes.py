"""shufflec's own figures over the shapes of ShuffleNetV1: groups, scales and input sizes, on every board.

No shape may fall off a cliff: instructions per multiply-accumulate stay within twice those of 1.0x g=3 at 224x224 on
the same board, 0.25x excepted, whose layers are too narrow to fill registers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from shufflec.bench.network_costs import measure_costs
from shufflec.bench.saved import Progress
from shufflec.bench.workload import bench_architecture
from shufflec.models.architecture import GROUPS
from shufflec.models.complexity import complexity
from shufflec.reports.network_costs import NetworkCost
from shufflec.targets.target import Target

SCHEMA = 1
CLIFF = 2.0
EXEMPT_SCALE = 0.25
SCALES = (0.25, 0.5, 1.0, 1.5, 2.0)
_SQUARE, _WIDE = (224, 224), (480, 640)

METHOD = (
    "ShuffleNetV1, 1000 classes, batch 1, random weights, int8, compiled as `shufflec compile` does; one inference on "
    "1 thread on the virtual board, equal to the integer reference bit for bit. Instructions are counted, milliseconds "
    "estimated."
)


@dataclass(frozen=True)
class Shape:
    """A network of the table."""

    groups: int
    scale: float = 1.0
    input_size: tuple[int, int] = _SQUARE

    @property
    def title(self) -> str:
        """E.g. "1.0x g=3 224x224"."""
        return f"{self.scale:g}x g={self.groups} {self.input_size[0]}x{self.input_size[1]}"


BASE = Shape(3)


def shapes(groups: Sequence[int]) -> list[Shape]:
    """Every number of groups at 1.0x; the other scales, and 480x640, for g=3 and g=8 where those are asked for."""
    found = [Shape(count) for count in GROUPS if count in groups]
    for count in (3, 8):
        if count in groups:
            found += [Shape(count, scale) for scale in SCALES if scale != 1.0]
            found.append(Shape(count, 1.0, _WIDE))
    return found if BASE in found else [BASE, *found]


@dataclass(frozen=True)
class ShapeRow:
    """One shape on one board. instructions: None when it did not run, and then `reason` says why."""

    target: str
    core: str
    groups: int
    scale: float
    input_size: tuple[int, int]
    macs: int
    instructions: int | None = None
    milliseconds: float | None = None
    reason: str = ""

    @property
    def shape(self) -> Shape:
        return Shape(self.groups, self.scale, tuple(self.input_size))

    @property
    def per_mac(self) -> float | None:
        """Instructions per multiply-accumulate."""
        return None if self.instructions is None else self.instructions / self.macs

    @property
    def picoseconds_per_mac(self) -> float | None:
        """Estimated time per multiply-accumulate."""
        return None if self.milliseconds is None else self.milliseconds * 1e9 / self.macs


@dataclass(frozen=True)
class ShapeReport:
    """Rows in the order of the table: by board, then by shape."""

    rows: tuple[ShapeRow, ...]

    def base(self, target: str) -> ShapeRow:
        """The row of a board that the others are compared with."""
        return next(row for row in self.rows if row.target == target and row.shape == BASE)

    def ratio(self, row: ShapeRow) -> float | None:
        """Instructions per multiply-accumulate over the base's."""
        base = self.base(row.target).per_mac
        return row.per_mac / base if row.per_mac is not None and base else None

    def time_ratio(self, row: ShapeRow) -> float | None:
        """Estimated time per multiply-accumulate over the base's."""
        base = self.base(row.target).picoseconds_per_mac
        return row.picoseconds_per_mac / base if row.picoseconds_per_mac is not None and base else None

    def cliffs(self) -> list[ShapeRow]:
        """Rows that did not run, or need more than CLIFF times the base's instructions per MAC."""
        return [
            row
            for row in self.rows
            if row.instructions is None or (row.scale != EXEMPT_SCALE and (self.ratio(row) or 0) > CLIFF)
        ]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        rows = [
            {
                **asdict(row),
                "instructions_per_mac": _rounded(row.per_mac),
                "per_mac_over_base": _rounded(self.ratio(row)),
                "time_per_mac_over_base": _rounded(self.time_ratio(row)),
            }
            for row in self.rows
        ]
        return {"schema": SCHEMA, "method": METHOD, "base": BASE.title, "cliff": CLIFF, "rows": rows}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"


def run_shapes(
    targets: Sequence[Target], groups: Sequence[int], progress: Progress, fresh: bool = False
) -> ShapeReport:
    """Measures every shape on every board; one that fails does not stop the others.

    progress(what, done, total): before every measurement. fresh: measures again what an earlier run has kept.
    """
    # The rows of `shufflec models --measure`: what either has measured, the other reads.
    networks = {bench_architecture(shape.groups, shape.scale, shape.input_size): shape for shape in shapes(groups)}
    costs = measure_costs(list(networks), targets, progress, fresh).costs
    order = [target.name for target in targets]
    return ShapeReport(
        tuple(
            _row(cost, networks[cost.architecture]) for cost in sorted(costs, key=lambda cost: order.index(cost.target))
        )
    )


def _row(cost: NetworkCost, shape: Shape) -> ShapeRow:
    return ShapeRow(
        target=cost.target,
        core=cost.core,
        groups=shape.groups,
        scale=shape.scale,
        input_size=shape.input_size,
        macs=complexity(cost.architecture).macs,
        instructions=cost.instructions,
        milliseconds=cost.milliseconds,
        reason=cost.reason,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def table(report: ShapeReport) -> list[list[str]]:
    """Header and lines as text: a line a shape, a column a board."""
    targets = list(dict.fromkeys((row.target, row.core) for row in report.rows))
    lines = [["network", "MACs", *(f"{core.replace('cortex-a', 'A')} ({target})" for target, core in targets)]]
    for shape in dict.fromkeys(row.shape for row in report.rows):
        rows = {row.target: row for row in report.rows if row.shape == shape}
        macs = next(iter(rows.values())).macs
        cells = [_cell(report, rows.get(target)) for target, _ in targets]
        lines.append([shape.title, f"{macs / 1e6:.1f} M", *cells])
    return lines


def _cell(report: ShapeReport, row: ShapeRow | None) -> str:
    if row is None:
        return ""
    if row.instructions is None:
        return "does not run"
    return f"{row.instructions / 1e6:.1f} M, {row.milliseconds:.1f} ms, {report.ratio(row):.2f}x"


def sentences(report: ShapeReport) -> list[str]:
    """What the table says: the cliff check, the widest rows, and why a row did not run."""
    checked = [row for row in report.rows if row.instructions is not None and row.scale != EXEMPT_SCALE]
    found = [
        f"In a cell: instructions, estimated time, and instructions per MAC over those of {BASE.title} on that board. "
        f"At most {CLIFF:g}x is asked for, {EXEMPT_SCALE:g}x excepted."
    ]
    cliffs = report.cliffs()
    if not cliffs and checked:
        worst = max(checked, key=lambda row: report.ratio(row))
        found.append(f"No cliff: the worst is {worst.shape.title} on {worst.target}, {report.ratio(worst):.2f}x.")
    for row in cliffs:
        why = row.reason or f"{report.ratio(row):.2f}x the instructions per MAC of {BASE.title}"
        found.append(f"Cliff: {row.shape.title} on {row.target}: {why}.")
    for row in checked:
        ratio, time = report.ratio(row), report.time_ratio(row)
        if time > 1.25 * ratio:
            found.append(
                f"{row.shape.title} on {row.target} takes {time:.2f}x the time per MAC, with {ratio:.2f}x the "
                f"instructions: time decides."
            )
    return found


def markdown(report: ShapeReport) -> str:
    """The table as GitHub Markdown."""
    header, *lines = table(report)
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    parts = ["# shufflec over the shapes of ShuffleNetV1", METHOD, "\n".join(f"| {' | '.join(row)} |" for row in rows)]
    parts.append("\n".join(f"- {sentence}" for sentence in sentences(report)))
    return "\n\n".join(parts) + "\n"
