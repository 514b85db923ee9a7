"""`shufflec train`: a ShuffleNet checkpoint from labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console
from shufflec.errors import OptionError

if TYPE_CHECKING:
    from shufflec.models.checkpoint import Checkpoint
    from shufflec.training.train import TrainingProgress


def train_command(
    groups: Annotated[
        int | None, typer.Option(help="Groups of the 1x1 convolutions: 1, 2, 3, 4 or 8. Needed for V1.")
    ] = None,
    family: Annotated[str, typer.Option(metavar="v1|v2", help="ShuffleNetV1 or V2.")] = "v1",
    scale: Annotated[
        float | None, typer.Option(help="Of the channel counts. V1: 0.25 to 2, default 0.25; V2: 0.5, 1, 1.5 or 2.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(metavar="NAME", help="V1: paper, megvii, mindcv; V2: torchvision, megvii.")
    ] = None,
    data: Annotated[str, typer.Option(metavar="digits|DIR|FILE.npz", help="Labelled images.")] = "digits",
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same checkpoint, byte for byte.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.safetensors", help="Default: a name made of the other options."),
    ] = None,
    input_size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Pixels. Default: 32 for the digits, else 224.")
    ] = None,
    crop_fraction: Annotated[
        float | None, typer.Option(help="Centre crop. Default: 1 for digits and .npz, else 0.875.")
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.1,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 32,
    momentum: Annotated[float, typer.Option(help="Nesterov momentum.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="On convolution and classifier weights.")] = 5e-4,
    label_smoothing: Annotated[float, typer.Option(help="Probability spread over all classes.")] = 0.1,
    warmup_epochs: Annotated[int, typer.Option(help="Epochs until the peak learning rate.")] = 3,
    shift: Annotated[
        int | None, typer.Option(help="Random shift in pixels. Default: a sixteenth of the input.")
    ] = None,
    rotate: Annotated[float, typer.Option(help="Random turn, at most so many degrees.")] = 0.0,
    zoom: Annotated[float, typer.Option(help="Random enlargement or reduction, at most that fraction.")] = 0.0,
    flip: Annotated[bool, typer.Option(help="Mirror half of the images.")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads; results are equal for an equal number.")] = 1,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--restart",
            help="Insist on going on with an interrupted run, or start over. Default: go on if there is one.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a ShuffleNet: SGD with momentum, a cosine learning rate after a warm-up, label smoothing.

    After Ctrl-C or a kill, the same command goes on from the last whole epoch and ends with the same bytes.

    Examples:

        shufflec train --groups 8 --data digits --rotate 10 --zoom 0.1 -o digits.safetensors

        shufflec train --family v2 --scale 0.5 --data photos/

        shufflec train --groups 3 --scale 0.5 --data photos/ --epochs 90 --flip --threads 8 -o photos.safetensors
    """
    if output is not None and output.suffix != ".safetensors":
        raise OptionError("--output", output, "expected a name that ends in .safetensors")

    from shufflec.files import sha256_file
    from shufflec.models.architecture import parse_input_size
    from shufflec.training.job import TrainingJob, run_job
    from shufflec.training.recipe import Recipe

    if family not in ("v1", "v2"):
        raise OptionError("--family", family, "expected v1 or v2")
    if family == "v1" and groups is None:
        raise OptionError("--groups", "(none)", "ShuffleNetV1 needs 1, 2, 3, 4 or 8", "or train a V2 with --family v2")
    if family == "v2" and groups is not None:
        raise OptionError("--groups", groups, "ShuffleNetV2 has no groups", "leave the option out")
    scale = scale if scale is not None else (0.25 if family == "v1" else 0.5)
    size = parse_input_size(input_size) if input_size is not None else None
    job = TrainingJob(groups, scale, variant, data, size, crop_fraction, seed=seed)
    recipe = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        warmup_epochs=warmup_epochs,
        shift=shift if shift is not None else max(1, min(job.resolved_input) // 16),
        rotate=rotate,
        zoom=zoom,
        flip=flip,
        threads=threads,
    )
    output = output or job.default_output
    with _progress(output) as show:
        checkpoint = run_job(job.with_recipe(recipe), output, resume, show)
    if json:
        emit_json(_result(output, sha256_file(output), checkpoint))
    else:
        _show(output, checkpoint)


@contextmanager
def _progress(output: Path) -> Iterator[Callable[[TrainingProgress], None]]:
    """A bar over all steps with loss and accuracy; without a terminal, one line an epoch. Both on stderr."""
    console = stderr_console()
    last_test = ""
    resumed = 0
    with progress_bar() as bar:
        task = bar.add_task("train", total=None, note="")

        def show(state: TrainingProgress) -> None:
            nonlocal last_test, resumed
            if state.resumed_epochs and not resumed:
                resumed = state.resumed_epochs
                console.print(f"Going on after epoch {resumed} of {state.epochs}.")
            figures = f"loss {state.loss:.3f}, accuracy {state.accuracy:.2%}"
            if state.test_top1 is not None:
                last_test = f", held out {state.test_top1:.2%}"
                if not console.is_terminal:
                    console.print(f"epoch {state.epoch}/{state.epochs}: {figures}{last_test}")
            bar.update(
                task,
                description=f"epoch {state.epoch}/{state.epochs}",
                total=state.epochs * state.steps,
                completed=(state.epoch - 1) * state.steps + state.step,
                note=figures + last_test,
            )

        try:
            yield show
        except KeyboardInterrupt:
            bar.stop()
            console.print(f"Stopped. The same command goes on from the last whole epoch ({output} is not written yet).")
            raise


def _result(output: Path, sha256: str, checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "output": str(output),
        "sha256": sha256,
        "architecture": checkpoint.architecture.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "class_names": checkpoint.class_names,
        "recipe": checkpoint.recipe,
        "seed": checkpoint.seed,
        "metrics": checkpoint.metrics,
    }


def _show(output: Path, checkpoint: Checkpoint) -> None:
    metrics = checkpoint.metrics
    console = stdout_console()
    console.print(f"{checkpoint.architecture}", markup=False)
    console.print(f"Top-1 {metrics['top1']:.2%}, top-5 {metrics['top5']:.2%} on {metrics['count']} held-out images")
    console.print(f"Wrote {output}", markup=False)
