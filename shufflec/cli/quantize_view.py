"""What `shufflec quantize` shows: notes, accuracy, what was tried, the layers; as text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shufflec.cli.console import stderr_console, stdout_console
from shufflec.errors import UnsupportedModelError

if TYPE_CHECKING:
    from rich.table import Table

    from shufflec.quantize.accuracy import AccuracyLoss
    from shufflec.quantize.controlled import ControlledModel
    from shufflec.quantize.prepare import PreparedModel
    from shufflec.quantize.sensitivity import LayerError

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class QuantizeResult:
    """loss: accuracy on the test split, None without one. controlled: the search, None without one."""

    prepared: PreparedModel
    loss: AccuracyLoss | None
    controlled: ControlledModel | None
    layers: list[LayerError]

    @property
    def trained(self) -> bool:
        """Whether the quantized network was trained."""
        return self.controlled is not None and self.controlled.found.chosen.trained

    @property
    def problem(self) -> str:
        """Why the accuracy is not what was asked for, in words; "" when it is, or when nothing was asked."""
        if self.controlled is None:
            return ""
        found = self.controlled.found
        if not found.met:
            best = f"{found.chosen.method}, the best, loses {_points(found.chosen.drop)}"
            return f"no way keeps top-1 within {found.max_drop:g} points: {best}"
        lost = self.loss.lost_points if self.loss is not None else 0.0
        if lost > found.max_drop + _TOLERANCE:
            return (
                f"{found.chosen.method} keeps top-1 within {found.max_drop:g} points on the deciding images, "
                f"but loses {_points(lost)} on the test split"
            )
        return ""


def check_met(output: Path, result: QuantizeResult) -> None:
    """Raises UnsupportedModelError when the model that was written lost more accuracy than allowed."""
    if result.problem:
        assert result.controlled is not None
        longer = "longer: --epochs" if result.trained else "it: --method qat"
        hint = f"allow more with --max-drop, or train {longer}"
        if result.controlled.found.met:
            hint = f"train {longer}; or let it decide: --decide-on test"
        raise UnsupportedModelError(f"{output}: {result.problem}", f"it was written all the same; {hint}")


def to_json(output: Path, result: QuantizeResult) -> dict[str, object]:
    """What --json prints."""
    from shufflec.quantize.sensitivity import worst_layers

    prepared = result.prepared
    content: dict[str, object] = {
        "output": str(output),
        "quantization": prepared.info.get("quantization", {}),
        "accuracy": result.loss.to_dict() if result.loss is not None else None,
        "random_weights": prepared.info["random_weights"],
        "cached": prepared.cached,
        "notes": list(prepared.notes),
    }
    if result.controlled is not None:
        found = result.controlled.found
        content["search"] = {
            "met": not result.problem,
            "problem": result.problem,
            "max_drop": found.max_drop,
            "decided_on": result.controlled.decided_on,
            "float_top1": found.float_top1,
            "chosen": found.chosen.method,
            "tried": [trial.to_dict() for trial in found.trials],
        }
    if result.layers:
        content["layers"] = [error.to_dict() for error in result.layers]
        content["worst_layers"] = [error.layer for error in worst_layers(result.layers)]
    return content


def show(output: Path, result: QuantizeResult, every_layer: bool) -> None:
    """Notes on stderr, tables on stdout. every_layer: of the layers' errors all rows, not the worst alone."""
    prepared, console = result.prepared, stdout_console()
    quantization = prepared.info.get("quantization", {})
    notes = stderr_console()
    for note in prepared.notes:
        notes.print(note, markup=False)
    if prepared.float_model is not None:
        console.print(f"Quantized with {quantization['images']} images of {quantization['data']}.", markup=False)
    else:
        console.print("The model was quantized already; its form was checked.")
    if result.controlled is not None:
        console.print(_tried(result.controlled))
    if result.layers:
        _show_layers(result.layers, every_layer, result.trained)
    if result.loss is not None:
        console.print(_accuracy(result.loss))
    console.print(f"Wrote {output}", markup=False)


def _accuracy(loss: AccuracyLoss) -> Table:
    from rich.table import Table

    table = Table(title=f"Accuracy on {loss.images} test images of {loss.data}", title_justify="left")
    for name, justify in (("", "left"), ("float", "right"), ("int8", "right"), ("change", "right")):
        table.add_column(name, justify=justify)
    rows = (("top-1", loss.float_top1, loss.int8_top1), ("top-5", loss.float_top5, loss.int8_top5))
    for name, before, after in rows:
        table.add_row(name, f"{before:.2%}", f"{after:.2%}", f"{100 * (after - before):+.2f} points")
    return table


def _tried(controlled: ControlledModel) -> Table:
    from rich.markup import escape
    from rich.table import Table

    found = controlled.found
    title = f"Tried, decided on {controlled.decided_on} (float: {found.float_top1:.2%})"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name, justify in (("method", "left"), ("top-1", "right"), ("drop", "right"), ("logits", "right")):
        table.add_column(name, justify=justify)
    table.add_column("seconds", justify="right")
    table.add_column("")
    for trial in found.trials:
        mark = "chosen" if trial is found.chosen else ""
        if trial.drop is None:
            table.add_row(trial.method, "", "", "", f"{trial.seconds:.1f}", escape(f"not possible: {trial.problem}"))
            continue
        decibels = "" if trial.logits_db is None else f"{trial.logits_db:.1f} dB"
        row = (f"{trial.top1:.2%}", _points(trial.drop), decibels, f"{trial.seconds:.1f}")
        table.add_row(trial.method, *row, mark, style="bold" if mark else None)
    return table


def _show_layers(layers: list[LayerError], every_layer: bool, trained: bool) -> None:
    from rich.table import Table

    from shufflec.quantize.sensitivity import worst_layers

    console = stdout_console()
    worst = worst_layers(layers)
    if every_layer:
        table = Table(title="Output of each layer against float (SQNR)", title_justify="left")
        for name in ("layer", "in the network", "by itself"):
            table.add_column(name, justify="left" if name == "layer" else "right")
        for error in layers:
            style = "bold" if error in worst else None
            table.add_row(error.layer, _decibels(error.sqnr_db), _decibels(error.alone_db), style=style)
        console.print(table)
    named = ", ".join(f"{error.layer} ({_decibels(error.alone_db)})" for error in worst)
    moved = " Training has moved what they carry away from float." if trained else ""
    console.print(f"Layers that lose most by themselves: {named}.{moved}", markup=False)


def _decibels(value: float | None) -> str:
    return "silent" if value is None else f"{value:.1f} dB"


def _points(value: float) -> str:
    return f"{value:.2f} points"
