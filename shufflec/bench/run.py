"""Runs the comparison: every network, board and engine in turn; one that fails does not stop the others."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shufflec import __version__
from shufflec.bench.arm64_python import PYTHON, arm64_packages, arm64_root
from shufflec.bench.board_files import board_root
from shufflec.bench.emulate import Board, run_peer
from shufflec.bench.own_row import run_shufflec
from shufflec.bench.peers import PEERS, Peer
from shufflec.bench.report import OWN_NAME, BenchReport, Row, correlation
from shufflec.bench.workload import Workload, make_workload
from shufflec.devices.build import build_lock, build_plugin
from shufflec.devices.emulator import find_emulator
from shufflec.errors import OptionError, ShufflecError
from shufflec.targets.target import Target

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]

WORKLOAD = "ShuffleNetV1 1.0x, 224x224, 1000 classes, batch 1, random weights (latency work: no trained accuracy)."
METHOD = (
    "Executed AArch64 instructions of one inference on 1 thread, under qemu-user with each board's core, counted by a "
    "plugin between two marks in the running engine; the third inference counts. r is the correlation of the logits "
    "with the float model's (ONNX Runtime on this machine). Instructions are not time: a real board decides that."
)
_OWN_PRECISION = "int8"
_OWN_HOW = "the QDQ file by NNCF, compiled and profiled over RPC on the virtual board; equal to the integer reference"


@dataclass(frozen=True)
class _Guest:
    """What peers need, made at the first of them. error: why it cannot be had."""

    python: Path | None
    qemu: Path | None
    plugin: Path | None
    error: str = ""


def select(pattern: str) -> tuple[bool, list[Peer]]:
    """(whether shufflec itself is meant, peers) whose name contains `pattern`, whatever the case.

    Raises OptionError when nothing matches.
    """
    wanted = pattern.lower()
    own = wanted in f"{OWN_NAME} {_OWN_PRECISION}"
    peers = [peer for peer in PEERS if wanted in peer.key.lower()]
    if not own and not peers:
        known = ", ".join([OWN_NAME, *(peer.key for peer in PEERS)])
        raise OptionError("--engine", pattern, f"no engine has this in its name; known: {known}")
    return own, peers


def run_bench(
    targets: Sequence[Target], groups: Sequence[int], pattern: str, say: Say, progress: Progress
) -> BenchReport:
    """Measures the engines whose name contains `pattern` (all for "") on every target and number of groups.

    say: told before anything that takes time. progress(what, done, total): before every
    measurement.
    """
    own, peers = select(pattern)
    total = len(groups) * len(targets) * (own + len(peers))
    rows: list[Row] = []
    macs = {}
    with tempfile.TemporaryDirectory(prefix="shufflec-bench-") as name:
        say(f"building and quantizing the networks: g={', '.join(map(str, groups))}")
        workloads = [make_workload(count, Path(name) / f"g{count}") for count in groups]
        guest = _guest(say) if peers else _Guest(None, None, None)
        for target in targets:
            for workload in workloads:
                macs[workload.groups] = workload.macs
                for peer in [*([None] if own else []), *peers]:
                    what = f"{peer.key if peer else OWN_NAME} on {target.name}, g={workload.groups}"
                    progress(what, len(rows), total)
                    if peer is None:
                        rows.append(_own_row(workload, target))
                    else:
                        rows.append(_peer_row(peer, workload, target, guest, say))
    return BenchReport(WORKLOAD, METHOD, macs, _environment(guest), tuple(rows))


def _own_row(workload: Workload, target: Target) -> Row:
    row = Row(target.name, target.core, workload.groups, OWN_NAME, _OWN_PRECISION, _OWN_HOW, __version__)
    try:
        run = run_shufflec(workload, target)
    except ShufflecError as error:
        return replace(row, reason=str(error))
    return replace(
        row,
        instructions=run.instructions,
        correlation=correlation(run.output, workload.reference),
        milliseconds=round(run.milliseconds, 3),
    )


def _peer_row(peer: Peer, workload: Workload, target: Target, guest: _Guest, say: Say) -> Row:
    row = Row(target.name, target.core, workload.groups, peer.name, peer.precision, peer.how, "")
    if guest.error:
        return replace(row, reason=guest.error)
    try:
        packages = arm64_packages(peer.requirements, say)
        board = Board(target, board_root(target, guest.python), guest.qemu, guest.plugin)
        folder = workload.folder / peer.key.replace(" ", "-").replace(",", "")
        folder.mkdir(exist_ok=True)
        run = run_peer(board, peer, packages, peer.convert(workload, folder), workload.input)
    except ShufflecError as error:
        return replace(row, reason=str(error))
    except Exception as error:  # other projects' quantizers and converters raise what they like
        return replace(row, reason=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return replace(
        row,
        version=run.version,
        instructions=run.instructions,
        correlation=correlation(run.output, workload.reference),
    )


def _guest(say: Say) -> _Guest:
    try:
        emulator = find_emulator()
        with build_lock():
            plugin = build_plugin(emulator.plugin_api, say)
        return _Guest(arm64_root(say), emulator.program, plugin)
    except ShufflecError as error:
        return _Guest(None, None, None, str(error))


def _environment(guest: _Guest) -> dict[str, str]:
    """Versions of what decides the figures on this side."""
    packages = ("apache-tvm", "apache-tvm-ffi", "torch", "onnx", "nncf", "onnxruntime", "numpy")
    versions = {"shufflec": __version__, **{name: importlib.metadata.version(name) for name in packages}}
    if guest.qemu is not None:
        versions["qemu-aarch64"] = find_emulator().version
        versions["guest Python"] = PYTHON.removeprefix("python")
    return versions
