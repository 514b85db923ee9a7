"""Target files as text: what `read_target` reads."""

from __future__ import annotations

import json

from shufflec.targets.caches import LEVELS, geometry
from shufflec.targets.target import Target


def target_toml(target: Target, comment: str = "") -> str:
    """The text of a target's file. Equal targets give equal texts. comment: lines to begin with, without '#'.

    The figures of [time] are said to be fitted at the target's own clock and caches.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += _table("", {"name": target.name, "title": target.title, "family": target.family})
    core = {"name": target.core, "isa": target.isa, "clock_hz": target.clock_hz, "cores": target.cores}
    lines += _table("core", core | {"peak_int8_macs_per_cycle": target.peak_macs_per_cycle})
    code = {"triple": target.triple, "mcpu": target.llvm_mcpu, "features": list(target.llvm_features)}
    lines += _table("code", {key: value for key, value in code.items() if value})
    for level in LEVELS:
        if level in target.caches:
            cache = target.caches[level]
            figures = {"size_bytes": cache.size_bytes, "ways": cache.ways, "line_bytes": cache.line_bytes}
            lines += _table(f"caches.{level}", figures | {"shared": cache.shared})
    lines += _table("memory", {"ram_bytes": target.ram_bytes})
    if target.qemu_cpu:
        lines += _table("emulator", {"qemu_cpu": target.qemu_cpu})
    if target.time is not None:
        lines += _table("time", _time(target))
    if target.cycles:
        lines += _table("cycles", dict(target.cycles))
    lines += _table("sources", dict(target.sources))
    return "\n".join(lines) + "\n"


def _time(target: Target) -> dict[str, object]:
    model = target.time
    figures: dict[str, object] = {
        "scale": model.scale,
        "store_miss_ns": model.store_miss_ns,
        "dram_line_ns": model.dram_line_ns,
        "uncertainty_percent": model.uncertainty_percent,
        "pair_percent": model.pair_percent,
        "layer_pair_percent": model.layer_pair_percent,
        "fitted_clock_hz": target.clock_hz,
        "fitted_caches": geometry(target.caches),
        "shared_line_ns": model.shared_line_ns,
    }
    return {key: value for key, value in figures.items() if value is not None}


def _table(name: str, values: dict[str, object]) -> list[str]:
    heading = ["", f"[{name}]"] if name else []
    return heading + [f"{_key(key)} = {_value(value)}" for key, value in values.items()]


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _value(key)


def _value(value: object) -> str:
    """TOML's strings, numbers, booleans and lists of these are JSON's, but for DEL, which JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
