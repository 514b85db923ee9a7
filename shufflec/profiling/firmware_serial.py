"""A bundle's firmware on a board behind a serial line: answers, checks, and measured cycles where it counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from shufflec.backends.baremetal.serial import model_digest
from shufflec.devices.serial_board import LOGITS, TENSOR, Line, SerialBoard
from shufflec.errors import DeviceError, InputFileError
from shufflec.ir import reference
from shufflec.profiling.check_bundle import check_bundle
from shufflec.profiling.firmware import FirmwareProfile, profile_firmware
from shufflec.profiling.profile import Figure, Profile
from shufflec.profiling.verify import verify

if TYPE_CHECKING:
    from shufflec.backends.bundle import Bundle

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class SerialProfile:
    """Cost of one inference on a board. measured: None for a core without a cycle counter. stack_bytes: the deepest
    the stack was below the main loop; emulated: what counts instead, where nothing could be measured."""

    board: str
    inputs: int
    stack_bytes: int
    measured: Profile | None
    cycles: int | None
    layer_cycles: tuple[int, ...] | None
    clock_hz: int
    emulated: FirmwareProfile | None

    @property
    def profile(self) -> Profile:
        """Measured, or counted on the emulated board."""
        return self.measured or self.emulated.profile


class SerialNetwork:
    """A bundle's network on a board. Raises DeviceError for a board with another model, or that is lost."""

    def __init__(self, bundle: Bundle, line: Line, timeout_s: float, **options: float):
        check_bundle(bundle)
        self.bundle, self._graph = bundle, bundle.graph()
        self.digest = bundle_digest(bundle)
        self.device = SerialBoard(line, timeout_s, **options)
        self.device.check_model(self.digest, bundle.name)
        found = (self.device.board.input_bytes, self.device.board.classes, self.device.board.layers)
        expected = (int(np.prod(bundle.input_shape)), bundle.output_shape[1], len(bundle.layers))
        if found != expected:
            raise DeviceError(
                f"the firmware at {line.path} takes {found[0]} bytes to {found[1]} classes in {found[2]} layers, "
                f"the bundle {expected[0]} to {expected[1]} in {expected[2]}",
                "compile and export the model again",
            )
        self.stack_bytes = 0

    def send(self, x: np.ndarray) -> None:
        """Puts an input, float32 (1, 3, H, W), on the board, quantized here as an application does it."""
        self.device.write_input(np.ascontiguousarray(reference.quantize(self._graph.ops[0], x), np.int8).tobytes())

    def run(self, x: np.ndarray) -> np.ndarray:
        """Logits float32 (1, classes) of one input."""
        self.send(x)
        self.cycles()
        sums = np.frombuffer(self.device.read(LOGITS, 4 * self.bundle.output_shape[1]), "<i4")
        return reference.dequantize(self._graph.ops[-1], sums.reshape(1, 1, -1))

    def cycles(self) -> int:
        """Of one inference on the input that is there."""
        ran = self.device.run()
        self.stack_bytes = max(self.stack_bytes, ran.bytes)
        return ran.cycles

    def layer_cycles(self) -> list[int]:
        """Of every layer, on the input that is there."""
        return [self.device.run_layer(number).cycles for number in range(len(self.bundle.layers))]

    def layer_outputs(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Each layer's output, dense NHWC without the batch."""
        self.send(x)
        for number, layer in enumerate(self.bundle.layers):
            value = np.empty(layer.output_shape, layer.output_dtype)
            size = self.device.run_layer(number).bytes
            if size != value.nbytes:
                raise DeviceError(f"layer {layer.name} is {size} bytes on the board, {value.nbytes} in the bundle")
            data = np.frombuffer(self.device.read(TENSOR, size), value.dtype.newbyteorder("<"))
            yield data.astype(value.dtype).reshape(value.shape)


def bundle_digest(bundle: Bundle) -> bytes:
    """What firmware made of this bundle says that it was built from."""
    files = (bundle.path / "src" / "shufflec_model.c", bundle.library_path)
    for path in files:
        if not path.is_file():
            raise InputFileError(path, "is missing from the bundle", "compile the model again")
    return model_digest(*(path.read_bytes() for path in files))


def profile_serial(
    bundle: Bundle,
    line: Line,
    inputs: Sequence[np.ndarray],
    repeats: int,
    timeout_s: float,
    progress: Progress = lambda phase, done, total: None,
    say: Say = lambda _: None,
    **options: float,
) -> SerialProfile:
    """Checks a bundle's firmware on a board, then takes the median cycles of inferences and of every layer.

    inputs: float32 (1, 3, H, W) each. timeout_s: how long one request may take. options: of SerialBoard. A board that
    counts no cycles is checked all the same; its instructions are counted on the emulated board of its core. Raises
    WrongResultError that names the first wrong layer, DeviceError, and what profile_firmware does.
    """
    network = SerialNetwork(bundle, line, timeout_s, **options)
    verify(network, bundle.graph(), bundle.layers, inputs, partial(progress, "checking outputs"))
    board = network.device.board
    clock = board.clock_hz or bundle.target.clock_hz
    if not board.counts_cycles:
        say(f"{board.name} counts no cycles: instructions are counted on the emulated board")
        emulated = profile_firmware(bundle, inputs[:1], progress, say)
        return SerialProfile(board.name, len(inputs), network.stack_bytes, None, None, None, clock, emulated)
    network.send(inputs[0])
    whole, layers = [], []
    for done in range(repeats):
        progress("measuring", done, repeats)
        whole.append(network.cycles())
        layers.append(network.layer_cycles())
    cycles = round(median(whole))
    layer_cycles = tuple(round(median(column)) for column in zip(*layers, strict=True))
    profile = Profile(
        "measured",
        line.path,
        1,
        repeats,
        len(inputs),
        Figure(1e3 * cycles / clock, None),
        tuple(Figure(1e3 * count / clock, None) for count in layer_cycles),
    )
    return SerialProfile(board.name, len(inputs), network.stack_bytes, profile, cycles, layer_cycles, clock, None)
