"""Times on a phone that the ShuffleNet paper gives."""

from __future__ import annotations

from shufflec.models.architecture import Architecture
from shufflec.models.families import AnyArchitecture

PHONE = "Snapdragon 820, 1 thread (paper, table 8)"

# Milliseconds by (groups, scale) and (height, width): arXiv 1707.01083v2, table 8.
_PHONE_MS = {
    (3, 0.5): {(224, 224): 15.2, (480, 640): 87.4, (720, 1280): 260.1},
    (3, 1.0): {(224, 224): 37.8, (480, 640): 222.2, (720, 1280): 684.5},
    (3, 2.0): {(224, 224): 108.8, (480, 640): 617.0, (720, 1280): 1857.6},
}


def published_phone_ms(arch: AnyArchitecture) -> float | None:
    """Milliseconds of one inference on PHONE as published for this network and input size, or None."""
    if not isinstance(arch, Architecture) or arch.variant != "paper" or arch.stem_channels is not None:
        return None
    if not arch.shuffle or arch.classes != 1000:
        return None
    return _PHONE_MS.get((arch.groups, arch.scale), {}).get(tuple(arch.input_size))
