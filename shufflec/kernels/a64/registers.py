"""A set of vector registers whose values go around a loop."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from shufflec.kernels.a64.emitter import Emitter, Value


class Registers:
    """One register a key; `initial` holds their values before the loop."""

    def __init__(self, e: Emitter, keys: Sequence[Hashable], initial: dict[Hashable, Value], dtype: str = "int32x4"):
        self.e, self.dtype = e, dtype
        self.index = {key: i for i, key in enumerate(keys)}
        self.array = e.local(len(keys), dtype)
        self.write(initial)

    def read(self) -> dict[Hashable, Value]:
        """The present values."""
        return {key: self.e.get(self.array, i, self.dtype) for key, i in self.index.items()}

    def write(self, values: dict[Hashable, Value]) -> None:
        """Assigns every register."""
        for key, i in self.index.items():
            self.e.put(self.array, i, values[key])
