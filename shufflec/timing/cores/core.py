"""A core as its data file describes it: ports, width, queues, and what each group of instructions costs."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from shufflec.errors import OptionError, ShufflecError
from shufflec.timing.cores.decode import Instruction
from shufflec.timing.cores.instructions import DATA, groups

KINDS = ("in-order", "out-of-order")
MAX_PORTS, MAX_CHOICES = 16, 4


@dataclass(frozen=True)
class Cost:
    """What a group of instructions costs on one core, in cycles unless said.

    choices: sets of ports (bit masks); one set is taken, all of its ports. operations: places in the decoders.
    occupancy: how long the ports are held. latency: to the first result. stagger: from one loaded register to the next.
    accumulate: to an accumulator of the same group (0: as `latency`). each: operations and occupancy count for every
    register moved. early: cycles before issue at which the operands must be there (addresses: see Core).
    reserved: ports taken once more `reserved_after` cycles after issue.
    """

    choices: tuple[int, ...]
    operations: int = 1
    occupancy: int = 1
    latency: int = 1
    stagger: int = 0
    accumulate: int = 0
    each: bool = False
    early: int = 0
    reserved: int = 0
    reserved_after: int = 0


@dataclass(frozen=True)
class Core:
    """A core.

    kind: see KINDS. width: places in the decoders a cycle. queue: entries before a port, window: operations in flight
    (both 0 in order). address_early: cycles before issue at which an address must be there. update_latency: cycles to a
    base register that an address updates. refill_cycles: what an L1 load miss costs beside the block's cycles. overlap:
    share of the shorter of core and memory time that the longer hides. prefetch_streams: how many streams of loads the
    prefetcher follows (0: as many as there are); in a block with more, a line from DRAM takes stream_line_ns longer.
    write_lines: what a dirty line that leaves the last cache costs, in lines filled from DRAM; shared_write_lines: the
    same where several threads share the memory. sources: of the figures.
    """

    name: str
    kind: str
    width: int
    queue: int
    window: int
    address_early: int
    update_latency: int
    refill_cycles: int
    overlap: float
    prefetch_streams: int
    stream_line_ns: float
    write_lines: float
    shared_write_lines: float
    ports: tuple[str, ...]
    costs: dict[str, Cost]
    sources: dict[str, str]

    def cost(self, instruction: Instruction) -> Cost | None:
        """None for an instruction that the table does not know or the core does not have."""
        if instruction.group is None:
            return None
        name = instruction.group.name
        wide = self.costs.get(f"{name}.q") if instruction.wide else None
        return wide or self.costs.get(name)


def core_names() -> list[str]:
    """The cores that have a model."""
    return sorted(path.stem for path in DATA.glob("cortex-*.toml"))


@cache
def load_core(name: str) -> Core:
    """Raises OptionError for a core without a model."""
    if name not in core_names():
        raise OptionError("core", name, f"no model of this core; known: {', '.join(core_names())}")
    return read_core(DATA / f"{name}.toml")


def read_core(path: Path) -> Core:
    """Raises ShufflecError when a group has no cost, or a cost names an unknown port, group or key."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    ports = tuple(table["ports"])
    if not 0 < len(ports) <= MAX_PORTS or table["kind"] not in KINDS:
        raise ShufflecError(f"{path.name}: a core has 1 to {MAX_PORTS} ports and its kind is one of {', '.join(KINDS)}")
    costs = {name: _cost(path, name, entry, ports) for name, entry in table["costs"].items()}
    known = {group.name for group in groups()}
    if missing := known - costs.keys() - set(table.get("absent", "").split()):
        raise ShufflecError(f"{path.name}: neither a cost for {', '.join(sorted(missing))} nor said to be absent")
    if unknown := {name.removesuffix(".q") for name in costs} - known:
        raise ShufflecError(f"{path.name}: instructions.toml has no group {', '.join(sorted(unknown))}")
    sizes = (table["width"], table.get("queue", 0), table.get("window", 0))
    pipeline = (table.get("address_early", 0), table["update_latency"])
    streams = (table.get("prefetch_streams", 0), table.get("stream_line_ns", 0.0))
    memory = (table["refill_cycles"], table["overlap"], *streams, table["write_lines"], table["shared_write_lines"])
    return Core(table["name"], table["kind"], *sizes, *pipeline, *memory, ports, costs, table["sources"])


def _cost(path: Path, name: str, entry: dict[str, object], ports: tuple[str, ...]) -> Cost:
    place = f"{path.name}, costs.{name}"
    values = dict(entry)
    text = str(values.pop("ports"))
    choices = tuple(_mask(place, choice, ports) for choice in text.split("|")) if text else ()
    if len(choices) > MAX_CHOICES:
        raise ShufflecError(f"{place}: at most {MAX_CHOICES} choices of ports")
    if "reserved" in values:
        values["reserved"] = _mask(place, str(values["reserved"]), ports)
    if unknown := values.keys() - {field.name for field in fields(Cost)}:
        raise ShufflecError(f"{place}: unknown key {', '.join(sorted(unknown))}")
    return Cost(choices, **values)


def _mask(place: str, text: str, ports: tuple[str, ...]) -> int:
    mask = 0
    for port in text.split("+"):
        if port not in ports:
            raise ShufflecError(f"{place}: no port {port}; the core has {', '.join(ports)}")
        mask |= 1 << ports.index(port)
    return mask
