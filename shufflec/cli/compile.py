"""`shufflec compile`: a trained network in, a bundle for one board out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stdout_console
from shufflec.cli.model_source import Stages, model_source, prepared_model, wishes_of
from shufflec.errors import DeviceError, OptionError, ToolMissingError

if TYPE_CHECKING:
    from shufflec.backends.baremetal.firmware import CompiledFirmware
    from shufflec.backends.bundle import Bundle
    from shufflec.backends.compile import CompiledModel
    from shufflec.backends.manifest import Schedules
    from shufflec.quantize.prepare import PreparedModel
    from shufflec.targets.target import Target

VERIFIED_INPUTS = 2
#: From which a firmware's int8 output takes its scale.
CALIBRATED_INPUTS = 6


def compile_command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A checkpoint (.safetensors, or megvii's or mindcv's .pth.tar or .ckpt: see `shufflec inspect`), "
            "a float .onnx or a QDQ .onnx model. "
            "Default: the checkpoint that comes with shufflec, 0.25x and trained on digits, for --groups.",
        ),
    ] = None,
    target: Annotated[str, typer.Option(metavar="NAME|FILE.toml", help="See `shufflec targets`.")] = "rasp4",
    groups: Annotated[int | None, typer.Option(help="Groups of the 1x1 convolutions: 1, 2, 3, 4 or 8.")] = None,
    scale: Annotated[float | None, typer.Option(help="Of the channel counts, 0.25 to 2.")] = None,
    variant: Annotated[
        str | None, typer.Option(metavar="NAME", help="paper, megvii, mindcv; V2: torchvision, megvii.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(metavar="v1|v2", help="ShuffleNetV1 (the default) or V2, for --random-weights.")
    ] = None,
    input_size: Annotated[str | None, typer.Option(metavar="N|HxW", help="Input pixels, 32 up.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="digits|DIR|FILE.npz", help="What a float model is quantized on and evaluated with."),
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="An untrained network, for work on latency; marked as such.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Default: shufflec-out/MODEL-TARGET."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write a project with the firmware of a Cortex-M target; see --format."),
    ] = None,
    export_format: Annotated[
        str, typer.Option("--format", metavar="cmake|arduino|zephyr", help="Kind of project that --export writes.")
    ] = "cmake",
    cc: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="C compiler for the target. Default: the packaged ziglang.")
    ] = None,
    fold_shuffle: Annotated[
        bool, typer.Option("--fold-shuffle/--no-fold-shuffle", help="Fold channel shuffles away, or keep the copies.")
    ] = True,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Run the code and compare it with the integer reference.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Compile a network to a bundle for one board: quantize, fold the shuffles away, generate and check the code.

    The code is run on a virtual board (for the host target, on this machine) and compared with the NumPy integer
    reference bit for bit; without an emulator it is compiled all the same, and the summary says so.

    Without MODEL and without --random-weights, the bundled checkpoint for --groups (8 if not given) is taken. With a
    checkpoint, --groups, --scale, --variant, --classes and --input-size are checked against it.

    Examples:

        shufflec compile --target rasp4 --groups 8

        shufflec compile photos.safetensors --target rasp5 --data photos/ -o photos-bundle

        shufflec compile --random-weights --groups 3 --scale 1 --input-size 224 --classes 1000

        shufflec compile --target nrf52840-dk --groups 8 --export firmware --format cmake
    """
    from shufflec.backends.bundle import check_place
    from shufflec.targets.target import load_target

    board = load_target(target)
    if output is not None:
        check_place(output)
    if export is not None:
        _check_export(board, export, export_format)
    wishes = wishes_of(groups, scale, variant, classes, input_size, family)
    stages = Stages()
    with progress_bar() as bar:
        stages.show(bar)
        stages("loading")
        name, source = model_source(model, wishes, random_weights, stages)
        bundle, compiled, checked = build_bundle(name, source, board, stages, data, output, cc, fold_shuffle, verify)
        if export is not None:
            from shufflec.backends.baremetal.export import export_firmware

            export_firmware(compiled, export, export_format)
            stages.say(f"Wrote {export}, a {export_format} project")
        stages.done()
    if json:
        emit_json(_result(bundle, checked, stages) | _memory(compiled))
    else:
        _print_summary(bundle, checked, stages, _memory(compiled))


def build_bundle(
    name: str,
    source: object,
    board: Target,
    stages: Stages,
    data: str | None = None,
    output: Path | None = None,
    cc: str | None = None,
    fold_shuffle: bool = True,
    verify: bool = True,
) -> tuple[Bundle, CompiledModel | CompiledFirmware, str]:
    """Quantizes, compiles, checks and writes a model that `model_source` gave: the bundle, its code, what was checked.

    The other arguments are the options of `shufflec compile`.
    """
    from shufflec.backends.bundle import write_bundle
    from shufflec.backends.compile import safe_name

    stages("quantizing")
    prepared = prepared_model(source, data, stages)
    compiled = compile_prepared(prepared, board, name, stages, fold_shuffle, cc)
    place = output or Path("shufflec-out") / safe_name(f"{name}-{board.name}")
    checked: list[str] = []

    def finish(bundle: Bundle) -> dict[str, str]:
        from shufflec.reports.build import report_files

        checked.append(_verified(bundle, board, stages) if verify else "not checked: --no-verify")
        stages("writing the bundle")
        return report_files(bundle)

    return write_bundle(place, compiled, finish), compiled, checked[0]


def compile_prepared(
    prepared: PreparedModel,
    board: Target,
    name: str,
    stages: Stages,
    fold_shuffle: bool = True,
    cc: str | None = None,
) -> CompiledModel | CompiledFirmware:
    """Compiles a quantized model for a board of either family."""
    from shufflec.backends.compile import compile_model
    from shufflec.kernels.records import load_records, record_notes

    if board.family == "baremetal":
        return _firmware(prepared, board, name, fold_shuffle, cc, stages)
    records = load_records(board.name)
    for note in record_notes(records):
        stages.say(note)
    return compile_model(prepared.model, board, name, fold_shuffle, cc, stages, records)


def _check_export(board: Target, folder: Path, style: str) -> None:
    """Raises OptionError or InputFileError before any work is done."""
    from shufflec.backends.baremetal.export import check_export

    if board.family != "baremetal":
        raise OptionError("--export", folder, f"{board.name} is no Cortex-M target", "see `shufflec targets`")
    check_export(folder, style)


def _firmware(
    prepared: PreparedModel, board: Target, name: str, fold_shuffle: bool, cc: str | None, stages: Stages
) -> CompiledFirmware:
    """The network compiled for a Cortex-M board."""
    from shufflec.backends.baremetal.firmware import compile_firmware
    from shufflec.profiling.inputs import seeded_inputs

    if cc is not None:
        raise OptionError("--cc", cc, f"{board.name} takes the packaged compiler", "leave the option out")
    inputs = seeded_inputs(prepared.preprocessing, CALIBRATED_INPUTS)
    return compile_firmware(prepared.model, board, name, inputs, fold_shuffle, stages)


def _verified(bundle: Bundle, target: Target, stages: Stages) -> str:
    """Runs the code on the target's device and compares it; says what was checked, or why it could not be.

    Raises WrongResultError that names the first layer whose output differs.
    """
    from shufflec.profiling.inputs import seeded_inputs
    from shufflec.profiling.open_device import open_device
    from shufflec.profiling.remote_network import RemoteNetwork
    from shufflec.profiling.verify import verify

    advance = partial(stages, "checking the code")
    advance(0, VERIFIED_INPUTS)
    if target.family != "host" and not target.qemu_cpu:
        return f"not checked: no emulated core is known for {target.name}"
    if target.family == "baremetal":
        return _verified_firmware(bundle, target, stages, advance)
    try:
        with open_device(target, say=stages.say) as session:
            inputs = seeded_inputs(bundle.preprocessing, VERIFIED_INPUTS)
            verify(RemoteNetwork(bundle, session), bundle.graph(), bundle.layers, inputs, advance, every_layer=True)
    except (ToolMissingError, DeviceError) as error:
        return f"not checked: {error.message}"
    device = "this machine" if target.family == "host" else f"a virtual {target.title}"
    return f"every layer equals the integer reference, bit for bit, for {VERIFIED_INPUTS} inputs on {device}"


def _verified_firmware(bundle: Bundle, target: Target, stages: Stages, advance: Callable[[int, int], None]) -> str:
    """The same for firmware, on QEMU's board of the core."""
    from shufflec.profiling.firmware import FirmwareNetwork
    from shufflec.profiling.inputs import seeded_inputs
    from shufflec.profiling.verify import verify

    inputs = seeded_inputs(bundle.preprocessing, VERIFIED_INPUTS)
    try:
        network = FirmwareNetwork(bundle, stages.say)
        verify(network, bundle.graph(), bundle.layers, inputs, advance, every_layer=True)
    except (ToolMissingError, DeviceError) as error:
        return f"not checked: {error.message}"
    machine = f"QEMU's {target.machine} ({target.core})"
    return f"every layer equals the integer reference, bit for bit, for {VERIFIED_INPUTS} inputs on {machine}"


def _result(bundle: Bundle, checked: str, stages: Stages) -> dict[str, object]:
    """What --json prints."""
    from dataclasses import asdict

    contents = bundle.manifest.contents
    return {
        "bundle": str(bundle.path),
        "name": contents.name,
        "target": contents.target.name,
        "random_weights": contents.random_weights,
        "macs": contents.macs,
        "layers": len(contents.layers),
        "shuffle": {key: getattr(contents.shuffle, key) for key in ("found", "folded", "copies_left")},
        "code_bytes": contents.code_bytes,
        "weight_bytes": contents.weight_bytes,
        "arena_bytes": contents.memory.arena_bytes,
        "schedules": asdict(contents.schedules),
        "accuracy": asdict(contents.accuracy) if contents.accuracy is not None else None,
        "check": checked,
        "seconds": {name: round(seconds, 3) for name, seconds in stages.seconds.items()},
    }


def _tuned(schedules: Schedules) -> str:
    """How many layers took their tiling from records, and from which files."""
    if not schedules.tuned:
        return f"no records: {schedules.tunable} layers with their default tiling; `shufflec tune` makes some"
    counted = [f"{file} ({count})" for file, count in schedules.files.items()]
    files = ", ".join(counted if len(counted) > 1 else schedules.files)
    return f"{schedules.tuned} of {schedules.tunable} layers tuned, from {files}"


def _memory(compiled: object) -> dict[str, int]:
    """Flash and RAM that firmware takes, in bytes; nothing for other targets."""
    firmware = getattr(compiled, "firmware", None)
    if firmware is None:
        return {}
    return {
        "flash_bytes": firmware.code.flash_bytes,
        "stack_bytes": firmware.code.stack_bytes,
        "ram_bytes": firmware.plan.peak_bytes + firmware.code.stack_bytes,
    }


def _print_summary(bundle: Bundle, checked: str, stages: Stages, memory: dict[str, int]) -> None:
    from rich.table import Table

    contents = bundle.manifest.contents
    what = str(bundle.architecture) if bundle.architecture is not None else contents.name
    table = Table(
        title=f"{contents.name} for {contents.target.title}", title_justify="left", show_header=False, box=None
    )
    table.add_column(style="bold")
    table.add_column()
    shuffle, accuracy = contents.shuffle, contents.accuracy
    rows = [
        ("model", what + ("  RANDOM WEIGHTS: its classes mean nothing" if contents.random_weights else "")),
        ("work", f"{contents.macs / 1e6:.1f} M multiply-accumulates in {len(contents.layers)} layers"),
        ("shuffles", f"{shuffle.found} found, {shuffle.folded} folded away, {shuffle.copies_left} copies left"),
        ("code", f"{contents.code_bytes:,} bytes"),
        ("weights", f"{contents.weight_bytes:,} bytes"),
        ("activations", f"{contents.memory.arena_bytes:,} bytes at most"),
    ]
    if memory:
        board = contents.target
        rows += [
            ("flash", f"{memory['flash_bytes']:,} of {board.flash_bytes:,} bytes: code and constants"),
            ("RAM", f"{memory['ram_bytes']:,} of {board.ram_bytes:,} bytes, {memory['stack_bytes']} of it stack"),
        ]
    else:
        rows.append(("schedules", _tuned(contents.schedules)))
    if accuracy is not None and accuracy.int8_top1 is not None and accuracy.float_top1 is not None:
        where = f"top-1 on {accuracy.images} held-out images of {accuracy.data}"
        rows.append(("accuracy", f"float {accuracy.float_top1:.2%}, int8 {accuracy.int8_top1:.2%}: {where}"))
    rows.append(("check", checked))
    rows.append(("time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in stages.seconds.items())))
    for row in rows:
        table.add_row(*row)
    console = stdout_console()
    console.print(table)
    console.print(f"\nWrote {bundle.path}", markup=False)
    console.print(f"Next: shufflec profile {bundle.path}", markup=False)
