"""One side of a comparison: a bundle and what it cost on a device."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

from shufflec.backends.manifest import LayerEntry
from shufflec.profiling.profile import Figure, Profile
from shufflec.profiling.uncertainty import time_percent
from shufflec.targets.target import Target

Kind = Literal["measured", "estimated", "counted"]
Key = tuple[str, str, int]  # name and kind of a layer, and how many like it came before


@dataclass(frozen=True)
class Side:
    """One bundle and its profile. letter: A, B, ... label, path: of the bundle. board: identity of the device, equal
    for bundles that ran on one. layers: of its manifest. rounds: profiles taken in turn with the other sides', one on
    a virtual board."""

    letter: str
    label: str
    path: str
    target: Target
    board: str
    input_size: tuple[int, int]
    macs: int
    library_sha256: str
    layers: tuple[LayerEntry, ...]
    rounds: tuple[Profile, ...]

    @property
    def profile(self) -> Profile:
        return self.rounds[0]

    @property
    def kind(self) -> Kind:
        if self.profile.whole.estimate is not None:
            return "estimated" if self.target.time is not None else "counted"
        return "counted" if self.profile.kind == "simulated" else "measured"

    @property
    def uncertainty_percent(self) -> float | None:
        """Of the whole network's estimated time; None for other kinds."""
        estimate = self.profile.whole.estimate
        return time_percent(self.target, estimate, self.profile.threads) if self.kind == "estimated" else None

    def times(self, layer: int | None) -> list[float]:
        """Milliseconds of a layer, None: the whole network, in each round."""
        return [self._figure(one, layer).milliseconds for one in self.rounds]

    def milliseconds(self, layer: int | None = None) -> float:
        """The median of `times`."""
        return median(self.times(layer))

    def instructions(self, layer: int | None = None) -> int | None:
        """Counted on a virtual board, else None."""
        return self._figure(self.profile, layer).total

    @staticmethod
    def _figure(profile: Profile, layer: int | None) -> Figure:
        return profile.whole if layer is None else profile.layers[layer]

    def places(self) -> dict[Key, int]:
        """Index of each layer by its key."""
        seen: dict[tuple[str, str], int] = {}
        places = {}
        for i, layer in enumerate(self.layers):
            number = seen.get((layer.name, layer.kind), 0)
            seen[layer.name, layer.kind] = number + 1
            places[layer.name, layer.kind, number] = i
        return places
