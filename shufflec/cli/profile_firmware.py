"""`shufflec profile` of firmware: instructions of one inference on QEMU's board, memory and an estimate of cycles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shufflec.cli.console import emit_json, progress_bar, stderr_console, stdout_console

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle
    from shufflec.profiling.firmware import FirmwareProfile
    from shufflec.profiling.firmware_serial import SerialProfile


def firmware_profile(bundle: Bundle, inputs: int, folder: Path, json: bool, detail: bool) -> None:
    """Profiles a Cortex-M bundle and writes its reports to a folder."""
    from shufflec.profiling.firmware import profile_firmware
    from shufflec.profiling.inputs import seeded_inputs

    notes = stderr_console()
    with progress_bar() as bar:
        task = bar.add_task("starting the board", total=None, note="")
        found = profile_firmware(
            bundle,
            seeded_inputs(bundle.preprocessing, inputs),
            lambda phase, done, total: bar.update(task, description=phase, completed=done, total=total),
            lambda words: notes.print(words, markup=False),
        )
    show_profile(bundle, found, folder, _facts(bundle, found), _lines(bundle, found), json, detail)


def show_profile(
    bundle: Bundle,
    found: FirmwareProfile | SerialProfile,
    folder: Path,
    facts: dict[str, object],
    lines: list[str],
    json: bool,
    detail: bool,
) -> None:
    """Writes the reports of a profiled firmware and prints them. facts, lines: what the report's schema has no place
    for, for --json and for people."""
    from shufflec.files import write_atomic
    from shufflec.reports.build import bundle_report, files_of
    from shufflec.reports.terminal import print_report

    report = bundle_report(bundle, found.profile, found.stack_bytes)
    written = [write_atomic(folder / name, text) for name, text in files_of(report).items()]
    if json:
        emit_json(
            {
                "bundle": str(bundle.path),
                "files": [str(file) for file in written],
                "firmware": facts,
                "report": report.to_dict(),
            }
        )
        return
    console = stdout_console()
    print_report(console, report, detail)
    for line in lines:
        console.print(line, markup=False)
    console.print(f"\nWrote {' and '.join(map(str, written))}", markup=False)


def _facts(bundle: Bundle, found: FirmwareProfile) -> dict[str, object]:
    """What the report's schema has no place for. Bytes; cycles are an estimate from instruction classes."""
    instructions, memory = found.profile.whole.instructions or {}, bundle.manifest.contents.memory
    return {
        "machine": bundle.target.machine,
        "vector_instructions": instructions.get("vector", 0),
        "estimated_cycles": round(found.cycles) if found.cycles is not None else None,
        "stack_bytes": memory.stack_bytes,
        "deepest_stack_bytes": found.stack_bytes,
        "arena_bytes": memory.arena_bytes,
        "ram_bytes": memory.arena_bytes + (memory.stack_bytes or 0),
    }


def _lines(bundle: Bundle, found: FirmwareProfile) -> list[str]:
    facts = _facts(bundle, found)
    lines = [
        f"RAM       arena {facts['arena_bytes']:,} + stack {facts['stack_bytes']:,} (worst case) = "
        f"{facts['ram_bytes']:,} bytes of {bundle.target.ram_bytes:,}; the deepest stack seen, with the test "
        f"program's own, was {facts['deepest_stack_bytes']:,}"
    ]
    if facts["vector_instructions"]:
        lines.append(f"vector    {facts['vector_instructions']:,} of the instructions are MVE: about two cycles each")
    if found.cycles is not None:
        milliseconds = 1e3 * found.cycles / bundle.target.clock_hz
        lines.append(
            f"cycles    about {found.cycles / 1e6:.2f}M, {milliseconds:.1f} ms at {bundle.target.clock_hz / 1e6:g} MHz,"
            " by instruction classes: an estimate, without memory wait states"
        )
    return lines
