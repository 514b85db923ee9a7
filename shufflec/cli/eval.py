"""`shufflec eval`: top-1, top-5 and the confusion matrix of a model on labelled images, or each stage to the board."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shufflec.cli.console import JsonOption, emit_json, progress_bar, stderr_console, stdout_console
from shufflec.cli.labelled_images import check_names, tell_unreadable
from shufflec.errors import InputFileError, OptionError

if TYPE_CHECKING:
    from shufflec.data.dataset import Dataset
    from shufflec.data.preprocessing import Preprocessing
    from shufflec.models.families import AnyArchitecture
    from shufflec.training.evaluate import Metrics, Predict

# A confusion matrix of more classes would not fit a terminal; the JSON always has it.
_MOST_CLASSES_SHOWN = 20


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a function from inputs to logits, and what it needs.

    title: the network in words. engine: what computes the logits. random_weights: the network is untrained. int8: it
    is quantized. architecture: None for a network that shufflec did not build.
    """

    title: str
    engine: str
    predict: Predict
    preprocessing: Preprocessing
    class_names: list[str]
    random_weights: bool
    int8: bool = True
    architecture: AnyArchitecture | None = None


def eval_command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL|BUNDLE", help="A checkpoint (see `shufflec inspect`), a .onnx model, or a bundle."
        ),
    ],
    data: Annotated[str, typer.Option(metavar="digits|DIR|FILE.npz", help="Labelled images.")],
    split: Annotated[str, typer.Option(metavar="train|test", help="Which part of them.")] = "test",
    stages: Annotated[
        bool,
        typer.Option(
            "--stages",
            help="Side by side: float, QDQ in ONNX Runtime, integer reference, compiled code on its (virtual) board.",
        ),
    ] = False,
    float_model: Annotated[
        Path | None,
        typer.Option("--float", metavar="MODEL", help="With --stages: the float network of a bundle or QDQ model."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="At most that many images, at equal distances; with --stages for the two slow ones, 100 by default.",
        ),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Input pixels of a checkpoint that does not say: another project's."),
    ] = None,
    rpc: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Run a bundle on the device at this RPC server.")
    ] = None,
    key: Annotated[str, typer.Option(help="Key of that server, if it has one.")] = "",
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Run a Cortex-M bundle's firmware on the emulated board of its target; "
            "for a MODEL: quantize and compile it for this board, and show the --stages.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that the device may take for one answer.")] = 120.0,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 64,
    json: JsonOption = False,
) -> None:
    """Measure a model's accuracy on labelled images it was not trained on.

    Top-1, top-5 and error rates as the published tables have them, beside the published ones of the same network on
    ImageNet. --stages shows where accuracy is lost on the way to the board, how often each stage agrees with the one
    before, and whether the compiled code equals the integer reference bit for bit; where it does not, that is an error.

    Examples:

        shufflec eval model.safetensors --data digits

        shufflec eval rasp4-bundle --data photos/ --rpc 192.168.1.20:9090

        shufflec eval rasp4-bundle --data photos/ --stages --float model.safetensors

        shufflec eval model.safetensors --data photos/ --target cortex-m7 --images 50
    """
    from shufflec.data.datasets import open_dataset
    from shufflec.training.evaluate import evaluate

    if stages or (target is not None and model.is_file()):
        from shufflec.cli.eval_stages import eval_stages

        eval_stages(model, data, split, target, float_model, images, input_size, rpc, key, timeout, json)
        return
    if float_model is not None:
        raise OptionError("--float", float_model, "is for --stages")
    with open_subject(model, rpc, key, timeout, target, input_size) as subject:
        dataset = open_dataset(data, split)
        check_names(data, dataset, subject.class_names)
        dataset = dataset if images is None else dataset.spread(images)
        with progress_bar() as bar:
            task = bar.add_task("evaluate", total=len(dataset), note="")
            metrics = evaluate(
                subject.predict,
                dataset,
                subject.preprocessing,
                batch_size,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    tell_unreadable(dataset)
    if json:
        emit_json(_result(model, subject, data, split, dataset, metrics))
    else:
        _show(subject, data, split, dataset, metrics)


@contextmanager
def open_subject(
    path: Path,
    rpc: str | None,
    key: str = "",
    timeout_s: float = 120.0,
    target: str | None = None,
    input_size: str | None = None,
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
    if input_size is not None and path.suffix not in SUFFIXES:
        raise OptionError("--input-size", input_size, f"{path} has its own", "leave the option out")
    if path.suffix in SUFFIXES:
        yield _open_checkpoint(path, input_size)
    elif path.suffix == ".onnx":
        yield _open_onnx(path)
    elif path.is_dir():
        with _open_bundle(path, rpc, key, timeout_s, target) as subject:
            yield subject
    else:
        problem = "is none of these" if path.exists() else "no such file"
        raise InputFileError(path, problem, f"expected {KINDS}, a .onnx model or a bundle")


def _open_checkpoint(path: Path, input_size: str | None) -> Subject:
    from shufflec.models.architecture import parse_input_size
    from shufflec.models.checkpoint import check_matches
    from shufflec.models.foreign.load import open_checkpoint
    from shufflec.training.evaluate import torch_predict

    size = parse_input_size(input_size) if input_size is not None else None
    opened = open_checkpoint(path, size)
    check_matches(path, opened.checkpoint, input_size=size)
    checkpoint, notes = opened.checkpoint, stderr_console()
    for note in opened.notes:
        notes.print(note, markup=False)
    return Subject(
        title=str(checkpoint.architecture),
        engine="float, torch",
        predict=torch_predict(checkpoint.build()),
        preprocessing=checkpoint.preprocessing,
        class_names=checkpoint.class_names,
        random_weights=checkpoint.random_weights,
        int8=False,
        architecture=checkpoint.architecture,
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
    architecture = architecture_from_dict(info["architecture"]) if info["architecture"] else None
    int8 = model_kind(model) == "qdq"
    return Subject(
        title=str(architecture or path.name),
        engine="int8 (QDQ), ONNX Runtime" if int8 else "float, ONNX Runtime",
        predict=predictor(model),
        preprocessing=Preprocessing.from_dict(info["preprocessing"]),
        class_names=info["class_names"],
        random_weights=info["random_weights"],
        int8=int8,
        architecture=architecture,
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
            architecture=bundle.architecture,
        )


def _result(
    model: Path, subject: Subject, data: str, split: str, dataset: Dataset, metrics: Metrics
) -> dict[str, object]:
    from shufflec.cli.eval_view import network_entry, published, published_entry

    return {
        "model": str(model),
        "network": subject.title,
        **network_entry(subject.architecture),
        "engine": subject.engine,
        "random_weights": subject.random_weights,
        "data": data,
        "split": split,
        "class_names": dataset.class_names,
        "unreadable": list(dataset.unreadable),
        "top1_error": 1 - metrics.top1,
        "top5_error": 1 - metrics.top5,
        **published_entry(*published(subject.architecture, dataset.class_names, subject.int8)),
        **metrics.to_dict(),
    }


def _show(subject: Subject, data: str, split: str, dataset: Dataset, metrics: Metrics) -> None:
    from shufflec.cli.eval_view import accuracy_table, confusion_table, published

    console = stdout_console()
    untrained = ", random weights" if subject.random_weights else ""
    console.print(f"{subject.title} ({subject.engine}{untrained})", markup=False)
    found, reason = published(subject.architecture, dataset.class_names, subject.int8)
    rows = [("int8" if subject.int8 else "float", metrics.count, metrics.top1, metrics.top5)]
    if found is not None:
        rows.append(("published", None, found.top1, found.top5))
        reason = f"Published: {found.source}, {'int8' if found.int8 else 'float'}, on ImageNet's validation images."
    console.print(accuracy_table(f"{metrics.count} {split} images of {data}, in per cent", subject.architecture, rows))
    if reason:
        console.print(reason, markup=False)
    if len(dataset.class_names) <= _MOST_CLASSES_SHOWN:
        console.print(confusion_table(dataset.class_names, metrics))
    else:
        console.print(f"--json has the confusion matrix of the {len(dataset.class_names)} classes.")
