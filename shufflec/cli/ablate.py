"""`shufflec ablate`: what groups and channel shuffle are worth on a data set, with seeds and intervals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, progress_bar, stderr_console, stdout_console

if TYPE_CHECKING:
    from shufflec.bench.ablation import AblationProgress
    from shufflec.reports.ablation import AblationReport


def ablate_command(
    shuffle: Annotated[str, typer.Option(metavar="on,off", help="With channel shuffle, without, or both.")] = "on,off",
    groups: Annotated[str, typer.Option(metavar="NUMBERS", help="Of groups, separated by commas.")] = "1,2,3,4,8",
    scale: Annotated[float, typer.Option(help="Of the channel counts, 0.25 to 2.")] = 0.25,
    seeds: Annotated[int, typer.Option(help="Trainings of each network; 2 and more give intervals.")] = 5,
    data: Annotated[str, typer.Option(metavar="digits|DIR|FILE.npz", help="Labelled images.")] = "digits",
    recipe: Annotated[
        str,
        typer.Option(metavar="NAME|FILE.toml", help="How to train; the options below take the place of its values."),
    ] = "digits",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where ablation.json, .md and .html go.")
    ] = Path("reports"),
    variant: Annotated[str, typer.Option(metavar="NAME", help="paper, megvii or mindcv.")] = "paper",
    input_size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Pixels. Default: 32 for the digits, else 224.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="On convolution and classifier weights.")] = None,
    shift: Annotated[int | None, typer.Option(help="Random shift in pixels.")] = None,
    rotate: Annotated[float | None, typer.Option(help="Random turn, at most so many degrees.")] = None,
    zoom: Annotated[float | None, typer.Option(help="Random enlargement or reduction, at most that fraction.")] = None,
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help="Mirror half of the images.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads; results are equal for an equal number.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train everything again; else kept results are used.")] = False,
    json: JsonOption = False,
) -> None:
    """Train ShuffleNetV1 with several numbers of groups, with and without channel shuffle, and compare.

    These are tables 2 and 3 of the ShuffleNet paper on your own data: top-1 error with 95 % intervals over seeds, what
    the shuffle changes seed by seed, and whether that is more than chance. Every finished training is kept and one
    that was interrupted goes on after its last whole epoch, so the same command goes on where it was stopped; several
    of it at once share the work.

    Examples:

        shufflec ablate --seeds 3 --epochs 20

        shufflec ablate --data photos/ --recipe mindcv-v1 --groups 3,8 --scale 0.5 --threads 8
    """
    from shufflec.bench.ablation import AblationPlan, run_ablation
    from shufflec.files import write_atomic
    from shufflec.models.architecture import parse_input_size
    from shufflec.reports.ablation_html import html
    from shufflec.reports.ablation_words import markdown
    from shufflec.training.job import TrainingJob
    from shufflec.training.recipe_file import load_recipe

    chosen_groups, shuffles = _groups(groups), _shuffles(shuffle)
    size = parse_input_size(input_size) if input_size is not None else None
    file = load_recipe(recipe)
    job = TrainingJob(chosen_groups[0], scale, variant, data, size, file.crop_fraction, resize=file.resize)
    overrides = {
        "epochs": epochs,
        "lr": lr,
        "batch_size": batch_size,
        "weight_decay": weight_decay,
        "shift": shift,
        "rotate": rotate,
        "zoom": zoom,
        "flip": flip,
        "threads": threads,
    }
    job = job.with_recipe(file.resolve(overrides, job.resolved_input))
    plan = AblationPlan(job, chosen_groups, shuffles, seeds)
    with _progress() as show:
        report = run_ablation(plan, show, fresh)
    text = report.to_json()
    contents = {"ablation.json": text, "ablation.md": markdown(report), "ablation.html": html(report)}
    written = [write_atomic(output / name, content) for name, content in contents.items()]
    if json:
        sys.stdout.write(text)
        return
    _show(report)
    stdout_console().print(f"\nWrote {', '.join(map(str, written))}", markup=False)


def _groups(text: str) -> tuple[int, ...]:
    from shufflec.errors import OptionError
    from shufflec.models.architecture import GROUPS

    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word not in map(str, GROUPS)]:
        known = ", ".join(map(str, GROUPS))
        raise OptionError("--groups", unknown[0] or "(none)", f"expected some of {known}, separated by commas")
    return tuple(map(int, words))


def _shuffles(text: str) -> tuple[bool, ...]:
    from shufflec.errors import OptionError

    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word not in ("on", "off")]:
        raise OptionError("--shuffle", unknown[0] or "(none)", "expected on, off or on,off")
    return tuple(word == "on" for word in words)


@contextmanager
def _progress() -> Iterator[Callable[[AblationProgress], None]]:
    """A bar over all trainings with the epoch in hand; without a terminal, one line a training. Both on stderr."""
    console = stderr_console()
    with progress_bar() as bar:
        task = bar.add_task("ablate", total=None, note="")

        def show(state: AblationProgress) -> None:
            if not console.is_terminal:
                if state.training is None:
                    console.print(f"{state.done + 1}/{state.total} {state.what}", markup=False)
                return
            note, part = "", 0.0
            if (at := state.training) is not None:
                note = f"epoch {at.epoch}/{at.epochs}, loss {at.loss:.3f}"
                part = ((at.epoch - 1) + at.step / at.steps) / at.epochs
            bar.update(task, description=state.what, total=state.total, completed=state.done + part, note=note)

        try:
            yield show
        except KeyboardInterrupt:
            bar.stop()
            console.print("Stopped. The same command goes on from the last whole epoch.")
            raise


def _show(report: AblationReport) -> None:
    from rich import box
    from rich.table import Table

    from shufflec.reports import ablation_words as words

    console = stdout_console()
    console.print(words.facts(report), markup=False)
    tables = ((words.SHUFFLE_TITLE, words.shuffle_table(report)), (words.GROUPS_TITLE, words.groups_table(report)))
    for title, lines in tables:
        if not lines:
            continue
        header, *rest = lines
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for name in header:
            table.add_column(name, justify="right")
        for line in rest:
            table.add_row(*line)
        console.print()
        console.print(table)
    console.print()
    for sentence in words.sentences(report):
        console.print(sentence, markup=False)
