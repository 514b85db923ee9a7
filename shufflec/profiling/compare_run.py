"""Profiles the bundles of a comparison: each afresh, on a virtual board of its own or all on one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shufflec.backends.bundle import Bundle, open_bundle
from shufflec.errors import OptionError
from shufflec.profiling.compare import MOST_SIDES
from shufflec.profiling.compare_side import Side
from shufflec.profiling.firmware import profile_firmware
from shufflec.profiling.inputs import seeded_inputs
from shufflec.profiling.open_device import CALL_TIMEOUT_S, open_device
from shufflec.profiling.profile import Profile, profile_bundle
from shufflec.targets.target import Target, with_clock

# A real board is asked this often, the bundles in turn: what drifts hits all of them, and shows.
ROUNDS, REPEATS = 3, 5

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Device:
    """Where to profile. address: of an RPC server, None for a virtual board each. threads: None leaves a device as it
    is. timeout_s: the longest that one answer may take."""

    address: str | None = None
    key: str = ""
    threads: int | None = None
    timeout_s: float = CALL_TIMEOUT_S


def open_bundles(paths: Sequence[Path], clock: str | None = None) -> list[Bundle]:
    """The bundles to compare. clock: of the virtual boards, as in 1.5GHz; None: each target's.

    Raises OptionError for fewer than two, too many, or one that is given twice; InputFileError as `open_bundle`.
    """
    if not 2 <= len(paths) <= MOST_SIDES:
        given = "none" if not paths else str(paths[0]) if len(paths) == 1 else f"{len(paths)} bundles"
        raise OptionError("BUNDLE...", given, f"expected 2 to {MOST_SIDES} bundles to compare")
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise OptionError("BUNDLE...", path, "is given twice", "a bundle equals itself")
        seen.add(path.resolve())
    bundles = [open_bundle(path) for path in paths]
    return [one.with_target(with_clock(one.target, clock)) for one in bundles] if clock else bundles


def profile_sides(
    bundles: Sequence[Bundle],
    device: Device,
    inputs: int = 2,
    progress: Progress = lambda phase, done, total: None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Side]:
    """Profiles the bundles, each output checked bit for bit. A virtual board's figures are the same every time: once
    is enough there; other devices are asked ROUNDS times. Raises as `open_device` and `profile_bundle`, and OptionError
    for an address with firmware, which QEMU's board runs."""
    rounds: list[list[Profile]] = [[] for _ in bundles]
    for number in range(ROUNDS):
        for letter, bundle, done in zip(letters(len(bundles)), bundles, rounds, strict=True):
            if done and done[0].kind == "simulated":
                continue
            checked = seeded_inputs(bundle.preprocessing, inputs if number == 0 else 1)
            shown = lambda phase, at, total, letter=letter: progress(f"{letter}: {phase}", at, total)  # noqa: E731
            done.append(_profile(bundle, device, checked, shown, say))
    names = letters(len(bundles))
    return [
        make_side(letter, bundle, tuple(done), device.address)
        for letter, bundle, done in zip(names, bundles, rounds, strict=True)
    ]


def _profile(
    bundle: Bundle, device: Device, inputs: list[np.ndarray], progress: Progress, say: Callable[[str], None]
) -> Profile:
    if bundle.target.family == "baremetal":
        if device.address is not None:
            raise OptionError("--rpc", device.address, f"{bundle.target.name} has no RPC server", "leave it out")
        return profile_firmware(bundle, inputs, progress, say).profile
    where = (device.address, device.key, device.threads, device.timeout_s, say)
    with open_device(bundle.target, *where) as session:
        return profile_bundle(bundle, session, inputs, REPEATS, progress)


def letters(count: int) -> str:
    """A, B, ... for the sides."""
    return "".join(chr(ord("A") + i) for i in range(count))


def board_of(target: Target, address: str | None) -> str:
    """What tells one board from another: the device's address, or the virtual board's figures without its name."""
    if address is not None:
        return address
    if target.family == "host":
        return "this machine"
    return f"virtual {target.core} {target.clock_hz} {sorted(target.caches.items())} {target.time}"


def make_side(letter: str, bundle: Bundle, rounds: tuple[Profile, ...], address: str | None) -> Side:
    """A side from a bundle and its profiles. address: of the device, None for one that was started for it; a virtual
    board says itself which board it is."""
    contents, known = bundle.manifest.contents, rounds[0].board
    return Side(
        letter=letter,
        label=bundle.name,
        path=str(bundle.path),
        target=known or bundle.target,
        board=board_of(bundle.target, address) if known is None else board_of(known, None),
        input_size=contents.input_shape[2:],
        macs=contents.macs,
        library_sha256=contents.files[contents.library].sha256,
        layers=bundle.layers,
        rounds=rounds,
    )
