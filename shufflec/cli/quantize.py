"""`shufflec quantize`: a checkpoint or float ONNX in, a QDQ ONNX out, with the accuracy before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar
from shufflec.cli.labelled_images import tell_unreadable
from shufflec.cli.quantize_view import QuantizeResult, check_met, show, to_json
from shufflec.errors import OptionError

if TYPE_CHECKING:
    from rich.progress import Progress

    from shufflec.quantize.controlled import Control

_CONTROL = "Accuracy control"


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
        typer.Option(
            help="Draw those images at random with this seed; it is the training's as well. "
            "Default: at equal distances over the split."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="ptq|qat|auto",
            help="Search a way that keeps the accuracy: ptq without training, qat with it, auto from cheap to dear. "
            "Default: one way, without a search.",
            rich_help_panel=_CONTROL,
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Points of top-1 that may be lost: the search stops at the first way that loses no more. "
            "Default: 0.5, with --method; by itself it means --method auto.",
            rich_help_panel=_CONTROL,
        ),
    ] = None,
    decide_on: Annotated[
        str,
        typer.Option(
            metavar="validation|test",
            help="What the search looks at: images held out of the train split, or the test split itself, "
            "which the reported accuracy is of as well.",
            rich_help_panel=_CONTROL,
        ),
    ] = "validation",
    epochs: Annotated[
        int, typer.Option(min=1, help="Of the training: passes over the images.", rich_help_panel=_CONTROL)
    ] = 10,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity",
            help="The error of every layer's output against float, in dB. With --method the worst three are named.",
            rich_help_panel=_CONTROL,
        ),
    ] = False,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="For an ONNX model that does not say: mean of a channel, 0 to 1."),
    ] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="Likewise: standard deviation.")] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="Likewise: the input's channels are blue, green, red.")] = False,
    json: JsonOption = False,
) -> None:
    """Quantize a network to int8, with training where it needs it.

    Weights get one scale an output channel, activations 8 bits by NNCF.
    Every path from the input to the logits is integer: no target keeps
    single layers at int16 or float, so no layer can be excluded. The result
    is an ONNX model with QuantizeLinear and DequantizeLinear nodes.

    With --method, ways are tried from cheap to dear: settings of quantization
    after training, then training with quantizers in place, which learns from
    the float network. When none of them loses as little as --max-drop, or
    the test split has lost more, the best is written and the exit code is 4.
    After Ctrl-C the same command goes on from the last whole epoch.

    Examples:

        shufflec quantize model.safetensors --data photos/ -o model.onnx

        shufflec quantize model.safetensors --data photos/ --method auto --max-drop 0.5 -o model.onnx

        shufflec quantize float.onnx --data set.npz --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25 -o int8.onnx
    """
    if output.suffix != ".onnx":
        raise OptionError("--output", output, "expected a name that ends in .onnx")

    from shufflec.files import write_atomic
    from shufflec.quantize.model_info import write_model_info

    overrides = _overrides(mean, std, bgr)
    control = _control(method, max_drop, decide_on, epochs, seed)
    with progress_bar() as bar:
        result = _quantized(model, output, data, samples, seed, overrides, control, sensitivity, bar)
    if result.loss is not None:
        write_model_info(result.prepared.model, {**result.prepared.info, "accuracy": result.loss.to_dict()})
    write_atomic(output, result.prepared.model.SerializeToString(deterministic=True))
    if json:
        emit_json(to_json(output, result))
    else:
        show(output, result, every_layer=sensitivity)
    check_met(output, result)


def _control(
    method: str | None, max_drop: float | None, decide_on: str, epochs: int, seed: int | None
) -> Control | None:
    """What the options say about a search; None without one."""
    if method is None and max_drop is None:
        return None
    from shufflec.quantize.controlled import Control
    from shufflec.quantize.qat.training import QatRecipe

    drop = 0.5 if max_drop is None else max_drop
    return Control(method or "auto", drop, decide_on, QatRecipe(epochs=epochs), seed or 0)


def _quantized(
    model: Path,
    output: Path,
    data: str | None,
    samples: int,
    seed: int | None,
    overrides: dict[str, object],
    control: Control | None,
    sensitivity: bool,
    bar: Progress,
) -> QuantizeResult:
    """Quantizes, then measures the accuracy on the test split and, where it is wanted, the error of each layer."""
    from shufflec.data.datasets import open_dataset
    from shufflec.quantize.accuracy import accuracy_loss
    from shufflec.quantize.controlled import layer_sensitivity, quantize_within
    from shufflec.quantize.prepare import prepare_model
    from shufflec.training.resume import state_path

    task = bar.add_task("quantize", total=None, note="")

    def watch(name: str, done: int, total: int | None, note: str = "") -> None:
        bar.update(task, description=name, completed=done, total=total, note=note)

    common = {"data": data, "samples": samples, "seed": seed, "overrides": overrides}
    controlled = None
    if control is not None:
        controlled = quantize_within(model, control, **common, state_file=state_path(output), watch=watch)
        prepared = controlled.prepared
    else:
        prepared = prepare_model(model, **common, progress=lambda done, total: watch("quantize", done, total))
    if sensitivity and prepared.float_model is None:
        problem = "the model was quantized already, so there is no float network to compare with"
        raise OptionError("--sensitivity", model, problem, "leave the option out")
    layers = []
    if sensitivity or controlled is not None:
        watch("layers", 0, None)
        layers = layer_sensitivity(prepared, *([controlled.found.chosen.settings] if controlled is not None else []))
    loss = None
    if prepared.float_model is not None and not prepared.info["random_weights"]:
        test = open_dataset(data or prepared.info["recipe"]["data"], "test")
        loss = accuracy_loss(
            prepared.float_model,
            prepared.model,
            test,
            prepared.preprocessing,
            lambda done, total: watch("evaluate", done, total),
        )
        tell_unreadable(test)
    return QuantizeResult(prepared, loss, controlled, layers)


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
