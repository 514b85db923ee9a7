"""Atomic writes: a reader sees the old content or the new, never a part."""

import errno
import os

import pytest

from shufflec import files
from shufflec.errors import ExitCode, InputFileError, NoSpaceError


def test_write_atomic_replaces_content(tmp_path):
    path = tmp_path / "deep" / "a.json"
    files.write_atomic(path, "one")
    files.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["a.json"]


def test_write_atomic_keeps_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch):
    path = files.write_atomic(tmp_path / "a.bin", b"old")

    def full(_fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(NoSpaceError, match="disk is full") as error:
        files.write_atomic(path, b"new content")
    assert error.value.exit_code == ExitCode.NO_SPACE
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_atomic_directory_replaces_the_old_folder(tmp_path):
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "stale").write_text("x")
    with files.atomic_directory(target) as work:
        (work / "fresh").write_text("y")
    assert os.listdir(target) == ["fresh"]
    assert os.listdir(tmp_path) == ["bundle"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_atomic_directory_leaves_nothing_half_written(tmp_path, failure):
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("x")
    with pytest.raises(failure), files.atomic_directory(target) as work:
        (work / "partial").write_text("y")
        raise failure
    assert os.listdir(target) == ["old"]
    assert os.listdir(tmp_path) == ["bundle"]


def test_write_below_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NoSpaceError, match="cannot be written"):
        files.write_atomic(tmp_path / "file" / "below", "x")


def test_a_place_that_takes_no_files_is_one_clear_error():
    with pytest.raises(NoSpaceError, match="cannot be written"):
        files.write_atomic("/proc/shufflec-test", "x")
    with pytest.raises(NoSpaceError, match="cannot be written"), files.atomic_directory("/proc/shufflec-test"):
        pass


def test_a_file_missing_inside_the_block_is_not_blamed_on_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_directory(tmp_path / "bundle"):
        (tmp_path / "none").read_bytes()


def test_read_limited_refuses_large_missing_and_folders(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 11)
    with pytest.raises(InputFileError, match="11 bytes, more than the 10"):
        files.read_limited(tmp_path / "big", 10, "a test file")
    with pytest.raises(InputFileError, match="no such file"):
        files.read_limited(tmp_path / "none", 10, "a test file")
    with pytest.raises(InputFileError, match="is a folder"):
        files.read_limited(tmp_path, 1 << 20, "a test file")


def test_data_folders_are_found():
    assert (files.data_dir("targets") / "rasp4.toml").is_file()
    assert files.data_dir("schedules").is_dir()
