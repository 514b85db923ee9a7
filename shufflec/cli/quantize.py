"""`shufflec quantize`: a checkpoint or float ONNX in, a QDQ ONNX out, with the accuracy before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console
from shufflec.errors import OptionError

if TYPE_CHECKING:
    from shufflec.quantize.accuracy import AccuracyLoss
    from shufflec.quantize.prepare import PreparedModel


def quantize_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint or a float .onnx model.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.onnx", help="Where the QDQ model goes.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="digits|DIR|FILE.npz",
            help="Its train split sets the value ranges, its test split the accuracy. "
            "Default: the digits, for a checkpoint that was trained on them.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Images that the value ranges are taken from.")] = 300,
    seed: Annotated[
        int | None,
        typer.Option(help="Draw those images at random with this seed. Default: at equal distances over the split."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="For an ONNX model that does not say: mean of a channel, 0 to 1."),
    ] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="Likewise: standard deviation.")] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="Likewise: the input's channels are blue, green, red.")] = False,
    json: JsonOption = False,
) -> None:
    """Quantize a network to int8 after training.

    Weights get one scale an output channel, activations 8 bits by NNCF.
    Every path from the input to the logits is integer. The result is an
    ONNX model with QuantizeLinear and DequantizeLinear nodes.

    Examples:

        shufflec quantize model.safetensors --data photos/ -o model.onnx

        shufflec quantize float.onnx --data set.npz --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25 -o int8.onnx
    """
    if output.suffix != ".onnx":
        raise OptionError("--output", output, "expected a name that ends in .onnx")

    from shufflec.data.datasets import open_dataset
    from shufflec.files import write_atomic
    from shufflec.quantize.accuracy import accuracy_loss
    from shufflec.quantize.model_info import write_model_info
    from shufflec.quantize.prepare import prepare_model

    overrides = _overrides(mean, std, bgr)
    with progress_bar() as bar:
        task = bar.add_task("quantize", total=None, note="")
        prepared = prepare_model(
            model,
            data=data,
            samples=samples,
            seed=seed,
            overrides=overrides,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        loss = None
        if prepared.float_model is not None and not prepared.info["random_weights"]:
            test = open_dataset(data or prepared.info["recipe"]["data"], "test")
            task = bar.add_task("evaluate", total=None, note="")
            loss = accuracy_loss(
                prepared.float_model,
                prepared.model,
                test,
                prepared.preprocessing,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
            write_model_info(prepared.model, {**prepared.info, "accuracy": loss.to_dict()})
    write_atomic(output, prepared.model.SerializeToString(deterministic=True))
    _show(output, prepared, loss, json)


def _overrides(mean: str | None, std: str | None, bgr: bool) -> dict[str, object]:
    overrides: dict[str, object] = {}
    for name, text in (("mean", mean), ("std", std)):
        if text is not None:
            overrides[name] = _three_numbers(f"--{name}", text)
    if overrides:
        overrides["value_scale"] = 1.0
    if bgr:
        overrides["channel_order"] = "BGR"
    return overrides


def _three_numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(option, text, "expected three numbers, e.g. 0.485,0.456,0.406") from error
    if len(values) != 3:
        raise OptionError(option, text, "expected three numbers, e.g. 0.485,0.456,0.406")
    return values


def _show(output: Path, prepared: PreparedModel, loss: AccuracyLoss | None, json: bool) -> None:
    quantization = prepared.info.get("quantization", {})
    if json:
        result = {
            "output": str(output),
            "quantization": quantization,
            "accuracy": loss.to_dict() if loss is not None else None,
            "random_weights": prepared.info["random_weights"],
            "cached": prepared.cached,
            "notes": list(prepared.notes),
        }
        emit_json(result)
        return
    notes = stderr_console()
    for note in prepared.notes:
        notes.print(note, markup=False)
    console = stdout_console()
    if prepared.float_model is not None:
        console.print(f"Quantized with {quantization['images']} images of {quantization['data']}.", markup=False)
    else:
        console.print("The model was quantized already; its form was checked.")
    if loss is not None:
        from rich.table import Table

        table = Table(title=f"Accuracy on {loss.images} test images of {loss.data}", title_justify="left")
        for name, justify in (("", "left"), ("float", "right"), ("int8", "right"), ("change", "right")):
            table.add_column(name, justify=justify)
        for name, before, after in (
            ("top-1", loss.float_top1, loss.int8_top1),
            ("top-5", loss.float_top5, loss.int8_top5),
        ):
            table.add_row(name, f"{before:.2%}", f"{after:.2%}", f"{100 * (after - before):+.2f} points")
        console.print(table)
    console.print(f"Wrote {output}", markup=False)
