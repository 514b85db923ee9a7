"""`shufflec profile`: what a bundle costs on a device, whole and layer by layer, after its outputs were checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console
from shufflec.errors import InputFileError, OptionError

if TYPE_CHECKING:
    from rich.console import Console


def profile_command(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="[BUNDLE]", help="A folder that `shufflec compile` wrote. Default: the newest one."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Without BUNDLE: the bundled model, compiled if the newest is for another."),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The device's RPC server. Default: a virtual board, started for this."),
    ] = None,
    key: Annotated[str, typer.Option(help="Key of the RPC server, if it has one.")] = "",
    serial: Annotated[
        str | None,
        typer.Option(metavar="PORT", help="Serial port of a Cortex-M board with the exported project's firmware."),
    ] = None,
    baud: Annotated[int, typer.Option(help="Rate of the serial port.")] = 115200,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads on the device. Default: 1, or as the server has it.")
    ] = None,
    clock: Annotated[
        str | None, typer.Option(metavar="1.5GHz", help="Clock of the virtual board. Default: the target's.")
    ] = None,
    inputs: Annotated[int, typer.Option(min=1, help="Inputs to check against the integer reference.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements on a real board; the median counts.")] = 15,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that the device may take for one answer.")] = 120.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where the reports go. Default: the bundle.")
    ] = None,
    detail: Annotated[
        bool, typer.Option("--detail", help="Also each layer's roofline, cache misses and what the core waited for.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Profile a bundle on a device, over RPC: time and instructions of the network and of every layer.

    The outputs are compared with the NumPy integer reference first, bit for bit; where they differ, the first wrong
    layer is named and nothing is measured. Prints a table, the best possible time on the board and the layers that cost
    most, with what the core waited for, and writes report.json and report.html. Times of a virtual board are
    estimated, with a range, and say so; a real board's are measured; a board without a time model has none.

    Examples:

        shufflec profile

        shufflec profile --target cortex-m4

        shufflec profile rasp4-bundle --detail --clock 1.5GHz

        shufflec profile rasp4-bundle --rpc 192.168.1.20:9090 --threads 4

        shufflec profile stm32h743zi-nucleo-bundle --serial /dev/ttyACM0
    """
    if clock is not None and rpc is not None:
        raise OptionError("--clock", clock, "the board at --rpc has its own clock", "leave one of the two out")
    if output is not None and output.exists() and not output.is_dir():
        raise OptionError("--output", output, "is a file, expected a folder")

    from shufflec.cli.light_tvm import import_tvm_without_torch

    import_tvm_without_torch()
    from shufflec.backends.bundle import open_bundle
    from shufflec.cli.profile_firmware import firmware_profile
    from shufflec.cli.profile_serial import serial_profile
    from shufflec.files import write_atomic
    from shufflec.profiling.inputs import seeded_inputs
    from shufflec.profiling.open_device import open_device
    from shufflec.profiling.profile import profile_bundle
    from shufflec.reports.build import bundle_report, report_files
    from shufflec.reports.terminal import print_report
    from shufflec.targets.target import with_clock

    notes = stderr_console()
    path = bundle or _newest(target, notes)
    opened = open_bundle(path)
    if target is not None and opened.target.name != target:
        raise OptionError("--target", target, f"{path} is for {opened.target.name}", "leave one of the two out")
    if clock is not None:
        opened = opened.with_target(with_clock(opened.target, clock))
    folder = output or path
    if opened.target.family == "baremetal":
        if rpc is not None:
            raise OptionError("--rpc", rpc, f"{opened.target.name} has no RPC server", "leave it out: QEMU runs it")
        if serial is not None:
            serial_profile(opened, serial, baud, timeout, inputs, repeats, folder, json, detail)
        else:
            firmware_profile(opened, inputs, folder, json, detail)
        return
    if serial is not None:
        raise OptionError("--serial", serial, f"{opened.target.name} is no Cortex-M board", "give --rpc for this one")
    say = lambda words: notes.print(words, markup=False)  # noqa: E731
    with open_device(opened.target, rpc, key, threads, timeout, say) as session, progress_bar() as bar:
        task = bar.add_task("connecting", total=None, note="")
        profile = profile_bundle(
            opened,
            session,
            seeded_inputs(opened.preprocessing, inputs),
            repeats,
            lambda phase, done, total: bar.update(task, description=phase, completed=done, total=total),
        )
    report = bundle_report(opened, profile)
    written = [write_atomic(folder / name, text) for name, text in report_files(opened, profile).items()]
    if json:
        emit_json({"bundle": str(path), "files": [str(file) for file in written], "report": report.to_dict()})
        return
    console = stdout_console()
    print_report(console, report, detail)
    console.print(f"\nWrote {' and '.join(map(str, written))}", markup=False)


def _newest(target: str | None, notes: Console) -> Path:
    """The newest bundle; with a target, one of the bundled model that is compiled now unless the newest is for it."""
    from shufflec.backends.bundle import latest_bundle, open_bundle
    from shufflec.cli.compile import build_bundle
    from shufflec.cli.model_source import Stages, model_source
    from shufflec.targets.target import load_target

    if target is not None:
        board = load_target(target)
        try:
            path = latest_bundle()
            fits = open_bundle(path).target.name == board.name
        except InputFileError:
            fits = False
        if not fits:
            stages = Stages()
            with progress_bar() as bar:
                stages.show(bar)
                name, source = model_source(None, {}, False, stages)
                bundle, _, checked = build_bundle(name, source, board, stages)
            notes.print(f"Compiled {bundle.path}: {checked}", markup=False)
            return bundle.path
    path = latest_bundle()
    notes.print(f"Profiling the newest bundle, {path}", markup=False)
    return path
