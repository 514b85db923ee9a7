"""`shufflec inspect`: what a model file is, how sure that is and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stdout_console


def inspect_command(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint or an .onnx model, of any project.")],
    json: JsonOption = False,
) -> None:
    """Say what a model file is: network, variant, groups, width, classes, preprocessing; how sure that is, and why.

    Reads shufflec's own checkpoints (.safetensors), those of megvii's ShuffleNet-Series (.pth.tar) and of mindcv
    (.ckpt), and ONNX models, float or quantized. Only weights are read: nothing in a file is run.

    Examples:

        shufflec inspect shufflenet_v1_g3.pth.tar

        shufflec inspect model.onnx --json
    """
    from shufflec.quantize.identify import identify

    identity = identify(model)
    if json:
        emit_json(identity.to_dict())
        return
    from rich.table import Table

    counted = identity.to_dict()
    table = Table(title=str(model), title_justify="left", show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    rows = [
        ("file", identity.format),
        ("network", str(identity.architecture) if identity.architecture is not None else "unknown"),
        ("certainty", identity.certainty),
    ]
    if counted["macs"]:
        rows.append(("work", f"{counted['macs'] / 1e6:.1f} M multiply-accumulates, {counted['params']:,} parameters"))
    rows.append(("classes", f"{identity.classes:,}"))
    known = "" if identity.preprocessing_known else "  (assumed)"
    rows.append(("images", identity.preprocessing.in_words() + known))
    rows += [("because" if index == 0 else "", reason) for index, reason in enumerate(identity.reasons)]
    rows += [("assumed" if index == 0 else "", text) for index, text in enumerate(identity.assumptions)]
    for name, text in rows:
        table.add_row(name, text)
    console = stdout_console()
    console.print(table)
    what = "compile" if identity.architecture is not None or identity.kind == "qdq" else "quantize"
    data = "" if identity.preprocessing_known or identity.kind == "qdq" else " --data PHOTOS"
    console.print(f"\nNext: shufflec {what} {model}{data}", markup=False)
