"""Runs the comparison: every network, board and engine in turn; one that fails does not stop the others."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from shufflec import __version__
from shufflec.bench.arm64_python import PYTHON, arm64_packages, arm64_root
from shufflec.bench.board_files import board_root
from shufflec.bench.emulate import Board, run_peer
from shufflec.bench.own_row import own_key, run_shufflec
from shufflec.bench.peers import PEERS, Peer, PeerModel
from shufflec.bench.report import OWN_NAME, BenchReport, Row, correlation, network_title
from shufflec.bench.saved import Job, Progress, complete, source_digest
from shufflec.bench.workload import Workload, bench_architecture, make_workload
from shufflec.devices.build import build_lock, build_plugin
from shufflec.devices.emulator import find_emulator
from shufflec.errors import OptionError, ShufflecError
from shufflec.models.complexity import complexity
from shufflec.targets.target import Target

Say = Callable[[str], None]

WORKLOAD = (
    "ShuffleNetV1 1.0x (paper) and ShuffleNetV2 1.0x (torchvision), 224x224, 1000 classes, batch 1, random weights "
    "(latency work: no trained accuracy)."
)
METHOD = (
    "Executed AArch64 instructions of one inference on 1 thread, under qemu-user with each board's core, counted by a "
    "plugin between two marks in the running engine; the third inference counts. r is the correlation of the logits "
    "with the float model's (ONNX Runtime on this machine). ms: the virtual board's estimate for the same inference, "
    "for every engine by the same core and cache models; engines that start threads of their own have none. Estimated, "
    "not measured: see the README on how far to trust it."
)
_OWN_PRECISION = "int8"
_OWN_HOW = "the QDQ file by NNCF, compiled and profiled over RPC on the virtual board; equal to the integer reference"
#: What decides a peer's row on our side.
_PEER_ROOMS = ("models", "quantize", "bench", "timing", "devices/native", "devices/guest_files.py", "devices/build.py")


_MODELS: dict[Path, PeerModel] = {}


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
    targets: Sequence[Target],
    groups: Sequence[int | None],
    pattern: str,
    say: Say,
    progress: Progress,
    fresh: bool = False,
) -> BenchReport:
    """Measures the engines whose name contains `pattern` (all for "") on every target and number of groups.

    groups: of ShuffleNetV1; None for ShuffleNetV2.

    say: told before anything that takes time. progress(what, done, total): before every measurement. fresh: measures
    again what an earlier run has kept.
    """
    own, peers = select(pattern)
    with tempfile.TemporaryDirectory(prefix="shufflec-bench-") as name:

        @cache
        def workload(count: int | None) -> Workload:
            say(f"building and quantizing the network: {network_title(count)}")
            return make_workload(count, Path(name) / network_title(count))

        @cache
        def guest() -> _Guest:
            return _guest(say)

        jobs = []
        for target in targets:
            for count in groups:
                if own:
                    jobs.append(_own_job(target, count, workload))
                jobs += [_peer_job(peer, target, count, workload, guest, say) for peer in peers]
        rows = tuple(Row(**found) for found in complete(jobs, progress, fresh))
    macs = {count: complexity(bench_architecture(count)).macs for count in groups}
    return BenchReport(WORKLOAD, METHOD, macs, _environment(bool(peers)), rows)


def _own_job(target: Target, groups: int | None, workload: Callable[[int | None], Workload]) -> Job:
    def run() -> dict:
        return asdict(_own_row(workload(groups), target))

    return Job(f"{OWN_NAME} on {target.name}, {network_title(groups)}", own_key(target, groups), run, _ran)


def _peer_job(peer: Peer, target: Target, groups: int | None, workload: Callable, guest: Callable, say: Say) -> Job:
    def run() -> dict:
        return asdict(_peer_row(peer, workload(groups), target, guest(), say))

    key = {
        "peer": peer.key,
        "requirements": peer.requirements,
        "options": dict(peer.options),
        "groups": groups,
        "target": target.to_dict(),
        "sources": source_digest(_PEER_ROOMS),
        "versions": _environment(emulated=False),
    }
    return Job(f"{peer.key} on {target.name}, {network_title(groups)}", key, run, _ran)


def _ran(row: dict) -> bool:
    return not row["reason"]


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
        run = run_peer(board, peer, packages, _converted(peer, workload), workload.input)
    except ShufflecError as error:
        return replace(row, reason=str(error))
    except Exception as error:  # other projects' quantizers and converters raise what they like
        return replace(row, reason=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return replace(
        row,
        version=run.version,
        instructions=run.instructions,
        correlation=correlation(run.output, workload.reference),
        milliseconds=None if run.milliseconds is None else round(run.milliseconds, 3),
    )


def _converted(peer: Peer, workload: Workload) -> PeerModel:
    """The engine's model, made for the first board only; a conversion can take minutes."""
    folder = workload.folder / peer.key.replace(" ", "-").replace(",", "")
    if folder not in _MODELS:
        folder.mkdir(exist_ok=True)
        _MODELS[folder] = peer.convert(workload, folder)
    return _MODELS[folder]


def _guest(say: Say) -> _Guest:
    try:
        emulator = find_emulator()
        with build_lock():
            plugin = build_plugin(emulator.plugin_api, say)
        return _Guest(arm64_root(say), emulator.program, plugin)
    except ShufflecError as error:
        return _Guest(None, None, None, str(error))


def _environment(emulated: bool) -> dict[str, str]:
    """Versions of what decides the figures on this side."""
    packages = ("apache-tvm", "apache-tvm-ffi", "torch", "onnx", "nncf", "onnxruntime", "numpy")
    versions = {"shufflec": __version__, **{name: importlib.metadata.version(name) for name in packages}}
    if emulated:
        try:
            versions["qemu-aarch64"] = find_emulator().version
        except ShufflecError as error:
            versions["qemu-aarch64"] = str(error)
        versions["guest Python"] = PYTHON.removeprefix("python")
    return versions
