"""Fine-tunes a quantized network until it says what the float network says (distillation).

The loss is the Kullback-Leibler divergence of the two networks' class probabilities; labels are not looked at, so that
nothing is learned that the float network did not know. Source: Mishra and Marr 2017, "Apprentice", with the float
network as the teacher. Batch norm is folded already, so there are no running statistics to upset.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import torch
from torch.nn import functional

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, OptionError, ShufflecError
from shufflec.quantize.islands import check_islands
from shufflec.quantize.qat.network import OnnxNetwork, write_back
from shufflec.training.loader import TrainingLoader
from shufflec.training.recipe import Recipe
from shufflec.training.resume import TrainingState, load_state, save_state

#: Called after each step with (steps done, steps in all, mean loss of the epoch so far).
TrainingSteps = Callable[[int, int, float], None]

_AUGMENTATIONS = {"shift": (int,), "rotate": (int, float), "zoom": (int, float), "flip": (bool,)}


@dataclass(frozen=True)
class QatRecipe:
    """How long and how fast. Adam, with a learning rate that falls to 0 in half a cosine.

    epochs: whole passes over the images. batch_size: images a step. lr: of weights and biases, in quantization steps.
    scale_lr: of grids, as a fraction of their width. Raises OptionError for a value out of range.
    """

    epochs: int = 10
    batch_size: int = 32
    lr: float = 0.05
    scale_lr: float = 0.02

    def __post_init__(self) -> None:
        ranges = {"epochs": (1, 10_000), "batch_size": (1, 65_536), "lr": (0.0, 10.0), "scale_lr": (0.0, 1.0)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise OptionError(name.replace("_", " "), getattr(self, name), f"expected {low:g} to {high:g}")

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)


def fine_tune(
    quantized: onnx.ModelProto,
    float_model: onnx.ModelProto,
    images: Dataset,
    preprocessing: Preprocessing,
    recipe: QatRecipe,
    augmentation: dict[str, object] | None = None,
    seed: int = 0,
    state_file: Path | None = None,
    progress: TrainingSteps | None = None,
) -> onnx.ModelProto:
    """A copy of `quantized`, of the same form, with weights, biases and scales that were trained.

    quantized: QDQ, zero points 0 (PtqSettings with preset "symmetric"). float_model: what it was rounded from, as
    ptq.equalized_model gives it; it teaches. augmentation: the recipe that the float model was trained with, of which
    shift, rotate, zoom and flip are taken. state_file: written after every epoch; a run that was stopped goes on from
    it to the same bits, and a state of another run is started over. The caller removes it.

    One thread, so that the same arguments give the same bytes. Raises UnsupportedModelError for a graph that cannot be
    trained, ShufflecError when the loss stops being a number.
    """
    loader = TrainingLoader(images, preprocessing, _loading(recipe, augmentation or {}), seed)
    total = recipe.epochs * loader.steps
    run = _fingerprint(quantized, float_model, images, recipe, augmentation or {}, seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        student, teacher = OnnxNetwork(quantized, float_model), OnnxNetwork(float_model).eval()
        optimizer = _optimizer(student, recipe)
        done = _restore(state_file, run, student, optimizer)
        for epoch in range(done, recipe.epochs):
            loss_sum = 0.0
            for step, (inputs, _) in enumerate(loader.epoch(epoch)):
                position = epoch * loader.steps + step
                falling = 0.5 * (1.0 + math.cos(math.pi * position / total))
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * falling
                loss_sum += _step(student, teacher, optimizer, inputs, epoch, step)
                if progress is not None:
                    progress(position + 1, total, loss_sum / (step + 1))
            if state_file is not None:
                parameters = {str(i): parameter.detach() for i, parameter in enumerate(student.parameters())}
                save_state(state_file, run, TrainingState(epoch + 1, parameters, optimizer.state_dict(), {}, {}))
    finally:
        torch.set_num_threads(threads)
    trained = onnx.ModelProto()
    trained.CopyFrom(quantized)
    write_back(trained, student)
    check_islands(trained)
    return trained


def _step(
    student: OnnxNetwork,
    teacher: OnnxNetwork,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    epoch: int,
    step: int,
) -> float:
    with torch.no_grad():
        wanted = functional.log_softmax(teacher(inputs), dim=1)
    said = functional.log_softmax(student(inputs), dim=1)
    loss = functional.kl_div(said, wanted, reduction="batchmean", log_target=True)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ShufflecError(f"the loss is {value} in epoch {epoch + 1}, step {step + 1}", "quantize with --method ptq")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return value


def _optimizer(student: OnnxNetwork, recipe: QatRecipe) -> torch.optim.Adam:
    """`peak` of each group is its learning rate at the beginning."""
    values = [tensor.steps for tensor in student.tensors.values()]
    grids = [
        parameter
        for grid in (*student.grids.values(), *student.weight_grids.values())
        for parameter in grid.parameters()
        if parameter.requires_grad
    ]
    return torch.optim.Adam(
        [{"params": values, "peak": recipe.lr}, {"params": grids, "peak": recipe.scale_lr}], lr=recipe.lr
    )


def _loading(recipe: QatRecipe, augmentation: dict[str, object]) -> Recipe:
    """The recipe by which TrainingLoader draws and augments batches."""
    taken = {
        name: augmentation[name] for name, kinds in _AUGMENTATIONS.items() if type(augmentation.get(name)) in kinds
    }
    return Recipe(epochs=recipe.epochs, batch_size=max(2, recipe.batch_size), **taken)


def _fingerprint(
    quantized: onnx.ModelProto,
    float_model: onnx.ModelProto,
    images: Dataset,
    recipe: QatRecipe,
    augmentation: dict[str, object],
    seed: int,
) -> dict[str, str]:
    """What must be equal for a run to be continued."""
    models = hashlib.sha256()
    for model in (quantized, float_model):
        models.update(model.SerializeToString(deterministic=True))
    return {
        "models": models.hexdigest(),
        "data": f"{len(images)} images, {hashlib.sha256(images.labels.tobytes()).hexdigest()[:16]}",
        "recipe": json.dumps([recipe.to_dict(), augmentation], sort_keys=True, default=str),
        "seed": str(seed),
        "torch": str(torch.__version__),
    }


def _restore(path: Path | None, run: dict[str, str], student: OnnxNetwork, optimizer: torch.optim.Optimizer) -> int:
    """Loads the state at `path`, if it is one of this run; the number of epochs that it has behind it."""
    try:
        state = load_state(path, run) if path is not None else None
    except InputFileError:
        return 0  # of another run: it would have been removed, had that run ended
    if state is None:
        return 0
    with torch.no_grad():
        for index, parameter in enumerate(student.parameters()):
            parameter.copy_(state.model[str(index)])
    optimizer.load_state_dict(state.optimizer)
    return state.epoch
