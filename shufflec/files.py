"""Atomic writes, cache and data folders: the only place that decides where files go."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shufflec.errors import InputFileError, NoSpaceError

_PACKAGE = Path(__file__).resolve().parent


_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextmanager
def write_errors(path: Path, creating: bool = False) -> Iterator[None]:
    """Turns a failed write into one line that names the path.

    creating: nothing is read inside, so "no such file" too means that the place does not take files (/proc, say).
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                f"{path}: the disk is full", "free some space or choose another place with -o"
            ) from error
        if error.errno in _UNWRITABLE or (creating and error.errno == errno.ENOENT):
            raise NoSpaceError(
                f"{path}: cannot be written: {error.strerror}", "choose another place with -o"
            ) from error
        raise


def write_atomic(path: str | Path, content: bytes | str) -> Path:
    """Writes a file so that a reader sees the old content or the new, never a part of it.

    Raises NoSpaceError when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    with write_errors(path, creating=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return path


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `path` when the block ends well.

    An older folder at `path` is replaced; when the block raises (Ctrl-C too), `path` is as it was.
    Raises NoSpaceError when the disk is full or the parent cannot be written.
    """
    path = Path(path)
    with write_errors(path, creating=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    with write_errors(path):
        os.chmod(work, 0o755)
        old = work.with_suffix(".old")
        try:
            yield work
            if path.exists():
                os.replace(path, old)
            os.replace(work, path)
        finally:
            if old.exists() and not path.exists():
                os.replace(old, path)
            shutil.rmtree(work, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def cache_dir(*parts: str) -> Path:
    """A folder for files that can be made again: $SHUFFLEC_CACHE, $XDG_CACHE_HOME/shufflec or ~/.cache/shufflec."""
    root = os.environ.get("SHUFFLEC_CACHE")
    if not root:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        root = os.path.join(base, "shufflec")
    folder = Path(root).joinpath(*parts)
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_dir(name: str) -> Path:
    """The shipped folder `targets`, `schedules` or `reports` (its data alone), of a checkout or an installed wheel."""
    checkout = _PACKAGE.parent / name
    if (_PACKAGE.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return _PACKAGE / "_data" / name


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's content as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_start(path: str | Path, what: str, count: int = 16) -> bytes:
    """The first `count` bytes of a file, to tell its kind. Raises InputFileError as read_limited does."""
    path = Path(path)
    with _read_errors(path, what), open(path, "rb") as file:
        return file.read(count)


def read_limited(path: str | Path, limit: int, what: str) -> bytes:
    """Reads a whole file of at most `limit` bytes; `what` names the kind of file in errors.

    Raises InputFileError when the file is missing, is a folder, cannot be read or is larger.
    """
    path = Path(path)
    with _read_errors(path, what):
        size = path.stat().st_size
        if size > limit and not path.is_dir():
            raise InputFileError(path, f"is {size} bytes, more than the {limit} allowed for {what}")
        return path.read_bytes()


@contextmanager
def _read_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputFileError(path, "no such file", f"expected {what}") from error
    except IsADirectoryError as error:
        raise InputFileError(path, f"is a folder, expected {what}") from error
    except PermissionError as error:
        raise InputFileError(path, "cannot be read: permission denied") from error
