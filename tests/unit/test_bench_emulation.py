"""Running engines under emulation: the counter's protocol, the board that they see, downloads that fail."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import pytest

from shufflec.bench import arm64_python, emulate
from shufflec.bench.board_files import board_root, processor_files
from shufflec.bench.emulate import COUNTERS_MAGIC, ESTIMATE_WORDS, MAX_THREADS, count_of_one_run, time_of_one_run
from shufflec.bench.peers import PEERS
from shufflec.devices.build import NATIVE
from shufflec.errors import DeviceError, ToolMissingError
from shufflec.targets.target import INSTRUCTION_CLASSES, load_target
from shufflec.timing.clock_protocol import ANSWER_BYTES, pack_estimate, pack_problem
from shufflec.timing.estimate import Estimate

_CLASSES = len(INSTRUCTION_CLASSES)


def _words(*first_thread: int, second: int = 0, exact: int = 1, magic: int = COUNTERS_MAGIC) -> list[int]:
    counts = [*first_thread, second, *[0] * (MAX_THREADS * _CLASSES - len(first_thread) - 1)]
    return [magic, 1, exact, *counts, *[9] * ESTIMATE_WORDS]


def test_protocol_is_that_of_the_native_sources() -> None:
    header = (NATIVE / "common" / "counters.h").read_text()

    def number(pattern: str) -> int:
        return int(re.search(pattern, header)[1], 0)

    assert number(r"#define SHUFFLEC_SYSCALL (\w+)") == emulate.SYSTEM_CALL
    assert number(r"SHUFFLEC_REGION_START = (\d+)") == emulate.REGION_START
    assert number(r"SHUFFLEC_REGION_STOP = (\d+)") == emulate.REGION_STOP
    assert number(r"SHUFFLEC_SESSION_START = (\d+)") == emulate.SESSION_START
    assert number(r"#define SHUFFLEC_COUNTERS_MAGIC UINT64_C\((\w+)\)") == COUNTERS_MAGIC
    assert number(r"#define SHUFFLEC_MAX_THREADS (\d+)") == MAX_THREADS
    fields = re.search(r"struct ShufflecCounters \{(.*?)\};", header, re.DOTALL)[1]
    assert re.findall(r"uint64_t (\w+)", fields) == ["magic", "regions", "exact", "instructions"]
    assert 8 * ESTIMATE_WORDS == ANSWER_BYTES


def test_threads_add_up_and_the_empty_region_is_taken_off() -> None:
    run = _words(1010, 20, 30, 40, 50, 60, 7000, second=5)
    counts = count_of_one_run(_words(10, 0, 0, 0, 0, 0, 100), [run, run])
    assert counts == dict(zip(INSTRUCTION_CLASSES, [1005, 20, 30, 40, 50, 60, 6900], strict=True))


def _timed(nanoseconds: float) -> list[int]:
    estimate = Estimate(nanoseconds, 0.0, 0.0, 0.0, 0, 0, 0)
    tail = struct.unpack(f"<{ESTIMATE_WORDS}Q", pack_estimate(estimate))
    return [*_words(1)[:-ESTIMATE_WORDS], *tail]


def test_time_is_the_last_runs_less_the_empty_regions() -> None:
    assert time_of_one_run(_timed(1e6), _timed(16e6)) == 15.0
    nothing = [*_words(1)[:-ESTIMATE_WORDS], *[0] * ESTIMATE_WORDS]
    assert time_of_one_run(nothing, nothing) is None


def test_a_clock_that_could_not_tell_says_why() -> None:
    failed = [*_words(1)[:-ESTIMATE_WORDS], *struct.unpack(f"<{ESTIMATE_WORDS}Q", pack_problem("block 7 is odd"))]
    with pytest.raises(DeviceError, match="no estimated time: block 7 is odd"):
        time_of_one_run(_timed(1.0), failed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (_words(1, exact=0), "was not started for"),
        (_words(1, magic=7), "another layout"),
        (_words(1)[:-1], "another layout"),
        ([], "another layout"),
    ],
)
def test_a_count_that_cannot_be_trusted_is_refused(words: list[int], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        count_of_one_run(_words(0), [_words(1), words])


def test_runs_that_differ_are_refused() -> None:
    with pytest.raises(DeviceError, match="vary: 1000000 and 1020000"):
        count_of_one_run(_words(0), [_words(1_000_000), _words(1_020_000)])


def test_caches_are_the_targets() -> None:
    files = processor_files(load_target("rasp5"))
    assert files["cpu3/cache/index0/size"] == "64K\n"
    assert files["cpu3/cache/index0/shared_cpu_list"] == "3\n"
    assert (files["cpu0/cache/index1/level"], files["cpu0/cache/index1/size"]) == ("2\n", "512K\n")
    assert files["cpu0/cache/index2/shared_cpu_list"] == "0-3\n"
    assert "cpu4/topology/core_id" not in files


def test_a_board_is_made_once_and_changes_with_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    python_root = tmp_path / "python"
    for name in ("lib", "usr", "etc"):
        (python_root / name).mkdir(parents=True)
    first, second = (board_root(load_target(name), python_root) for name in ("rasp4", "rasp5"))
    assert first != second
    assert board_root(load_target("rasp4"), python_root) == first
    assert "0xd08" in (first / "proc" / "cpuinfo").read_text()
    assert "asimddp" in (second / "proc" / "cpuinfo").read_text()
    assert (first / "usr").resolve() == python_root / "usr"
    assert (first / "sys/devices/system/cpu/cpu0/cache/index1/size").read_text() == "1024K\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    return tmp_path


def test_a_failed_download_says_why_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = cache / "pip"
    pip.write_text("#!/bin/sh\necho 'ERROR: no such wheel' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(ToolMissingError, match=r"compare with ncnn==1.*no such wheel"):
        arm64_python.arm64_packages(["ncnn==1"], lambda _: None)
    assert list((cache / "bench").iterdir()) == []


def test_without_apt_the_tool_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(ToolMissingError, match="apt-get is not installed"):
        arm64_python.arm64_root(lambda _: None)


def test_a_failed_install_of_host_packages_says_why(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = cache / "pip"
    pip.write_text("#!/bin/sh\necho 'ERROR: no such package' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(ToolMissingError, match=r"compare with tool==1.*no such package"):
        arm64_python.host_packages(["tool==1"], lambda _: None)
    assert list((cache / "bench").iterdir()) == []


def test_every_peer_is_pinned_and_has_its_engine_in_the_guest() -> None:
    script = (Path(emulate.__file__).parent / "guest" / "run_engine.py").read_text()
    table = script[script.index("ENGINES = {") :]
    for peer in PEERS:
        assert f'"{peer.engine}": {peer.engine}_engine' in table
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", requirement) for requirement in peer.requirements)
    assert len({peer.key for peer in PEERS}) == len(PEERS)
