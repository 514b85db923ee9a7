"""Boards that shufflec compiles for, loaded from targets/*.toml or a user's own TOML file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from shufflec.errors import InputFileError, OptionError
from shufflec.files import data_dir, read_limited
from shufflec.targets.caches import LEVELS, LINE_BYTES, MAX_BYTES, MAX_WAYS, Cache, geometry, impossible
from shufflec.targets.time_model import TimeModel

FAMILIES = ("linux", "host", "baremetal")
ISAS = ("portable", "neon", "dotprod", "dsp", "mve")
INSTRUCTION_CLASSES = ("load", "store", "branch", "widening_multiply", "dot", "simd", "scalar")
#: Of Cortex-M; "vector" are MVE and floating-point instructions.
M_INSTRUCTION_CLASSES = ("load", "store", "branch", "multiply", "vector", "scalar")
#: QEMU boards of Cortex-M cores: where code and constants lie, and the RAM: (origin, bytes) each.
MACHINES = {
    "mps2-an385": ((0x0, 4 << 20), (0x20000000, 4 << 20)),
    "mps2-an386": ((0x0, 4 << 20), (0x20000000, 4 << 20)),
    "mps2-an500": ((0x0, 4 << 20), (0x20000000, 4 << 20)),
    "mps2-an505": ((0x10000000, 4 << 20), (0x38000000, 4 << 20)),
    "mps3-an547": ((0x0, 512 << 10), (0x31000000, 2 << 20)),
}
_CLOCK_RANGE = (1_000_000, 10_000_000_000)
_CLOCK = re.compile(r"(\d{1,11}(?:\.\d{1,9})?) ?(|[kmg]?hz)", re.IGNORECASE)
_HERTZ = {"": 1, "hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}
_MAX_FILE = 64 * 1024
_OTHER_BOARD = "another board's: [time] was not fitted at this clock and these caches (fitted_clock_hz, fitted_caches)"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Target:
    """A board and its core. Every figure's source is in `sources`.

    isa: which kernels are used. triple, llvm_mcpu, llvm_features: what LLVM generates code for.
    clock_hz: of one core. cores: how many. caches: level name ("l1d", "l2", "l3") to Cache.
    peak_macs_per_cycle: int8 multiply-accumulates of one core. qemu_cpu: the emulated core, "" where there is
    none. cycles: simulated cycles per instruction of each class, for the clock of a virtual board without `time`.
    ram_bytes: memory for activations and stack; flash_bytes: of a bare-metal board, for code and constants, else 0.
    machine: QEMU's name of a bare-metal board with this core, "" where there is none.
    time: from which the virtual board estimates milliseconds; None for a board that nobody calibrated.
    """

    name: str
    title: str
    family: str
    core: str
    isa: str
    triple: str
    llvm_mcpu: str
    llvm_features: tuple[str, ...]
    clock_hz: int
    cores: int
    caches: dict[str, Cache]
    ram_bytes: int
    peak_macs_per_cycle: int
    qemu_cpu: str
    cycles: dict[str, float]
    time: TimeModel | None
    sources: dict[str, str]
    flash_bytes: int
    machine: str

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


def with_clock(target: Target, text: str) -> Target:
    """The target at another clock, given as 1.5GHz, 1500MHz or in Hz. Raises OptionError."""
    found = _CLOCK.fullmatch(text.strip())
    hertz = round(float(found[1]) * _HERTZ[(found[2] or "").lower()]) if found else 0
    if not _CLOCK_RANGE[0] <= hertz <= _CLOCK_RANGE[1]:
        raise OptionError("--clock", text, "expected 1MHz to 10GHz, as in 1.5GHz or 1500MHz")
    return replace(target, clock_hz=hertz)


def target_names() -> list[str]:
    """Names of the shipped targets, sorted."""
    return sorted(path.stem for path in data_dir("targets").glob("*.toml"))


def is_name(text: str) -> bool:
    """Whether a target can have this name."""
    return _NAME.fullmatch(text) is not None


def load_target(name: str) -> Target:
    """A shipped target by name, or a user's target by the path of its .toml file.

    Raises OptionError for an unknown name (listing the known ones) and InputFileError for a bad file.
    """
    if name.endswith(".toml"):
        return read_target(Path(name))
    if not is_name(name) or name not in target_names():
        known = ", ".join(target_names())
        raise OptionError("--target", name, f"unknown target; known targets: {known}", "or give a .toml file")
    return read_target(data_dir("targets") / f"{name}.toml")


def read_target(path: Path) -> Target:
    """Reads and validates one target file. Raises InputFileError that names the wrong key."""
    try:
        data = tomllib.loads(read_limited(path, _MAX_FILE, "a target file").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputFileError(path, f"is not valid TOML: {error}") from error
    reader = _Reader(path, data)
    target = Target(
        name=reader.text("name", pattern=_NAME),
        title=reader.text("title"),
        family=reader.choice("family", FAMILIES),
        core=reader.text("core.name"),
        isa=reader.choice("core.isa", ISAS),
        triple=reader.text("code.triple", empty=True),
        llvm_mcpu=reader.text("code.mcpu", empty=True),
        llvm_features=tuple(reader.texts("code.features")),
        clock_hz=reader.integer("core.clock_hz", *_CLOCK_RANGE),
        cores=reader.integer("core.cores", 1, 256),
        caches=reader.caches(),
        ram_bytes=reader.integer("memory.ram_bytes", 1024, 1 << 44),
        peak_macs_per_cycle=reader.integer("core.peak_int8_macs_per_cycle", 1, 4096),
        qemu_cpu=reader.text("emulator.qemu_cpu", empty=True),
        cycles=reader.cycles(),
        time=reader.time(),
        sources=reader.sources(),
        flash_bytes=reader.flash(),
        machine=reader.machine(),
    )
    reader.reject_unknown()
    return target


class _Reader:
    """Typed access to the parsed TOML with errors that name the key."""

    def __init__(self, path: Path, data: dict):
        self._path = path
        self._data = data
        self._used: set[str] = set()

    def _fail(self, key: str, message: str) -> InputFileError:
        return InputFileError(self._path, f"{key}: {message}")

    def _get(self, key: str, default: object = None):
        self._used.add(key)
        node: object = self._data
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                if default is not None:
                    return default
                raise self._fail(key, "is missing")
            node = node[part]
        return node

    def text(self, key: str, pattern: re.Pattern | None = None, empty: bool = False) -> str:
        value = self._get(key, "" if empty else None)
        if not isinstance(value, str) or (not value and not empty) or len(value) > 200:
            raise self._fail(key, "expected a short text")
        if pattern and not pattern.fullmatch(value):
            raise self._fail(key, f"expected lower-case letters, digits, '_' and '-', found {value!r}")
        return value

    def texts(self, key: str) -> list[str]:
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and len(v) < 64 for v in value):
            raise self._fail(key, "expected a list of short texts")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            raise self._fail(key, f"expected one of {', '.join(choices)}, found {value!r}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._fail(key, f"expected an integer from {low} to {high}, found {value!r}")
        return value

    def caches(self) -> dict[str, Cache]:
        levels = self._get("caches", {})
        if not isinstance(levels, dict):
            raise self._fail("caches", f"expected tables {', '.join(LEVELS)}")
        found = {}
        for level, table in levels.items():
            key = f"caches.{level}"
            if level not in LEVELS:
                raise self._fail(key, "expected l1d, l2 or l3")
            if not isinstance(table, dict) or set(table) - {field.name for field in fields(Cache)}:
                raise self._fail(key, f"expected a table of {', '.join(field.name for field in fields(Cache))}")
            found[level] = Cache(
                self.integer(f"{key}.size_bytes", 256, MAX_BYTES[level]),
                self.integer(f"{key}.ways", 1, MAX_WAYS),
                self.integer(f"{key}.line_bytes", *LINE_BYTES),
                self.flag(f"{key}.shared"),
            )
        if wrong := impossible(found):
            raise self._fail(f"caches.{wrong[0]}", wrong[1])
        return found

    def _baremetal(self) -> bool:
        return self._get("family", "") == "baremetal"

    def flash(self) -> int:
        """Flash of a bare-metal board, which has to say it; the triple has to be a Thumb one there, too."""
        if not self._baremetal():
            return 0
        if not self.text("code.triple").startswith("thumb"):
            raise self._fail("code.triple", "expected a bare-metal Thumb triple, such as thumbv7em-none-eabihf")
        if self.text("core.isa") not in ("portable", "dsp", "mve"):
            raise self._fail("core.isa", "expected portable, dsp or mve for a bare-metal target")
        return self.integer("memory.flash_bytes", 1024, 1 << 32)

    def machine(self) -> str:
        """QEMU's board: one whose memory map start-up code exists for, or none."""
        value = self.text("emulator.machine", empty=True)
        if value and (value not in MACHINES or not self._baremetal()):
            raise self._fail("emulator.machine", f"expected one of {', '.join(MACHINES)}, for a bare-metal target")
        return value

    def cycles(self) -> dict[str, float]:
        table = self._get("cycles", {})
        classes = M_INSTRUCTION_CLASSES if self._baremetal() else INSTRUCTION_CLASSES
        if table and (not isinstance(table, dict) or set(table) != set(classes)):
            raise self._fail("cycles", f"expected one number each for {', '.join(classes)}")
        for name, value in table.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1000:
                raise self._fail(f"cycles.{name}", f"expected a number from 0 to 1000, found {value!r}")
        return {name: float(value) for name, value in table.items()}

    def flag(self, key: str) -> bool:
        value = self._get(key, False)
        if not isinstance(value, bool):
            raise self._fail(key, f"expected true or false, found {value!r}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._fail(key, f"expected a number from {low:g} to {high:g}, found {value!r}")
        return float(value)

    def time(self) -> TimeModel | None:
        table = self._get("time", {})
        expected = [field.name for field in fields(TimeModel)] + ["fitted_caches"]
        if not isinstance(table, dict) or set(table) - set(expected):
            raise self._fail("time", f"expected a table of {', '.join(expected)}")
        if not table:
            return None
        caches = self.caches()
        if "l1d" not in caches or len({cache.line_bytes for cache in caches.values()}) != 1:
            raise self._fail("time", "needs caches.l1d, and the same line_bytes in every level")
        if caches["l1d"].shared:
            raise self._fail("caches.l1d.shared", "a first level that cores share cannot be estimated; expected false")
        if "time" not in self.sources():
            raise self._fail("sources.time", "is missing: where do the figures of [time] come from?")
        model = TimeModel(
            self.number("time.scale", 0.1, 10),
            self.number("time.store_miss_ns", 0, 1000),
            self.number("time.dram_line_ns", 0, 1000),
            self.number("time.uncertainty_percent", 1, 100),
            self.number("time.pair_percent", 1, 150) if "pair_percent" in table else None,
            self.number("time.layer_pair_percent", 1, 150) if "layer_pair_percent" in table else None,
            self.integer("time.fitted_clock_hz", *_CLOCK_RANGE) if "fitted_clock_hz" in table else 0,
            self.number("time.shared_line_ns", 0, 1000) if "shared_line_ns" in table else 0.0,
        )
        fitted_caches = self.text("time.fitted_caches", empty=True)
        clock_hz = self.integer("core.clock_hz", *_CLOCK_RANGE)
        if model.fitted_clock_hz == clock_hz and fitted_caches == geometry(caches):
            return model
        self._data["sources"]["range"] = _OTHER_BOARD
        return model.of_another_board(clock_hz)

    def sources(self) -> dict[str, str]:
        table = self._get("sources", {})
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            raise self._fail("sources", "expected texts")
        return table

    def reject_unknown(self) -> None:
        known = {key.split(".")[0] for key in self._used}
        for key in self._data:
            if key not in known:
                raise self._fail(key, f"unknown key; expected {', '.join(sorted(known))}")
