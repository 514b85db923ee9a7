"""Kept measurements: resumed, shared between processes, made again when what decides them changes."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from shufflec.bench import saved
from shufflec.bench.saved import Job, complete


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    return tmp_path / "bench" / "rows"


class Work:
    """Jobs that note when they run; `stop` makes one end like a process that is interrupted."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.stop = ""

    def job(self, name: str, version: int = 1, keep: bool = True) -> Job:
        def run() -> dict:
            if name == self.stop:
                raise KeyboardInterrupt
            self.ran.append(name)
            return {"name": name, "version": version}

        return Job(name, {"name": name, "version": version}, run, lambda _: keep)


def quiet(what: str, done: int, total: int) -> None:
    del what, done, total


def test_an_interrupted_run_goes_on_where_it_was() -> None:
    work, told = Work(), []
    work.stop = "c"
    jobs = [work.job(name) for name in "abcd"]
    with pytest.raises(KeyboardInterrupt):
        complete(jobs, quiet)
    work.stop = ""
    results = complete(jobs, lambda *progress: told.append(progress))
    assert [result["name"] for result in results] == ["a", "b", "c", "d"]
    assert work.ran == ["a", "b", "c", "d"]
    assert told == [("c", 2, 4), ("d", 3, 4)]


def test_what_decides_a_result_makes_it_anew() -> None:
    work = Work()
    assert complete([work.job("a")], quiet) == [{"name": "a", "version": 1}]
    assert complete([work.job("a", version=2)], quiet) == [{"name": "a", "version": 2}]
    assert work.ran == ["a", "a"]


def test_fresh_measures_again_and_keeps() -> None:
    work = Work()
    for fresh in (False, True, False):
        complete([work.job("a")], quiet, fresh)
    assert work.ran == ["a", "a"]


def test_a_failure_is_not_kept() -> None:
    work = Work()
    for _ in range(2):
        complete([work.job("a", keep=False)], quiet)
    assert work.ran == ["a", "a"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"result"', '{"key": {}}'])
def test_a_damaged_file_is_made_again(damage: str, cache: Path) -> None:
    work = Work()
    complete([work.job("a")], quiet)
    file = next(cache.glob("*.json"))
    file.write_text(damage)
    assert complete([work.job("a")], quiet) == [{"name": "a", "version": 1}]
    assert work.ran == ["a", "a"]


def test_what_another_process_is_measuring_comes_last_and_is_read(cache: Path) -> None:
    work = Work()
    complete([work.job("a")], quiet)
    kept = next(cache.glob("*.json"))
    content = kept.read_text()
    kept.unlink()
    with open(kept.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        results: list[dict] = []
        ours = threading.Thread(target=lambda: results.extend(complete([work.job("a"), work.job("b")], quiet)))
        ours.start()
        while "b" not in work.ran:
            ours.join(0.01)
            assert ours.is_alive()
        kept.write_text(content)
    ours.join(30)
    assert [result["name"] for result in results] == ["a", "b"]
    assert work.ran == ["a", "b"]


def test_sources_and_records_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    (package / "room").mkdir(parents=True)
    (package / "room" / "a.py").write_text("1")
    (package / "other.py").write_text("1")
    monkeypatch.setattr(saved, "PACKAGE", package)

    def digests() -> tuple[str, str]:
        saved.source_digest.cache_clear()
        return saved.source_digest(("",)), saved.source_digest(("room",))

    before = digests()
    (package / "other.py").write_text("2")
    between = digests()
    (package / "room" / "a.py").write_text("2")
    after = digests()
    saved.source_digest.cache_clear()
    assert before[0] != between[0] != after[0]
    assert before[1] == between[1] != after[1]
