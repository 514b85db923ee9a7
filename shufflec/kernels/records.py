"""Tuned records: which tiling of which kernel family a workload gets on a target, as JSON lines.

A record is data: it names a family and a tiling, and `select` takes it only where that family has that tiling for that
workload. It holds for one version of the family and of the toolchain, since either may change what is fastest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

import tvm

from shufflec.errors import InputFileError
from shufflec.files import cache_dir, data_dir, read_limited, write_atomic
from shufflec.kernels.kernel import Workload
from shufflec.validate import ValidationError, build

Tiling = tuple[tuple[str, int], ...]

SUFFIX = ".jsonl"
_MAX_FILE = 16 << 20
_MAX_LINE = 4096
_MAX_RECORDS = 20_000

#: Parameters of a workload that are numbers in the code and do not change which tiling is fastest.
_VALUES = (
    "shift", "fraction", "clamp_min", "clamp_max", "zero_point", "out_zero_point", "scale", "multiplier", "bias",
)  # fmt: skip
#: Parameters of which only whether they are there (or how many) matters.
_PRESENCE = ("residual_multiplier", "uniform_multiplier", "accumulator_bias", "pre_shift", "full_range_weights")
#: Of these a neighbour's record will do where there is none of the workload's own.
_MINOR = ("uniform_multiplier", "accumulator_bias", "pre_shift", "full_range_weights")


def record_key(workload: Workload) -> str:
    """The text that a workload's record is found by: what its speed depends on, without the model's own numbers."""
    return _key(workload, ())


def shape_key(workload: Workload) -> str:
    """The same without what hardly matters: workloads that share it can share a record."""
    return _key(workload, _MINOR)


def _key(workload: Workload, without: tuple[str, ...]) -> str:
    params: dict[str, object] = {}
    for name, value in workload.params:
        if name in _VALUES or name in without:
            continue
        if name in _PRESENCE:
            if value:
                params[name] = True
        elif name == "multipliers":
            params["terms"] = len(value)
        elif name in ("value", "fill"):
            params["uniform"] = value is not None
        else:
            params[name] = value
    text = ",".join(f"{name}={_text(value)}" for name, value in params.items())
    return f"{workload.kind}/{workload.isa}/{text}"


def _text(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Toolchain:
    """What generated the code. tvm: version; llvm: major version of the LLVM inside TVM."""

    tvm: str
    llvm: str


@cache
def toolchain() -> Toolchain:
    """The installed one."""
    return Toolchain(metadata.version("apache-tvm"), str(tvm.get_global_func("target.llvm_version_major")()))


@dataclass(frozen=True)
class Record:
    """The best known tiling of a workload.

    workload: record_key. target: name. kernel: family and its version. tvm, llvm: the toolchain. kind: where the times
    are from. nanoseconds, default_nanoseconds: with this tiling, and with the family's default one.
    """

    workload: str
    target: str
    kernel: str
    tiling: dict[str, int]
    tvm: str
    llvm: str
    kind: Literal["estimated", "measured"]
    nanoseconds: int
    default_nanoseconds: int

    @property
    def choice(self) -> Tiling:
        """The tiling as families know it."""
        return tuple(self.tiling.items())

    def to_line(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(", ", ": ")) + "\n"


def parse_records(text: str, path: Path) -> tuple[list[Record], list[str]]:
    """(records, what is wrong with the other lines: one text each, with its line's number)."""
    records, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            if len(line) > _MAX_LINE:
                raise ValidationError(f"the line has {len(line)} characters, at most {_MAX_LINE} are allowed")
            records.append(build(Record, json.loads(line), ""))
        except ValidationError as error:
            problems.append(f"line {number}: {error}")
        except (ValueError, RecursionError):
            problems.append(f"line {number} is not JSON")
        if len(records) > _MAX_RECORDS:
            raise InputFileError(path, f"has more than {_MAX_RECORDS} records")
    return records, problems


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """The records of a file and its problems, as parse_records. Raises InputFileError when it is no text at all."""
    data = read_limited(path, _MAX_FILE, "tuning records")
    try:
        return parse_records(data.decode("utf-8"), path)
    except UnicodeDecodeError as error:
        raise InputFileError(path, "is not text", "expected tuning records, one JSON object a line") from error


def write_records(path: Path, records: Iterable[Record]) -> Path:
    """Writes the best record of each workload, sorted: the same records give the same bytes."""
    return write_atomic(path, "".join(record.to_line() for record in best_of(records)))


def best_of(records: Iterable[Record]) -> list[Record]:
    """One record for each workload, target, family and toolchain: the fastest; sorted by them."""
    found: dict[tuple, Record] = {}
    for record in records:
        key = (record.target, record.workload, record.kernel, record.tvm, record.llvm, record.kind)
        rank = (record.nanoseconds, record.to_line())
        if key not in found or rank < (found[key].nanoseconds, found[key].to_line()):
            found[key] = record
    return [found[key] for key in sorted(found)]


@dataclass
class Records:
    """The records that hold for one target with the installed toolchain, by workload.

    skipped: how many others there were, by the reason. problems: damaged lines, with their files.
    """

    by_key: dict[str, tuple[Record, str]] = field(default_factory=dict)
    by_shape: dict[str, tuple[Record, str]] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, records: Iterable[Record], source: str, target: str) -> None:
        """Adds what holds for a target; what is there already stays. source: name of the file."""
        ours = toolchain()
        for record in sorted(best_of(records), key=lambda record: record.kind != "measured"):
            if record.target != target:
                self._skip("for another target")
            elif (record.tvm, record.llvm) != (ours.tvm, ours.llvm):
                self._skip("of another toolchain")
            else:
                self.by_key.setdefault(f"{record.kernel} {record.workload}", (record, source))
                self.by_shape.setdefault(f"{record.kernel} {_without_minor(record.workload)}", (record, source))

    def _skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def find(self, workload: Workload, family: str) -> tuple[Record, str] | None:
        """The record of a workload for a family (of this version) and its file's name, its own or a neighbour's."""
        own = self.by_key.get(f"{family} {record_key(workload)}")
        return own or self.by_shape.get(f"{family} {shape_key(workload)}")


def _without_minor(key: str) -> str:
    head, _, params = key.rpartition("/")
    return f"{head}/" + ",".join(one for one in params.split(",") if one.partition("=")[0] not in _MINOR)


def user_records(target: str) -> Path:
    """The file of the user's own records for a target; it may not be there."""
    return cache_dir("schedules") / f"{target}{SUFFIX}"


def record_files(target: str) -> Mapping[str, Path]:
    """Files with records for a target by the name they are called, the ones that go first first."""
    files = {}
    own = user_records(target)
    if own.is_file():
        files[f"your own {target}{SUFFIX}"] = own
    for path in sorted(data_dir("schedules").joinpath(target).glob(f"*{SUFFIX}")):
        files[f"schedules/{target}/{path.name}"] = path
    return files


def load_records(target: str) -> Records:
    """The user's records and the shipped ones for a target; the user's go first.

    Raises InputFileError for a file that cannot be read as text; damaged lines are left out and listed.
    """
    found = Records()
    for name, path in record_files(target).items():
        records, problems = read_records(path)
        found.problems += [f"{name}: {problem}" for problem in problems]
        found.add(records, name, target)
    return found


def record_notes(records: Records) -> list[str]:
    """What a user should know of records that were left out, a sentence each."""
    notes = [f"{count} tuning records {reason} skipped" for reason, count in sorted(records.skipped.items())]
    if records.problems:
        more = f" and {len(records.problems) - 1} more" if len(records.problems) > 1 else ""
        notes.append(f"damaged tuning records skipped: {records.problems[0]}{more}")
    return notes
