"""report.json: what is known about one compiled model and, once profiled, about its cost on one device.

The dataclasses below are the schema; each field is annotated with its type and its meaning. reports/SCHEMA.md is
generated from them (schema_doc.py); the terminal table and report.html are rendered from a `Report` and from
nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from shufflec.errors import InputFileError
from shufflec.files import read_limited
from shufflec.validate import SIGNED, ValidationError, build

SCHEMA_VERSION = 4
MAX_REPORT_BYTES = 32 << 20

CostKind = Literal["measured", "estimated", "counted"]
Bound = Literal["compute", "L2", "DRAM"]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a model on a labelled data set, as fractions between 0 and 1."""

    float_top1: Annotated[float | None, "top-1 of the float model"]
    float_top5: Annotated[float | None, "top-5 of the float model"]
    int8_top1: Annotated[float | None, "top-1 of the integer model"]
    int8_top5: Annotated[float | None, "top-5 of the integer model"]
    dataset: Annotated[str | None, "the data that both were evaluated on"]


@dataclass(frozen=True)
class ShuffleSite:
    """One channel shuffle that was folded into the write of a convolution."""

    layer: Annotated[str, "the convolution whose write does the shuffle"]
    rows: Annotated[int, "rows of the (rows, channels/rows) matrix that the shuffle transposes"]
    shape: Annotated[tuple[int, int, int], "height, width, channels of the shuffled tensor (int8)"]


@dataclass(frozen=True)
class Shuffle:
    """Channel shuffles of the imported network and what became of them."""

    found: Annotated[int, "channel shuffles in the imported network"]
    folded: Annotated[int, "of those, folded into the write of a convolution: they cost nothing"]
    copies_left: Annotated[int, "of those, still copies of a tensor"]
    sites: Annotated[tuple[ShuffleSite, ...], "the folded ones, in execution order"]

    @property
    def copied_bytes(self) -> int:
        """Bytes that the folded shuffles would write (and read as often) as copies."""
        return sum(site.shape[0] * site.shape[1] * site.shape[2] for site in self.sites)


@dataclass(frozen=True)
class TargetInfo:
    """The board that the code was generated for."""

    name: Annotated[str, "name of the target, as in targets/NAME.toml"]
    title: Annotated[str, "the board in words"]
    core: Annotated[str, "the core, as in cortex-a72"]
    isa: Annotated[str, "instruction set that the kernels use: neon, dotprod or portable"]
    clock_hz: Annotated[int, "clock of the core, in Hz"]


@dataclass(frozen=True)
class ArenaTensor:
    """One tensor in the activation arena, from the layer that writes it to the last one that reads it."""

    name: Annotated[str, "name of the tensor"]
    offset: Annotated[int, "first byte in the arena"]
    bytes: Annotated[int, "size in bytes, with alignment and padding"]
    first: Annotated[int, "index in `layers` of the layer that writes it"]
    last: Annotated[int, "index in `layers` of the last layer that reads it"]


@dataclass(frozen=True)
class Waits:
    """The core's part of an estimated time (compute_ms, which they add up to) by what the core waited for."""

    dispatch_ms: Annotated[float, "nothing: its decoders handed on as many instructions as they can in a cycle"]
    latency_ms: Annotated[float, "a result that was not there yet"]
    simd_port_ms: Annotated[float, "a port that computes on SIMD registers, in use or with a full queue before it"]
    load_port_ms: Annotated[float, "a port that loads"]
    store_port_ms: Annotated[float, "a port that stores"]
    load_store_port_ms: Annotated[float, "a port that does both, on cores that have no separate ones"]
    integer_port_ms: Annotated[float, "a port that computes on integers"]
    branch_port_ms: Annotated[float, "a port that branches"]


@dataclass(frozen=True)
class Estimate:
    """What an estimated time adds up from, and the events that it rests on."""

    compute_ms: Annotated[float, "the core model's cycles of the code that ran"]
    load_miss_ms: Annotated[float, "loads that miss the first data cache"]
    store_miss_ms: Annotated[float, "stores that miss the first data cache"]
    dram_ms: Annotated[float, "lines that move between the last cache and DRAM"]
    l1_load_misses: Annotated[int, "loads that miss the first data cache"]
    l1_store_misses: Annotated[int, "stores that miss the first data cache"]
    dram_lines: Annotated[int, "cache lines filled from DRAM or written to it"]
    waits: Annotated[Waits, "compute_ms by what the core waited for"]


@dataclass(frozen=True)
class Ceiling:
    """One of the board's limits."""

    per_second: Annotated[float, "multiply-accumulates, or bytes"]
    source: Annotated[str, "where the figure comes from, in words"]


@dataclass(frozen=True)
class Roofline:
    """The board's ceilings, and the best possible time for this network under them.

    The bandwidths are the time model's, fitted to whole networks: they are not those of the memory chips.
    """

    compute: Annotated[Ceiling, "int8 multiply-accumulates a second, of all threads"]
    l2: Annotated[Ceiling | None, "bytes between the first data cache and the next; null where the model has no limit"]
    dram: Annotated[Ceiling | None, "bytes between the last cache and DRAM; null where the model has no limit"]
    line_bytes: Annotated[int, "size of a cache line"]
    floor_ms: Annotated[float, "best possible time: the layers' floors added up"]
    compute_ms: Annotated[float, "all multiplies at the compute ceiling"]
    dram_ms: Annotated[float, "dram_bytes at the DRAM ceiling"]
    dram_bytes: Annotated[int, "bytes that every inference must fetch: weights and input that no cache can keep"]
    times_floor: Annotated[float | None, "milliseconds / floor_ms; null for a floor of zero"]


@dataclass(frozen=True)
class LayerRoofline:
    """A layer under the board's ceilings."""

    floor_ms: Annotated[float, "best possible time: the larger of its multiplies and of the bytes that it must fetch"]
    bound: Annotated[
        Bound | None,
        "the nearest ceiling; null for a layer without multiplies or misses, and on a real board, which counts none",
    ]
    bound_share: Annotated[float | None, "time that the bound alone would take / milliseconds"]
    l2_intensity: Annotated[float | None, "MACs a byte moved into the first data cache; null where none was"]
    dram_intensity: Annotated[float | None, "MACs a byte moved between the last cache and DRAM; null where none was"]


@dataclass(frozen=True)
class Costly:
    """One of the layers that cost most, and why."""

    layer: Annotated[int, "its index in `layers`"]
    waits: Annotated[
        dict[str, float],
        "its time by what the core waited for, as shares that add up to 1, the largest first: the names of Waits, "
        "load_misses, store_misses and dram; empty for a measured time",
    ]


@dataclass(frozen=True)
class Cost:
    """Cost of one inference of the whole network."""

    kind: Annotated[
        CostKind,
        "measured: a clock on real hardware; estimated: by models of the board's core and caches; "
        "counted: instructions only, as there is no time model of the board",
    ]
    device: Annotated[str, "the device that ran it"]
    board: Annotated[TargetInfo, "the board whose time this is: the target, unless a virtual board says it is another"]
    method: Annotated[str, "how the milliseconds were obtained, in words"]
    threads: Annotated[int, "threads of the device's pool"]
    repeats: Annotated[int, "how often the network and each layer ran; milliseconds are the median"]
    milliseconds: Annotated[float | None, "time of one inference; null where only instructions are counted"]
    cycles_per_mac: Annotated[float | None, "milliseconds x the core's clock / MACs; null where one of them is unknown"]
    uncertainty_percent: Annotated[float | None, "of an estimated time, plus or minus; null for other kinds"]
    estimate: Annotated[Estimate | None, "parts of an estimated time; null for other kinds"]
    instructions: Annotated[int | None, "instructions of one inference; null on a device that does not count them"]
    instructions_by_class: Annotated[dict[str, int] | None, "the same by class of instruction"]
    layer_sum_difference: Annotated[
        float, "(sum over layers - whole) / whole, in instructions where only they are counted, else in ms", SIGNED
    ]
    costliest: Annotated[tuple[Costly, ...], "the three layers that cost most, the costliest first"]


@dataclass(frozen=True)
class Layer:
    """One layer of the network, in execution order."""

    name: Annotated[str, "name of the layer, from the model"]
    kind: Annotated[str, "operator kind of the integer graph: conv2d, depthwise_conv2d, dense, ..."]
    shape: Annotated[tuple[int, ...], "shape of its output: height, width, channels"]
    macs: Annotated[int, "multiply-accumulates"]
    milliseconds: Annotated[float | None, "time of the layer; null before profiling and where it is only counted"]
    estimate: Annotated[Estimate | None, "parts of an estimated time; null for other kinds"]
    instructions: Annotated[int | None, "instructions of the layer; null if not counted"]
    instructions_by_class: Annotated[dict[str, int] | None, "the same by class; null if not counted"]
    share: Annotated[float | None, "share of the sum over layers, between 0 and 1; null before profiling"]
    cycles_per_mac: Annotated[float | None, "milliseconds x the core's clock / MACs; null where one of them is unknown"]
    macs_per_second: Annotated[float | None, "MACs / time; null without a time"]
    roofline: Annotated[LayerRoofline | None, "the layer under the board's ceilings; null without a time model"]


@dataclass(frozen=True)
class Verification:
    """The comparison of the device's outputs with the NumPy integer reference."""

    against: Annotated[str, "what the outputs were compared with"]
    compared: Annotated[str, "what was compared, and how closely"]
    inputs: Annotated[int, "number of inputs"]
    source: Annotated[str, "where the inputs came from"]
    equal: Annotated[bool, "true when every compared value was equal"]


@dataclass(frozen=True)
class Report:
    """The whole report. Optional fields are null when unknown: an ONNX file from elsewhere has no variant."""

    schema: Annotated[int, "version of this schema"]
    model: Annotated[str, "name of the model"]
    variant: Annotated[str | None, "paper, megvii or mindcv"]
    groups: Annotated[int | None, "groups of the 1x1 convolutions"]
    scale: Annotated[float | None, "channel multiplier"]
    input: Annotated[tuple[int, int], "height and width of the input image, in pixels"]
    classes: Annotated[int, "number of classes"]
    random_weights: Annotated[bool, "true for an untrained model: its outputs mean nothing"]
    macs: Annotated[int, "multiply-accumulates of one inference"]
    parameters: Annotated[int | None, "parameters of the float model, batch normalisation's scale and shift included"]
    accuracy: Annotated[Accuracy, "accuracy before and after quantization; null if unknown"]
    shuffle: Annotated[Shuffle, "channel shuffles"]
    target: Annotated[TargetInfo, "the board"]
    code_bytes: Annotated[int, "bytes of machine code"]
    weight_bytes: Annotated[int, "bytes of packed constants"]
    peak_activation_bytes: Annotated[int, "size in bytes of the one arena that holds every activation"]
    lower_bound_bytes: Annotated[int, "most activation bytes that are alive at one moment: no plan can be smaller"]
    stack_bytes: Annotated[
        int | None, "stack of one inference of firmware: the worst case, computed from its code; null with an OS"
    ]
    deepest_stack_bytes: Annotated[
        int | None, "the deepest that the firmware's stack was while profiling, its test program's part included"
    ]
    cost: Annotated[Cost | None, "cost of one inference; null before profiling"]
    roofline: Annotated[Roofline | None, "the board's ceilings and the best possible time; null without a time model"]
    layers: Annotated[tuple[Layer, ...], "the layers, in execution order"]
    memory: Annotated[tuple[ArenaTensor, ...], "the arena's plan: where each tensor lies, and when"]
    verification: Annotated[Verification | None, "check of the outputs; null before profiling"]
    environment: Annotated[dict[str, str], "versions of the tools that made the bundle and the report"]

    def to_dict(self) -> dict[str, object]:
        """The report as plain JSON types."""
        return asdict(self)

    def to_json(self) -> str:
        """The report as JSON text, UTF-8, keys in the schema's order, equal reports give equal text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Report:
        """Parses and validates a report.

        Raises ValidationError (a ValueError) that names the first wrong place.
        """
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except ValidationError:
            raise
        except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
            raise ValidationError(f"not JSON: {error}") from error
        if isinstance(value, dict) and value.get("schema") != SCHEMA_VERSION:
            raise ValidationError(f"schema is {str(value.get('schema'))[:20]}, expected {SCHEMA_VERSION}")
        report = build(Report, value)
        _check(report)
        return report


def _no_constant(name: str) -> None:  # json calls it for NaN, Infinity and -Infinity
    raise ValidationError(f"{name} is not a number that JSON knows")


_WAIT_NAMES = {each.name.removesuffix("_ms") for each in fields(Waits)} | {"load_misses", "store_misses", "dram"}


def _check(report: Report) -> None:
    """Consistency that types alone do not give."""
    for i, tensor in enumerate(report.memory):
        if not tensor.first <= tensor.last < max(len(report.layers), 1):
            raise ValidationError(f"memory[{i}] lives from layer {tensor.first} to {tensor.last}: no such layers")
        if tensor.offset + tensor.bytes > report.peak_activation_bytes:
            raise ValidationError(f"memory[{i}] ends behind the arena's {report.peak_activation_bytes}")
    for i, layer in enumerate(report.layers):
        if layer.share is not None and layer.share > 1:
            raise ValidationError(f"layers[{i}].share is {layer.share}, expected at most 1")
    for i, costly in enumerate(report.cost.costliest if report.cost else ()):
        if costly.layer >= len(report.layers):
            raise ValidationError(f"cost.costliest[{i}].layer is {costly.layer}: no such layer")
        for name in costly.waits.keys() - _WAIT_NAMES:
            raise ValidationError(f"cost.costliest[{i}].waits has {name[:40]}, which the core does not wait for")


def read_report(path: str | Path) -> Report:
    """Reads a report.json.

    Raises InputFileError when the file is missing, too large, not UTF-8, not JSON or not of this schema.
    """
    data = read_limited(path, MAX_REPORT_BYTES, "a report.json")
    try:
        return Report.from_json(data.decode("utf-8"))
    except ValueError as error:
        raise InputFileError(path, f"not a report: {error}", "make it anew with: shufflec profile") from error
