"""The comparison as data: reports/arm-linux.json; Markdown and HTML are rendered from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from shufflec.errors import InputFileError
from shufflec.files import read_limited

SCHEMA = 1
# Below this the output is not a quantized form of the float model's any more.
RIGHT_CORRELATION = 0.95
OWN_NAME = "shufflec"
_V2 = "v2"
_LIMIT = 16 << 20

Column = tuple[str, str, int | None]


@dataclass(frozen=True)
class Row:
    """One engine on one board and network.

    groups: of ShuffleNetV1; None for ShuffleNetV2. instructions: of one inference, by class; None when it did not run,
    and then `reason` says why. correlation: Pearson's, of its logits with the float model's; None too when the output
    is constant or not finite. milliseconds: estimated for the board; None for engines that start threads of their own.
    """

    target: str
    core: str
    groups: int | None
    engine: str
    precision: str
    how: str
    version: str
    instructions: dict[str, int] | None = None
    correlation: float | None = None
    milliseconds: float | None = None
    reason: str = ""

    @property
    def column(self) -> Column:
        """(target, core, groups)"""
        return self.target, self.core, self.groups

    @property
    def total(self) -> int | None:
        return None if self.instructions is None else sum(self.instructions.values())

    @property
    def right(self) -> bool:
        """Whether the output follows the float model's."""
        return self.correlation is not None and self.correlation >= RIGHT_CORRELATION


@dataclass(frozen=True)
class BenchReport:
    """workload: what was run. method: how it was counted. environment: versions of this machine's tools.

    macs: multiply-accumulates of one inference by number of groups, None for ShuffleNetV2.
    """

    workload: str
    method: str
    macs: dict[int | None, int]
    environment: dict[str, str]
    rows: tuple[Row, ...]

    def to_json(self) -> str:
        """Deterministic text; `total_instructions` is added to every row for readers in other languages."""
        rows = [{**asdict(row), "total_instructions": row.total} for row in self.rows]
        macs = {_V2 if groups is None else str(groups): count for groups, count in self.macs.items()}
        head = {"schema": SCHEMA, "workload": self.workload, "method": self.method, "macs": macs}
        return json.dumps({**head, "environment": self.environment, "rows": rows}, indent=2, allow_nan=False) + "\n"

    def columns(self) -> list[Column]:
        """(target, core, groups) of every column of the tables, in the order in which they were measured."""
        return list(dict.fromkeys(row.column for row in self.rows))

    def tables(self) -> list[list[Column]]:
        """The columns of each table: those of ShuffleNetV1, then those of V2, where there are any."""
        columns = self.columns()
        first = [column for column in columns if column[2] is not None]
        return [part for part in (first, [column for column in columns if column[2] is None]) if part]

    def engines(self, columns: Sequence[Column]) -> list[tuple[str, str]]:
        """(engine, precision) of every line of a table: shufflec first, the others as they were measured."""
        pairs = dict.fromkeys((row.engine, row.precision) for row in self.rows if row.column in columns)
        return sorted(pairs, key=lambda pair: pair[0] != OWN_NAME)

    def find(self, engine: tuple[str, str], column: Column) -> Row | None:
        """The row in that cell."""
        for row in self.rows:
            if (row.engine, row.precision) == engine and row.column == column:
                return row
        return None

    def own(self, column: Column) -> Row | None:
        """shufflec's own row of a column."""
        return next((row for row in self.rows if row.engine == OWN_NAME and row.column == column), None)

    def _right_peers(self, column: Column) -> list[Row]:
        peers = [row for row in self.rows if row.column == column and row.engine != OWN_NAME]
        return [row for row in peers if row.total is not None and row.right]

    def best_peer(self, column: Column) -> Row | None:
        """The other engine with the fewest instructions and a right output in a column."""
        return min(self._right_peers(column), key=lambda row: row.total or 0, default=None)

    def fastest_peer(self, column: Column) -> Row | None:
        """The other engine with the least estimated time and a right output in a column."""
        timed = [row for row in self._right_peers(column) if row.milliseconds is not None]
        return min(timed, key=lambda row: row.milliseconds or 0.0, default=None)


def network_title(groups: int | None) -> str:
    """What a network is called in tables: "g=3", or "V2"."""
    return "V2" if groups is None else f"g={groups}"


def added(earlier: BenchReport, report: BenchReport) -> BenchReport:
    """`report` with the rows of an earlier one that it has not measured itself; each row keeps its place."""
    fresh = {(*row.column, row.engine, row.precision): row for row in report.rows}
    kept = [fresh.pop((*row.column, row.engine, row.precision), row) for row in earlier.rows]
    return replace(report, macs={**earlier.macs, **report.macs}, rows=(*kept, *fresh.values()))


def read_report(text: str) -> BenchReport:
    """The report that `to_json` wrote. Raises ValueError or KeyError for anything else."""
    data = json.loads(text)
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']}, expected {SCHEMA}")
    rows = tuple(Row(**{k: v for k, v in row.items() if k != "total_instructions"}) for row in data["rows"])
    macs = {None if groups == _V2 else int(groups): count for groups, count in data["macs"].items()}
    return BenchReport(data["workload"], data["method"], macs, data["environment"], rows)


def load_report(path: Path) -> BenchReport:
    """The report in a file. Raises InputFileError for a missing one, or for anything else."""
    text = read_limited(path, _LIMIT, "a report of `shufflec bench peers`")
    try:
        return read_report(text.decode("utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputFileError(path, "is no report of `shufflec bench peers`") from error


def correlation(output: Sequence[float] | np.ndarray, reference: np.ndarray) -> float | None:
    """Pearson's correlation to 5 decimals; None for an output of another size, not finite or constant."""
    output = np.asarray(output, np.float64).ravel()
    if output.size != reference.size or not np.isfinite(output).all() or np.ptp(output) == 0:
        return None
    return round(float(np.corrcoef(output, reference.ravel().astype(np.float64))[0, 1]), 5)
