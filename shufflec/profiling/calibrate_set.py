"""The networks and layers that a board is calibrated with, compiled for it.

They span what the three parameters stand for: convolutions that compute, pools and depthwise convolutions that write
more than the first cache holds, and the first layers of a large input, which stream from and to DRAM. Weights are
random: the time does not depend on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shufflec.backends.bundle import Bundle
from shufflec.backends.compile import compile_model
from shufflec.backends.manifest import FileEntry
from shufflec.files import write_atomic
from shufflec.models.architecture import Architecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.prepare import prepare_model
from shufflec.targets.target import Target

_WHOLE = ", whole"
_LAYERS = (
    "quantize",
    "stem.pool",
    "stage2.0.dw",
    "stage2.0.pool",
    "stage2.1.conv1",
    "stage2.1.conv2",
    "stage4.3.conv2",
    "classifier",
)


@dataclass(frozen=True)
class Recipe:
    """A network to calibrate with, and the names of the layers that are timed alone."""

    name: str
    architecture: Architecture
    layers: tuple[str, ...] = ()


#: The smallest first: what is wrong with a board shows early.
RECIPES = (
    Recipe("g8 0.25x 32x32", Architecture(8, 0.25, classes=10, input_size=(32, 32))),
    Recipe("g3 0.5x 96x96", Architecture(3, 0.5, classes=100, input_size=(96, 96)), ("stem.pool", "stage2.1.conv1")),
    Recipe("g8 1x 224x224", Architecture(8, 1.0, classes=1000, input_size=(224, 224)), _LAYERS),
    Recipe("g3 0.5x 480x480", Architecture(3, 0.5, classes=1000, input_size=(480, 480)), _LAYERS),
)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Workload:
    """Something to time: a whole network, or one of its layers by index."""

    name: str
    network: str
    layer: int | None


@dataclass(frozen=True)
class Network:
    """A compiled network and what of it is timed."""

    name: str
    bundle: Bundle
    workloads: tuple[Workload, ...]


def build_networks(
    target: Target,
    folder: Path,
    recipes: Sequence[Recipe] = RECIPES,
    progress: Progress = lambda phase, done, total: None,
) -> list[Network]:
    """Compiles the networks for a board; libraries go to `folder`, which must live as long as they are used."""
    networks = []
    for number, recipe in enumerate(recipes):
        progress(f"compiling {recipe.name}", number, len(recipes))
        networks.append(_build(recipe, target, folder / str(number)))
    progress("compiling", len(recipes), len(recipes))
    return networks


def _build(recipe: Recipe, target: Target, folder: Path) -> Network:
    prepared = prepare_model(random_checkpoint(recipe.architecture))
    compiled = compile_model(prepared.model, target, f"calibration{recipe.name}")
    entry = FileEntry(len(compiled.library), hashlib.sha256(compiled.library).hexdigest())
    write_atomic(folder / compiled.library_name, compiled.library)
    bundle = Bundle(folder, compiled.manifest({compiled.library_name: entry}), compiled.integer.graph)
    return Network(recipe.name, bundle, workloads_of(recipe, bundle))


def workloads_of(recipe: Recipe, bundle: Bundle) -> tuple[Workload, ...]:
    """The whole network, then its layers in the recipe."""
    layers = [
        Workload(f"{recipe.name}, {layer.name}", recipe.name, i)
        for i, layer in enumerate(bundle.layers)
        if layer.name in recipe.layers
    ]
    return Workload(recipe.name + _WHOLE, recipe.name, None), *layers


def is_whole(workload: str) -> bool:
    """Whether a workload, by its name, is a whole network."""
    return workload.endswith(_WHOLE)
