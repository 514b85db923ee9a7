"""The profile that a bundle's report.json holds, for comparisons that shall not profile again."""

from __future__ import annotations

from dataclasses import replace

from shufflec.backends.bundle import REPORT_JSON, Bundle
from shufflec.errors import InputFileError
from shufflec.profiling.compare_run import letters, make_side
from shufflec.profiling.compare_side import Side
from shufflec.profiling.profile import Figure, Profile
from shufflec.reports.schema import Cost, Estimate, Layer, Report, read_report
from shufflec.timing.estimate import Estimate as RegionEstimate

_HINT = "profile it: shufflec profile"


def stored_sides(bundles: list[Bundle]) -> list[Side]:
    """Sides from the bundles' reports. Raises InputFileError for a report that is missing, holds no profile or is not
    of this bundle's code."""
    return [_side(letter, bundle) for letter, bundle in zip(letters(len(bundles)), bundles, strict=True)]


def _side(letter: str, bundle: Bundle) -> Side:
    path = bundle.path / REPORT_JSON
    report = read_report(path)
    if report.cost is None:
        raise InputFileError(path, "holds no profile", f"{_HINT} {bundle.path}")
    if not _of_this_code(report, bundle):
        raise InputFileError(path, "is not of this bundle's code", f"{_HINT} {bundle.path}")
    board = report.cost.board
    if (board.name, board.core) != (bundle.target.name, bundle.target.core):
        raise InputFileError(path, f"holds a profile of another board, {board.title}", f"{_HINT} {bundle.path}")
    bundle = bundle.with_target(replace(bundle.target, clock_hz=board.clock_hz))
    address = report.cost.device if report.cost.kind == "measured" else None
    return make_side(letter, bundle, (_profile(report, report.cost),), address)


def _of_this_code(report: Report, bundle: Bundle) -> bool:
    contents = bundle.manifest.contents
    mine = [(layer.name, layer.kind, tuple(layer.output_shape), layer.macs) for layer in bundle.layers]
    its = [(layer.name, layer.kind, tuple(layer.shape), layer.macs) for layer in report.layers]
    sizes = (contents.code_bytes, contents.weight_bytes, contents.target.name)
    return mine == its and sizes == (report.code_bytes, report.weight_bytes, report.target.name)


def _profile(report: Report, cost: Cost) -> Profile:
    kind = "measured" if cost.kind == "measured" else "simulated"
    inputs = report.verification.inputs if report.verification is not None else 0
    layers = tuple(_figure(layer) for layer in report.layers)
    return Profile(kind, cost.device, cost.threads, cost.repeats, inputs, _figure(cost), layers)


def _figure(item: Cost | Layer) -> Figure:
    return Figure(item.milliseconds or 0.0, item.instructions_by_class, _estimate(item.estimate))


def _estimate(parts: Estimate | None) -> RegionEstimate | None:
    if parts is None:
        return None
    times = (parts.compute_ms, parts.load_miss_ms, parts.store_miss_ms, parts.dram_ms)
    misses = (parts.l1_load_misses, parts.l1_store_misses, parts.dram_lines)
    return RegionEstimate(*(1e6 * milliseconds for milliseconds in times), *misses)
