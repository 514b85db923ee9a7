"""`shufflec eval --stages`: one network as float, as QDQ, as integers and as compiled code, on the same images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shufflec.cli.console import emit_json, progress_bar, stderr_console, stdout_console
from shufflec.cli.labelled_images import check_names, tell_unreadable
from shufflec.errors import InputFileError, OptionError, WrongResultError

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle
    from shufflec.data.preprocessing import Preprocessing
    from shufflec.models.families import AnyArchitecture
    from shufflec.profiling.stages import Stage, StageComparison


@dataclass(frozen=True)
class Staged:
    """A network at every stage. title: in words. architecture: None for one that shufflec did not build."""

    title: str
    architecture: AnyArchitecture | None
    preprocessing: Preprocessing
    class_names: list[str]
    random_weights: bool
    stages: tuple[Stage, ...]


def eval_stages(
    model: Path,
    data: str,
    split: str,
    target: str | None,
    float_model: Path | None,
    images: int | None,
    input_size: str | None,
    rpc: str | None,
    key: str,
    timeout: float,
    json: bool,
) -> None:
    """Runs every stage and prints the table; the arguments are the options of `shufflec eval`.

    Raises WrongResultError, after the table, when the compiled code differs from the integer reference.
    """
    from shufflec.data.datasets import open_dataset
    from shufflec.profiling.stages import DEFAULT_SLOW_IMAGES, compare_stages

    dataset = open_dataset(data, split)
    with _open(model, data, target, float_model, input_size, rpc, key, timeout) as staged:
        check_names(data, dataset, staged.class_names)
        with progress_bar() as bar:
            task = bar.add_task("evaluate", total=None, note="")
            found = compare_stages(
                staged.stages,
                dataset,
                staged.preprocessing,
                images or DEFAULT_SLOW_IMAGES,
                lambda name, done, total: bar.update(task, description=name, completed=done, total=total),
            )
    tell_unreadable(dataset)
    if json:
        emit_json(_result(model, staged, data, split, dataset.class_names, list(dataset.unreadable), found))
    else:
        _show(staged, data, split, dataset.class_names, found)
    if found.equal < found.compared:
        differing = f"{found.compared - found.equal} of {found.compared} images, the first is image {found.differing}"
        raise WrongResultError(
            f"the compiled code differs from the integer reference on {differing}",
            "`shufflec profile` names the layer; report it with the bundle",
        )


@contextmanager
def _open(
    model: Path,
    data: str,
    target: str | None,
    float_model: Path | None,
    input_size: str | None,
    rpc: str | None,
    key: str,
    timeout: float,
) -> Iterator[Staged]:
    if model.is_dir():
        if input_size is not None:
            raise OptionError("--input-size", input_size, f"{model} has its own", "leave the option out")
        with _open_bundle(model, target, float_model, rpc, key, timeout) as staged:
            yield staged
    elif not model.is_file():
        raise InputFileError(model, "no such file", "expected a checkpoint, an .onnx model or a bundle")
    elif target is None and rpc is not None:
        raise OptionError("--rpc", rpc, "is for bundles", "say with --target what board it is, or compile the model")
    else:
        with _open_model(model, data, target, float_model, input_size, rpc, key, timeout) as staged:
            yield staged


@contextmanager
def _open_bundle(
    path: Path, target: str | None, float_model: Path | None, rpc: str | None, key: str, timeout: float
) -> Iterator[Staged]:
    from shufflec.backends.bundle import open_bundle

    bundle = open_bundle(path)
    if target is not None and target != bundle.target.name:
        raise OptionError("--target", target, f"{path} is for {bundle.target.name}", "leave the option out")
    missing = "a bundle holds the quantized network alone; --float MODEL gives the float one"
    with _stages(bundle, _float(float_model, bundle, missing), rpc, key, timeout) as stages:
        yield _staged(bundle, stages)


@contextmanager
def _open_model(
    path: Path,
    data: str,
    target: str | None,
    float_model: Path | None,
    input_size: str | None,
    rpc: str | None,
    key: str,
    timeout: float,
) -> Iterator[Staged]:
    """Quantizes the model on the data set's train split and, with a target, compiles it, for this once."""
    from shufflec.backends.bundle import write_bundle
    from shufflec.backends.compile import safe_name
    from shufflec.cli.compile import compile_prepared
    from shufflec.cli.model_source import Stages, model_source
    from shufflec.ir.pipeline import lower
    from shufflec.models.families import architecture_from_dict
    from shufflec.profiling.open_stages import float_stage, model_stages
    from shufflec.profiling.stages import BOARD, Stage
    from shufflec.quantize.prepare import prepare_model
    from shufflec.targets.target import load_target

    board = load_target(target) if target is not None else None
    work = Stages()
    with progress_bar() as bar:
        work.show(bar)
        wishes = {} if input_size is None else {"input_size": input_size}
        stem, source = model_source(path, wishes, False, work)
        work("quantizing")
        prepared = prepare_model(source, data=data, progress=lambda done, total: work("quantizing", done, total))
        for note in prepared.notes:
            work.say(note)
        if prepared.float_model is not None and float_model is not None:
            raise OptionError("--float", float_model, f"{path} is a float model itself", "leave the option out")
        name = safe_name(stem)
        compiled = compile_prepared(prepared, board, name, work) if board is not None else None
        work.done()
    missing = f"{path} came quantized; --float MODEL gives the float one"
    if compiled is not None:
        with TemporaryDirectory(prefix="shufflec-eval-") as folder:
            bundle = write_bundle(Path(folder) / name, compiled, lambda _: {}, remember=False)
            own = float_stage(prepared.float_model, missing)
            first = own if prepared.float_model is not None else _float(float_model, bundle, missing)
            with _stages(bundle, first, rpc, key, timeout) as stages:
                yield _staged(bundle, stages)
        return
    info = prepared.info
    architecture = architecture_from_dict(info["architecture"]) if info["architecture"] else None
    missing_board = Stage(BOARD, "no board", missing="no board was said; --target NAME compiles the model for one")
    model_float = prepared.float_model or (_onnx(float_model) if float_model is not None else None)
    yield Staged(
        str(architecture or path.name),
        architecture,
        prepared.preprocessing,
        list(info["class_names"]),
        info["random_weights"],
        (
            float_stage(model_float, missing),
            *model_stages(prepared.model, lower(prepared.model).graph),
            missing_board,
        ),
    )


def _float(path: Path | None, bundle: Bundle, missing: str) -> Stage:
    """The float stage of a bundle, from the user's float model."""
    from shufflec.profiling.open_stages import check_float, float_stage

    return float_stage(check_float(path, _onnx(path), bundle) if path is not None else None, missing)


def _onnx(path: Path):
    from shufflec.quantize.prepare import load_float

    return load_float(path).model


@contextmanager
def _stages(bundle: Bundle, first: Stage, rpc: str | None, key: str, timeout: float) -> Iterator[tuple[Stage, ...]]:
    from shufflec.profiling.open_stages import open_bundle_stages

    notes = stderr_console()
    say = lambda words: notes.print(words, markup=False)  # noqa: E731
    with open_bundle_stages(bundle, rpc, key, timeout, say) as others:
        yield (first, *others)


def _staged(bundle: Bundle, stages: tuple[Stage, ...]) -> Staged:
    title = str(bundle.architecture or bundle.name)
    names = list(bundle.class_names)
    return Staged(title, bundle.architecture, bundle.preprocessing, names, bundle.random_weights, stages)


def _result(
    model: Path,
    staged: Staged,
    data: str,
    split: str,
    class_names: list[str],
    unreadable: list[str],
    found: StageComparison,
) -> dict[str, object]:
    from shufflec.cli.eval_view import network_entry, published, published_entry

    return {
        "model": str(model),
        "network": staged.title,
        **network_entry(staged.architecture),
        "random_weights": staged.random_weights,
        "data": data,
        "split": split,
        "class_names": class_names,
        "unreadable": unreadable,
        **published_entry(*published(staged.architecture, class_names, int8=True)),
        **found.to_dict(),
    }


def _show(staged: Staged, data: str, split: str, class_names: list[str], found: StageComparison) -> None:
    from shufflec.cli.eval_view import published, stages_notes, stages_table

    console = stdout_console()
    untrained = " (random weights: its accuracy means nothing)" if staged.random_weights else ""
    console.print(f"{staged.title}{untrained}", markup=False)
    console.print(stages_table(f"{split} images of {data}", found))
    for note in stages_notes(found):
        console.print(note, markup=False)
    beside, reason = published(staged.architecture, class_names, int8=True)
    if beside is not None:
        top5 = "" if beside.top5 is None else f", top-5 {beside.top5:.2%}"
        kind = "int8" if beside.int8 else "float"
        console.print(f"Published ({beside.source}, {kind}): top-1 {beside.top1:.2%}{top5}.", markup=False)
    else:
        console.print(reason, markup=False)
