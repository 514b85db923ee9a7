"""`shufflec profile --serial`: firmware on a board of the user's, checked and measured over a serial line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shufflec.cli.console import progress_bar, stderr_console
from shufflec.cli.profile_firmware import show_profile

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle
    from shufflec.profiling.firmware_serial import SerialProfile


def serial_profile(
    bundle: Bundle,
    port: str,
    baud: int,
    timeout_s: float,
    inputs: int,
    repeats: int,
    folder: Path,
    json: bool,
    detail: bool,
) -> None:
    """Profiles a Cortex-M bundle on the board at a port and writes its reports to a folder."""
    from shufflec.devices.serial_port import SerialPort
    from shufflec.profiling.firmware_serial import profile_serial
    from shufflec.profiling.inputs import seeded_inputs

    notes = stderr_console()
    with SerialPort(port, baud) as line, progress_bar() as bar:
        task = bar.add_task("greeting the board", total=None, note="")
        found = profile_serial(
            bundle,
            line,
            seeded_inputs(bundle.preprocessing, inputs),
            repeats,
            timeout_s,
            lambda phase, done, total: bar.update(task, description=phase, completed=done, total=total),
            lambda words: notes.print(words, markup=False),
        )
    show_profile(bundle, found, folder, _facts(bundle, found, port), _lines(bundle, found, port), json, detail)


def _facts(bundle: Bundle, found: SerialProfile, port: str) -> dict[str, object]:
    """What the report's schema has no place for. Bytes; cycles are measured, None where the core counts none."""
    memory = bundle.manifest.contents.memory
    return {
        "port": port,
        "board": found.board,
        "inputs_equal": found.inputs,
        "measured_cycles": found.cycles,
        "layer_cycles": list(found.layer_cycles) if found.layer_cycles is not None else None,
        "clock_hz": found.clock_hz,
        "stack_bytes": memory.stack_bytes,
        "deepest_stack_bytes": found.stack_bytes,
        "arena_bytes": memory.arena_bytes,
        "ram_bytes": memory.arena_bytes + (memory.stack_bytes or 0),
    }


def _lines(bundle: Bundle, found: SerialProfile, port: str) -> list[str]:
    facts = _facts(bundle, found, port)
    equal = "1 input equals" if found.inputs == 1 else f"{found.inputs} inputs equal"
    lines = [
        f"board     {found.board} at {port}: {equal} the reference, bit for bit",
        f"RAM       arena {facts['arena_bytes']:,} + stack {facts['stack_bytes']:,} (worst case) = "
        f"{facts['ram_bytes']:,} bytes of {bundle.target.ram_bytes:,}; the deepest stack seen on the board was "
        f"{found.stack_bytes:,}",
    ]
    if found.cycles is None:
        lines.append("cycles    not measured, the board counts none: the instructions are those of the emulated board")
    else:
        milliseconds = 1e3 * found.cycles / found.clock_hz
        lines.append(
            f"cycles    {found.cycles:,} measured, {milliseconds:.3g} ms at {found.clock_hz / 1e6:g} MHz, "
            "by the core's counter"
        )
    return lines
