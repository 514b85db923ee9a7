"""`shufflec eval`: top-1, top-5 and the confusion matrix of a model on labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stdout_console
from shufflec.errors import InputFileError, OptionError

if TYPE_CHECKING:
    from rich.table import Table

    from shufflec.data.preprocessing import Preprocessing
    from shufflec.training.evaluate import Metrics, Predict

# A confusion matrix of more classes would not fit a terminal; the JSON always has it.
_MOST_CLASSES_SHOWN = 20


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a function from inputs to logits, and what it needs.

    title: the network in words. engine: what computes the logits. random_weights: the network is untrained.
    """

    title: str
    engine: str
    predict: Predict
    preprocessing: Preprocessing
    class_names: list[str]
    random_weights: bool


def eval_command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL|BUNDLE", help="A checkpoint (see `shufflec inspect`), a .onnx model, or a bundle."
        ),
    ],
    data: Annotated[str, typer.Option(metavar="digits|DIR|FILE.npz", help="Labelled images.")],
    split: Annotated[str, typer.Option(metavar="train|test", help="Which part of them.")] = "test",
    rpc: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Run a bundle on the device at this RPC server.")
    ] = None,
    key: Annotated[str, typer.Option(help="Key of that server, if it has one.")] = "",
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Run a Cortex-M bundle's firmware on the emulated board of its target."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that the device may take for one answer.")] = 120.0,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 64,
    json: JsonOption = False,
) -> None:
    """Measure a model's accuracy on labelled images it was not trained on.

    Examples:

        shufflec eval model.safetensors --data digits

        shufflec eval rasp4-bundle --data photos/ --rpc 192.168.1.20:9090
    """
    from shufflec.data.dataset import check_classes
    from shufflec.data.datasets import open_dataset
    from shufflec.training.evaluate import evaluate

    with open_subject(model, rpc, key, timeout, target) as subject:
        dataset = open_dataset(data, split)
        check_classes(data, dataset, subject.class_names)
        with progress_bar() as bar:
            task = bar.add_task("evaluate", total=len(dataset), note="")
            metrics = evaluate(
                subject.predict,
                dataset,
                subject.preprocessing,
                batch_size,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    if json:
        emit_json(_result(model, subject, data, split, metrics))
    else:
        _show(subject, data, split, metrics)


@contextmanager
def open_subject(
    path: Path, rpc: str | None, key: str = "", timeout_s: float = 120.0, target: str | None = None
) -> Iterator[Subject]:
    """Opens a model of any kind for evaluation; devices are released at the end of the block.

    A bundle runs on the device at rpc; without one, by the integer reference, which compiled code equals.
    Raises InputFileError for a path that is none of them, OptionError for --rpc with a model that is not compiled.
    """
    from shufflec.models.foreign.load import KINDS, SUFFIXES

    for option, value in (("--rpc", rpc), ("--target", target)):
        if value is not None and not path.is_dir():
            raise OptionError(option, value, "is for bundles; compile the model first, with `shufflec compile`")
    if rpc is not None and target is not None:
        raise OptionError("--target", target, "runs on an emulated board, --rpc on a real one", "give one of the two")
    if path.suffix in SUFFIXES:
        yield _open_checkpoint(path)
    elif path.suffix == ".onnx":
        yield _open_onnx(path)
    elif path.is_dir():
        with _open_bundle(path, rpc, key, timeout_s, target) as subject:
            yield subject
    else:
        problem = "is none of these" if path.exists() else "no such file"
        raise InputFileError(path, problem, f"expected {KINDS}, a .onnx model or a bundle")


def _open_checkpoint(path: Path) -> Subject:
    from shufflec.models.foreign.load import open_checkpoint
    from shufflec.training.evaluate import torch_predict

    checkpoint = open_checkpoint(path).checkpoint
    return Subject(
        title=str(checkpoint.architecture),
        engine="float, torch",
        predict=torch_predict(checkpoint.build()),
        preprocessing=checkpoint.preprocessing,
        class_names=checkpoint.class_names,
        random_weights=checkpoint.random_weights,
    )


def _open_onnx(path: Path) -> Subject:
    from shufflec.data.preprocessing import Preprocessing
    from shufflec.models.families import architecture_from_dict
    from shufflec.quantize.accuracy import predictor
    from shufflec.quantize.inspect import load_onnx, model_kind
    from shufflec.quantize.model_info import read_model_info

    model = load_onnx(path)
    info = read_model_info(model)
    if not info:
        hint = "quantize it first: `shufflec quantize` writes them into its result"
        raise InputFileError(path, "does not say its preprocessing and class names", hint)
    described = info["architecture"]
    return Subject(
        title=str(architecture_from_dict(described)) if described else path.name,
        engine="float, ONNX Runtime" if model_kind(model) == "float" else "int8 (QDQ), ONNX Runtime",
        predict=predictor(model),
        preprocessing=Preprocessing.from_dict(info["preprocessing"]),
        class_names=info["class_names"],
        random_weights=info["random_weights"],
    )


@contextmanager
def _open_bundle(path: Path, rpc: str | None, key: str, timeout_s: float, target: str | None) -> Iterator[Subject]:
    from shufflec.backends.bundle import open_bundle
    from shufflec.profiling.predict import open_predictor

    bundle = open_bundle(path)
    with open_predictor(bundle, rpc, key, timeout_s, target) as (predict, engine):
        yield Subject(
            title=str(bundle.architecture or bundle.name),
            engine=f"int8, {engine}",
            predict=predict,
            preprocessing=bundle.preprocessing,
            class_names=list(bundle.class_names),
            random_weights=bundle.random_weights,
        )


def _result(model: Path, subject: Subject, data: str, split: str, metrics: Metrics) -> dict[str, object]:
    return {
        "model": str(model),
        "network": subject.title,
        "engine": subject.engine,
        "random_weights": subject.random_weights,
        "data": data,
        "split": split,
        "class_names": subject.class_names,
        **metrics.to_dict(),
    }


def _show(subject: Subject, data: str, split: str, metrics: Metrics) -> None:
    console = stdout_console()
    untrained = ", random weights" if subject.random_weights else ""
    console.print(f"{subject.title} ({subject.engine}{untrained})", markup=False)
    console.print(f"{metrics.count} {split} images of {data}", markup=False)
    console.print(f"Top-1 {metrics.top1:.2%}, top-5 {metrics.top5:.2%}")
    if len(subject.class_names) <= _MOST_CLASSES_SHOWN:
        console.print(_confusion_table(subject.class_names, metrics))
    else:
        console.print(f"--json has the confusion matrix of the {len(subject.class_names)} classes.")


def _confusion_table(class_names: list[str], metrics: Metrics) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Confusion: true class down, predicted class across", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in class_names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for true, (name, row) in enumerate(zip(class_names, metrics.confusion, strict=True)):
        cells = [Text(str(count), _style(true == predicted, count)) for predicted, count in enumerate(row)]
        table.add_row(Text(name), *cells)
    return table


def _style(on_diagonal: bool, count: int) -> str:
    if count == 0:
        return "dim"
    return "green" if on_diagonal else "bold red"
