"""The bundle: one folder with the quantized model, the compiled code and everything that is known about them.

model.onnx  manifest.json  lib/NAME.so  report.json  report.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from shufflec.backends.baremetal.firmware import CompiledFirmware
from shufflec.backends.compile import CompiledModel
from shufflec.backends.manifest import FILE_NAME, BufferEntry, FileEntry, LayerEntry, Manifest, read_manifest
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError
from shufflec.files import atomic_directory, cache_dir, sha256_file, write_atomic
from shufflec.ir.graph import Graph
from shufflec.ir.pipeline import lower
from shufflec.ir.rules import rule_of
from shufflec.models.families import AnyArchitecture
from shufflec.quantize.inspect import load_onnx
from shufflec.targets.target import Target

MODEL_FILE = "model.onnx"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127})?")
_LATEST = "latest-bundle"


class Bundle:
    """An open bundle. manifest holds everything; the properties are its parts that other rooms use."""

    def __init__(self, path: Path, manifest: Manifest, graph: Graph | None = None):
        self.path = path
        self.manifest = manifest
        self._graph = graph

    @property
    def name(self) -> str:
        return self.manifest.contents.name

    @property
    def target(self) -> Target:
        return self.manifest.contents.target

    def with_target(self, target: Target) -> Bundle:
        """The same code, taken to run on another board of the same kind, as one with another clock."""
        contents = replace(self.manifest.contents, target=target)
        return Bundle(self.path, replace(self.manifest, contents=contents), self._graph)

    @property
    def architecture(self) -> AnyArchitecture | None:
        return self.manifest.architecture

    @property
    def preprocessing(self) -> Preprocessing:
        return self.manifest.preprocessing

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.manifest.contents.class_names

    @property
    def random_weights(self) -> bool:
        return self.manifest.contents.random_weights

    @property
    def layers(self) -> tuple[LayerEntry, ...]:
        return self.manifest.contents.layers

    @property
    def buffers(self) -> tuple[BufferEntry, ...]:
        return self.manifest.contents.memory.buffers

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return self.manifest.contents.input_shape

    @property
    def output_shape(self) -> tuple[int, int]:
        return self.manifest.contents.output_shape

    @property
    def library_path(self) -> Path:
        return self.path / self.manifest.contents.library

    @property
    def model_path(self) -> Path:
        return self.path / MODEL_FILE

    def graph(self) -> Graph:
        """The integer graph; for a bundle from disk it is lowered again from model.onnx, seconds at the first call."""
        if self._graph is None:
            self._graph = lower(
                load_onnx(self.model_path), self.manifest.contents.fold_shuffle, rule_of(self.target.family)
            ).graph
        return self._graph


def check_place(path: str | Path) -> Path:
    """The path, if a bundle may be written there: nothing, an empty folder or an older bundle is there now.

    Raises InputFileError otherwise: a user's own folder is never replaced.
    """
    path = Path(path)
    if path.exists() and not (path / FILE_NAME).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise InputFileError(path, "is there and is not a bundle", "choose another place with -o")
    return path


def write_bundle(
    path: str | Path,
    compiled: CompiledModel | CompiledFirmware,
    finish: Callable[[Bundle], dict[str, str]],
    remember: bool = True,
) -> Bundle:
    """Writes a bundle, all of it or nothing, and remembers it as the newest (unless it is only for a moment).

    finish: gets the bundle before it is at its place, and returns the texts of its reports by file name; when it
    raises (wrong results, say), nothing is left. Raises InputFileError where check_place does.
    """
    path = check_place(path)
    files = {MODEL_FILE: compiled.onnx, **compiled.files}
    entries = {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    manifest = compiled.manifest(entries)
    with atomic_directory(path) as folder:
        for name, data in files.items():
            write_atomic(folder / name, data)
        write_atomic(folder / FILE_NAME, manifest.to_json())
        for name, text in finish(Bundle(folder, manifest, compiled.integer.graph)).items():
            write_atomic(folder / name, text)
    if remember:
        write_atomic(cache_dir() / _LATEST, str(path.resolve()))
    return Bundle(path, manifest, compiled.integer.graph)


def open_bundle(path: str | Path, verify: bool = True) -> Bundle:
    """Opens a bundle and checks that it is whole.

    verify: also compare the SHA-256 of every file. Raises InputFileError that names the file: no manifest, another
    schema, a file that is missing, of another size or with another content, a path that leads out of the folder.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "no such folder"
        raise InputFileError(path, what, "expected a folder that `shufflec compile` wrote")
    manifest = read_manifest(path)
    contents = manifest.contents
    for name in (MODEL_FILE, contents.library):
        if name not in contents.files:
            raise InputFileError(path / FILE_NAME, f"does not list {name[:80]}", "compile the model again")
    for name, entry in contents.files.items():
        _check_file(path, name, entry, verify)
    return Bundle(path, manifest)


def latest_bundle() -> Path:
    """The bundle that was compiled last. Raises InputFileError when there is none, or it is gone."""
    pointer = cache_dir() / _LATEST
    hint = "compile one: shufflec compile --target rasp4 --groups 8"
    try:
        path = Path(pointer.read_text(encoding="utf-8").strip())
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise InputFileError(Path.cwd(), "no bundle was compiled yet", hint) from error
    if not (path / FILE_NAME).is_file():
        raise InputFileError(path, "the bundle that was compiled last is gone", hint)
    return path


def _check_file(folder: Path, name: str, entry: FileEntry, verify: bool) -> None:
    path = folder / PurePosixPath(name)
    inside = _PATH.fullmatch(name) and path.resolve().is_relative_to(folder.resolve())
    if not inside:
        raise InputFileError(folder / FILE_NAME, f"lists {name[:80]!r}, which is outside the bundle")
    if not path.is_file():
        raise InputFileError(path, "is missing from the bundle", "compile the model again")
    if path.stat().st_size != entry.bytes:
        raise InputFileError(path, f"has {path.stat().st_size} bytes, the manifest says {entry.bytes}", "compile again")
    if verify and sha256_file(path) != entry.sha256:
        raise InputFileError(path, "was changed: its SHA-256 is not the manifest's", "compile the model again")
