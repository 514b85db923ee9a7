"""Batch norm over the images of all processes, on any device (torch's own is for GPUs alone)."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn


class SyncBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose training statistics are those of all processes' batches, which have to be equally large."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        x32 = x.float()
        count = x32.numel() // x32.shape[1] * distributed.get_world_size()
        total = _SumOverProcesses.apply(x32.sum((0, 2, 3)))
        mean = total / count
        centred = x32 - mean[:, None, None]
        # Around the common mean: a difference of large sums would lose the small variances.
        variance = _SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            part = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, part)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), part)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Turns every BatchNorm2d of `model` into one over all processes, in place; weights and names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d
    return model


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs: the sum takes part in all losses."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
