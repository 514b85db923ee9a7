"""The moving average of a network's weights, which often is a better network than the last step's."""

from __future__ import annotations

import torch


class MovingAverage:
    """average = d * average + (1 - d) * weights, over parameters and batch-norm statistics, in float32.

    d is (1 + n) / (10 + n) at the n-th update until it reaches `decay`: the random first weights are soon forgotten,
    also in a short run. Batch counters are copied.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        self._decay = decay
        self._updates = 0
        self._average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        """Takes the model's present weights into the average."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self._average[name].lerp_(tensor, 1.0 - decay)
            else:
                self._average[name].copy_(tensor)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The average as a state dict of the model."""
        return self._average

    def state_dict(self) -> dict[str, object]:
        """What `load_state_dict` needs to go on bit for bit."""
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Raises KeyError, TypeError or RuntimeError for a state of another network."""
        updates, average = state["updates"], state["average"]
        if set(average) != set(self._average):
            raise KeyError("average")
        for name, tensor in average.items():
            self._average[name].copy_(tensor)
        self._updates = int(updates)
