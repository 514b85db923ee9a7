"""A bundle's firmware on the emulated board of its core: answers, checks and counted instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shufflec.devices.qemu_board import BoardRun, run_firmware
from shufflec.errors import InputFileError
from shufflec.ir import reference
from shufflec.profiling.check_bundle import check_bundle
from shufflec.profiling.profile import Figure, Profile
from shufflec.profiling.verify import verify
from shufflec.targets.target import Target

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class FirmwareProfile:
    """Cost of one inference. profile: instructions, as the reports take them. cycles: estimated from them by the
    target's cycles per class; None where it has none. stack_bytes: the deepest the stack was."""

    profile: Profile
    cycles: float | None
    layer_cycles: tuple[float | None, ...]
    stack_bytes: int


class FirmwareNetwork:
    """The test firmware of a bundle. Raises ToolMissingError or DeviceError where it cannot run."""

    def __init__(self, bundle: Bundle, say: Say = lambda _: None):
        check_bundle(bundle)
        self.bundle = bundle
        self._say = say
        path = bundle.library_path.with_suffix(".elf")
        if bundle.target.machine and not path.is_file():
            raise InputFileError(path, "is missing from the bundle", "compile the model again")
        self._elf = path.read_bytes() if bundle.target.machine else b""
        self._graph = bundle.graph()

    def start(self, inputs: Sequence[np.ndarray], layers: bool = False) -> BoardRun:
        """Runs float32 inputs, (1, 3, H, W) each, quantized here as an application does it."""
        codes = [reference.quantize(self._graph.ops[0], x) for x in inputs]
        return run_firmware(self.bundle.target, self._elf, codes, layers, self._say)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Logits float32 (1, classes) of one input."""
        return self.run_all([x])[0]

    def run_all(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Logits float32 (1, classes) of each input, in one run of the board."""
        return self.logits(self.start(inputs), len(inputs))

    def logits(self, run: BoardRun, count: int) -> list[np.ndarray]:
        """Logits of a run of whole inferences."""
        classes = self.bundle.output_shape[1]
        records = np.frombuffer(run.answer, np.uint8).reshape(count, 5 * classes)
        return [self._dequantized(record[: 4 * classes].view(np.int32)) for record in records]

    def layer_outputs(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Each layer's output, dense NHWC without the batch."""
        answer, at = self.start([x], layers=True).answer, 0
        for layer in self.bundle.layers:
            count = int(np.prod(layer.output_shape))
            value = np.frombuffer(answer, layer.output_dtype, count, at)
            at += value.nbytes
            yield value.reshape(layer.output_shape)

    def _dequantized(self, sums: np.ndarray) -> np.ndarray:
        return reference.dequantize(self._graph.ops[-1], sums.reshape(1, 1, -1))


def profile_firmware(
    bundle: Bundle,
    inputs: Sequence[np.ndarray],
    progress: Progress = lambda phase, done, total: None,
    say: Say = lambda _: None,
) -> FirmwareProfile:
    """Checks a bundle's firmware on its emulated board, then counts one inference, whole and layer by layer.

    inputs: float32 (1, 3, H, W) each. Raises WrongResultError that names the first wrong layer, ToolMissingError
    without QEMU, DeviceError when the firmware faults or writes outside of its arena.
    """
    network = FirmwareNetwork(bundle, say)
    verify(network, bundle.graph(), bundle.layers, inputs, partial(progress, "checking outputs"))
    progress("counting", 0, 2)
    whole = network.start(inputs[:1])
    progress("counting", 1, 2)
    layers = network.start(inputs[:1], layers=True)
    target = bundle.target
    profile = Profile(
        "simulated",
        f"qemu:{target.machine}",
        1,
        1,
        len(inputs),
        _figure(target, whole.regions[0]),
        tuple(_figure(target, region) for region in layers.regions),
    )
    cycles = tuple(_cycles(target, region) for region in layers.regions)
    return FirmwareProfile(profile, _cycles(target, whole.regions[0]), cycles, whole.stack_bytes)


def _figure(target: Target, region: dict[str, int]) -> Figure:
    cycles = _cycles(target, region)
    return Figure(1e3 * cycles / target.clock_hz if cycles is not None else 0.0, region)


def _cycles(target: Target, region: dict[str, int]) -> float | None:
    """Estimated cycles of counted instructions; memory wait states are not in it."""
    if not target.cycles:
        return None
    return sum(target.cycles[name] * count for name, count in region.items())
