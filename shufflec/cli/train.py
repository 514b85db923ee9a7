"""`shufflec train`: a ShuffleNet checkpoint from labelled images."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, stderr_console
from shufflec.cli.train_view import show_training, training_progress, training_result
from shufflec.errors import OptionError, ShufflecError

if TYPE_CHECKING:
    from shufflec.training.job import TrainingJob
    from shufflec.training.recipe_file import RecipeFile

_PATIENCE = 20  # seconds
_NETWORK = "Network"
_DATA = "Data"
_RECIPE = "In place of the recipe's"
_WHERE = "Where it runs"


def train_command(
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.toml",
            help="digits, mindcv-v1, mindcv-v1-1x, megvii-v1, megvii-v2, torchvision-v2, or a file.",
        ),
    ] = "digits",
    groups: Annotated[
        int | None,
        typer.Option(
            help="Groups of the 1x1 convolutions: 1, 2, 3, 4 or 8. Needed for V1 if the recipe is for any network.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            metavar="v1|v2", help="ShuffleNetV1 or V2. Default: the recipe's, else v1.", rich_help_panel=_NETWORK
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Of the channel counts. V1: 0.25 to 2; V2: 0.5, 1, 1.5 or 2. Default: the recipe's, or the least.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="V1: paper, megvii, mindcv; V2: torchvision, megvii.", rich_help_panel=_NETWORK
        ),
    ] = None,
    data: Annotated[
        str, typer.Option(metavar="digits|DIR|FILE.npz", help="Labelled images.", rich_help_panel=_DATA)
    ] = "digits",
    seed: Annotated[int, typer.Option(help="The same seed gives the same checkpoint, byte for byte.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.safetensors", help="Default: a name made of the other options."),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Pixels. Default: 32 for the digits, else 224.", rich_help_panel=_DATA),
    ] = None,
    crop_fraction: Annotated[
        float | None,
        typer.Option(
            help="Centre crop. Default: the recipe's, else 1 for digits and .npz and 0.875 for photos.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training images.", rich_help_panel=_RECIPE)
    ] = None,
    total_steps: Annotated[int | None, typer.Option(help="Steps, instead of epochs.", rich_help_panel=_RECIPE)] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate, whatever the batch size. Without it, the recipe's in proportion to the batch.",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step, of all processes together.", rich_help_panel=_RECIPE)
    ] = None,
    momentum: Annotated[float | None, typer.Option(help="Of the optimizer.", rich_help_panel=_RECIPE)] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="On convolution and classifier weights.", rich_help_panel=_RECIPE)
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Probability spread over all classes.", rich_help_panel=_RECIPE)
    ] = None,
    warmup_epochs: Annotated[
        int | None, typer.Option(help="Epochs until the peak learning rate.", rich_help_panel=_RECIPE)
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(help="Decay of a moving average of the weights, which is the result.", rich_help_panel=_RECIPE),
    ] = None,
    color_jitter: Annotated[
        float | None,
        typer.Option(help="Brightness, contrast, saturation, by at most that fraction.", rich_help_panel=_RECIPE),
    ] = None,
    shift: Annotated[int | None, typer.Option(help="Random shift in pixels.", rich_help_panel=_RECIPE)] = None,
    rotate: Annotated[
        float | None, typer.Option(help="Random turn, at most so many degrees.", rich_help_panel=_RECIPE)
    ] = None,
    zoom: Annotated[
        float | None,
        typer.Option(help="Random enlargement or reduction, at most that fraction.", rich_help_panel=_RECIPE),
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Mirror half of the images.", rich_help_panel=_RECIPE)
    ] = None,
    sync_bn: Annotated[
        bool | None,
        typer.Option("--sync-bn/--no-sync-bn", help="Batch norm over all processes' images.", rich_help_panel=_RECIPE),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", rich_help_panel=_WHERE)] = "auto",
    amp: Annotated[
        str,
        typer.Option(
            metavar="auto|off|bf16|fp16", help="Mixed precision. auto: on a GPU only.", rich_help_panel=_WHERE
        ),
    ] = "auto",
    workers: Annotated[
        int, typer.Option(help="Processes that read images ahead; the result is the same.", rich_help_panel=_WHERE)
    ] = 0,
    threads: Annotated[
        int, typer.Option(help="Processor threads; results are equal for an equal number.", rich_help_panel=_WHERE)
    ] = 1,
    log_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write logs for TensorBoard.", rich_help_panel=_WHERE)
    ] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--restart",
            help="Insist on going on with an interrupted run, or start over. Default: go on if there is one.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a ShuffleNet after a recipe, shipped or your own; options take the place of what the recipe says.

    After Ctrl-C or a kill, the same command goes on from the last whole epoch and ends with the same bytes.

    Examples:

        shufflec train --groups 8 --data digits --rotate 10 --zoom 0.1 -o digits.safetensors

        shufflec train --recipe mindcv-v1 --data imagenet/ --workers 16

        torchrun --nproc_per_node 8 -m shufflec.cli.main train --recipe megvii-v1 --groups 8 --data imagenet/
    """
    if output is not None and output.suffix != ".safetensors":
        raise OptionError("--output", output, "expected a name that ends in .safetensors")

    from shufflec.files import sha256_file
    from shufflec.models.architecture import parse_input_size
    from shufflec.training.distributed import ProcessError, torchrun_ranks
    from shufflec.training.job import run_job
    from shufflec.training.recipe_file import load_recipe
    from shufflec.training.runtime import Runtime

    size = parse_input_size(input_size) if input_size is not None else None
    first = torchrun_ranks()[0] == 0
    try:
        file = load_recipe(recipe)
        job = _job(file, family, groups, scale, variant)
        job = replace(
            job,
            data=data,
            input_size=size,
            crop_fraction=job.crop_fraction if crop_fraction is None else crop_fraction,
            seed=seed,
        )
        overrides = {
            "epochs": epochs,
            "total_steps": total_steps,
            "batch_size": batch_size,
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "label_smoothing": label_smoothing,
            "warmup_epochs": warmup_epochs,
            "ema": ema,
            "color_jitter": color_jitter,
            "shift": shift,
            "rotate": rotate,
            "zoom": zoom,
            "flip": flip,
            "sync_bn": sync_bn,
            "threads": threads,
        }
        job = job.with_recipe(file.resolve(overrides, job.resolved_input))
        output = output or job.default_output
        runtime = Runtime(device, amp, workers, log_dir)
        with training_progress(output) if first else nullcontext() as show:
            checkpoint = run_job(job, output, resume, show, runtime, note=stderr_console().print)
    except (ShufflecError, KeyboardInterrupt) as error:
        if first or isinstance(error, ProcessError):
            raise
        # The first process says what all of them find: it gets the time for it before torchrun ends them all.
        if isinstance(error, ShufflecError):
            time.sleep(_PATIENCE)
        raise typer.Exit(int(getattr(error, "exit_code", 1))) from error
    if not first:
        return
    if json:
        emit_json(training_result(output, sha256_file(output), checkpoint))
    else:
        show_training(output, checkpoint)


def _job(
    file: RecipeFile, family: str | None, groups: int | None, scale: float | None, variant: str | None
) -> TrainingJob:
    """The network that was asked for, or the recipe's where an option is left out; the recipe's evaluation."""
    from shufflec.training.job import TrainingJob
    from shufflec.training.recipe_file import DEFAULT_RECIPE

    if family not in (None, "v1", "v2"):
        raise OptionError("--family", family, "expected v1 or v2")
    if family is None or family == file.family:
        groups = file.groups if groups is None else groups
        scale = file.scale if scale is None else scale
        variant = file.variant if variant is None else variant
    family = family or file.family or "v1"
    if family == "v1" and groups is None:
        raise OptionError("--groups", "(none)", "ShuffleNetV1 needs 1, 2, 3, 4 or 8", "or train a V2 with --family v2")
    if family == "v2" and groups is not None:
        raise OptionError("--groups", groups, "ShuffleNetV2 has no groups", "leave the option out")
    return TrainingJob(
        groups,
        scale if scale is not None else (0.25 if family == "v1" else 0.5),
        variant,
        crop_fraction=file.crop_fraction,
        resize=file.resize,
        recipe_name=file.name if file.name != DEFAULT_RECIPE else None,
    )
