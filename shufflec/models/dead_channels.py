"""How to speak of batch norms that have channels without any variance."""

from __future__ import annotations

from collections.abc import Sequence


def no_variance_note(channels: Sequence[tuple[str, int]]) -> str | None:
    """The sentence on these (batch norm, channel)."""
    if not channels:
        return None
    name, channel = channels[0]
    count = "1 batch-norm channel has" if len(channels) == 1 else f"{len(channels)} batch-norm channels have"
    return (
        f"{count} no variance, the first is channel {channel} of {name}: folding makes its weights hundreds of times "
        "as large, so images unlike the training's may spoil the int8 range of the whole layer."
    )
