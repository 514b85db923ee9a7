"""A compiled network on a device: the functions of a bundle's library, called over an RPC session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import tvm

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle
    from shufflec.devices.session import Region, Session


class RemoteNetwork:
    """Uploads a bundle's library through a session and calls it.

    Raises DeviceError from every method when the connection is lost, hangs or the device refuses the library.
    """

    def __init__(self, bundle: Bundle, session: Session):
        self.bundle = bundle
        self.session = session
        with session.guard("load the compiled network"):
            self.module = session.upload_module(bundle.library_path)
            self.device = session.cpu
            # One for all runs: the time of a virtual board's caches depends on where it lies.
            self._input = tvm.runtime.empty(bundle.input_shape, "float32", self.device)
            self._output = tvm.runtime.empty(bundle.output_shape, "float32", self.device)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Logits float32 (1, classes) of one input, float32 (1, 3, H, W)."""
        with self.session.guard("run the network"):
            self.module["run"](self._remote(x), self._output)
            return self._output.numpy()

    def layer_outputs(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Runs layer after layer; yields each layer's output, dense NHWC without the batch."""
        with self.session.guard("run the network layer by layer"):
            self.module["set_input"](self._remote(x))
            layer, read = self.module["layer"], self.module["read_tensor"]
        for i, description in enumerate(self.bundle.layers):
            with self.session.guard(f"run layer {description.name}"):
                layer(i)
                out = tvm.runtime.empty(description.output_shape, description.output_dtype, self.device)
                read(i, out)
                value = out.numpy()
            yield value

    def time_nothing(self, min_repeat_ms: int) -> float:
        """Milliseconds of a call that does nothing: what every timed call costs on top of its work."""
        with self.session.guard("measure an empty call"):
            return self._milliseconds("layer_count", min_repeat_ms)

    def time_whole(self, x: np.ndarray, min_repeat_ms: int) -> float:
        """Milliseconds of one run by the device's own clock, averaged over at least min_repeat_ms of runs."""
        with self.session.guard("measure the network"):
            return self._milliseconds("run", min_repeat_ms, self._remote(x), self._output)

    def set_input(self, x: np.ndarray) -> None:
        """Gives the input that the layers of time_layer work on."""
        with self.session.guard("set the network's input"):
            self.module["set_input"](self._remote(x))

    def time_layer(self, index: int, min_repeat_ms: int) -> float:
        """The same for one layer; call it in order, after set_input."""
        with self.session.guard(f"measure layer {self.bundle.layers[index].name}"):
            return self._milliseconds("layer", min_repeat_ms, index)

    def layer_regions(self) -> list[Region]:
        """What a virtual board counts in a call that does nothing, then in each layer; call it after set_input.

        Each layer finds in the caches what the one before it left there, as in the second of two inferences.
        """
        return self.session.time_each(self.module, "layer", "layer_count", len(self.bundle.layers))

    def _milliseconds(self, function: str, min_repeat_ms: int, *arguments: object) -> float:
        evaluator = self.module.time_evaluator(function, self.device, number=1, min_repeat_ms=min_repeat_ms)
        return float(1e3 * evaluator(*arguments).mean)

    def _remote(self, x: np.ndarray):
        self._input.copyfrom(np.ascontiguousarray(x, np.float32))
        return self._input
