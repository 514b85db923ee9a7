"""`shufflec run`: classes and scores of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stdout_console
from shufflec.errors import OptionError


def run_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `shufflec compile` wrote.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, ... files.")],
    rpc: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Run on the device at this RPC server. Default: no device."),
    ] = None,
    key: Annotated[str, typer.Option(help="Key of the RPC server, if it has one.")] = "",
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Run a Cortex-M bundle's firmware on the emulated board of its target."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that the device may take for one answer.")] = 120.0,
    top: Annotated[int, typer.Option(help="How many classes to show.")] = 5,
    json: JsonOption = False,
) -> None:
    """Classify images with a compiled bundle: the best classes and their scores.

    Without --rpc or --target the logits come from the NumPy integer reference, which the compiled code equals bit for
    bit; so no board is needed to see what a board will say.

    Examples:

        shufflec run rasp4-bundle cat.jpg dog.jpg

        shufflec run rasp4-bundle cat.jpg --rpc 192.168.1.20:9090 --top 3

        shufflec run m4-bundle cat.jpg --target cortex-m4
    """
    if top < 1:
        raise OptionError("--top", top, "expected at least 1")
    if rpc is not None and target is not None:
        raise OptionError("--target", target, "runs on an emulated board, --rpc on a real one", "give one of the two")

    from shufflec.backends.bundle import open_bundle
    from shufflec.data.images import load_image
    from shufflec.profiling.predict import open_predictor, top_classes

    opened = open_bundle(bundle)
    inputs = [opened.preprocessing.apply(load_image(image))[None] for image in images]
    with open_predictor(opened, rpc, key, timeout, target) as (predict, engine):
        answers = [top_classes(predict(x), top) for x in inputs]
    names = opened.class_names
    results = [
        {
            "image": str(image),
            "top": [{"class": names[index], "index": index, "score": score} for index, score in answer],
        }
        for image, answer in zip(images, answers, strict=True)
    ]
    if json:
        emit_json({"bundle": str(bundle), "engine": engine, "random_weights": opened.random_weights, "images": results})
    else:
        _show(results, engine, opened.random_weights)


def _show(results: list[dict], engine: str, random_weights: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console = stdout_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in (("image", "left"), ("class", "left"), ("score", "right")):
        table.add_column(name, justify=side)
    for result in results:
        for rank, answer in enumerate(result["top"]):
            style = "bold" if rank == 0 else ""
            image = result["image"] if rank == 0 else ""
            table.add_row(Text(image), Text(answer["class"], style), Text(f"{answer['score']:.2%}", style))
    console.print(table)
    console.print(f"Computed by: {engine}", markup=False)
    if random_weights:
        console.print("The network has random weights: its answers mean nothing.", style="yellow")
