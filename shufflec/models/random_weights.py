"""An untrained network for work on latency, marked as such in its checkpoint."""

from __future__ import annotations

import torch

from shufflec.data.preprocessing import variant_preprocessing
from shufflec.models.checkpoint import Checkpoint, weights_of
from shufflec.models.families import AnyArchitecture
from shufflec.models.networks import build

_BATCH = 4


def random_checkpoint(arch: AnyArchitecture, seed: int = 0) -> Checkpoint:
    """A checkpoint with random weights, the same for the same architecture and seed.

    The batch-norm statistics are those of one batch of noise, so that activations neither die out nor overflow over
    the 50 layers and quantization has realistic ranges to work on.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = build(arch)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the plain average over batches: here of the one batch
        model.train()(torch.randn(_BATCH, 3, *arch.input_size))
        state = weights_of(model)
    for name, tensor in state.items():
        if name.endswith("running_var"):
            # One pixel in one image has no variance to speak of; keep the scale that batch norm divides by sane.
            tensor.clamp_(min=1e-3)
    return Checkpoint(
        architecture=arch,
        preprocessing=variant_preprocessing(arch.variant, arch.input_size),
        class_names=[f"class {index}" for index in range(arch.classes)],
        state=state,
        seed=seed,
        random_weights=True,
    )
