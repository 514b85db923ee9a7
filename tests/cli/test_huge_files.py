"""Files of ten gigabytes, almost all of it a hole: refused without ever being in memory."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode
from shufflec.models.checkpoint import bundled_checkpoint

GIGABYTES = 10 << 30
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80\x02}q\x00."


def sparse(path: Path, start: bytes = b"") -> Path:
    path.write_bytes(start)
    with open(path, "r+b") as file:
        file.truncate(GIGABYTES)
    return path


@pytest.fixture
def limited():
    """No more than two gigabytes on top of what this process has mapped by now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def refused(capsys, *arguments: object) -> str:
    """The one line of an error."""
    assert run_command_line([str(argument) for argument in arguments]) == ExitCode.BAD_INPUT
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    return output.err


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.safetensors", b""),
        ("b.pth", _ZIP),
        ("c.pth.tar", _PICKLE),
        ("d.pt", _ZIP),
        ("e.ckpt", b""),
        ("f.onnx", b"\x08\x08"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "compile", "eval"])
def test_models(capsys, tmp_path, limited, command, name, start):
    path = sparse(tmp_path / name, start)
    options = {"eval": ["--data", "digits"], "compile": ["-o", tmp_path / "bundle"]}.get(command, [])
    line = refused(capsys, command, path, *options)
    assert f"{name}: is {GIGABYTES} bytes, more than the" in line


def test_a_safetensors_header_that_claims_as_much(capsys, tmp_path, limited):
    path = tmp_path / "model.safetensors"
    data = bundled_checkpoint(8).read_bytes()
    path.write_bytes(GIGABYTES.to_bytes(8, "little") + data[8:])
    assert "truncated" in refused(capsys, "eval", path, "--data", "digits")


def test_data_sets(capsys, tmp_path, limited):
    path = sparse(tmp_path / "set.npz", _ZIP)
    assert "is not a .npz file" in refused(capsys, "eval", bundled_checkpoint(8), "--data", path)


def test_an_image_among_others(capsys, tmp_path, limited):
    folder = tmp_path / "photos"
    for name in map(str, range(10)):
        (folder / "train" / name).mkdir(parents=True)
        (folder / "test" / name).mkdir(parents=True)
        for split in ("train", "test"):
            (folder / split / name / "0.ppm").write_bytes(b"P6 8 8 255\n" + bytes(192))
    sparse(folder / "test" / "3" / "huge.png", b"\x89PNG\r\n\x1a\n")
    assert run_command_line(["eval", str(bundled_checkpoint(8)), "--data", str(folder), "--json"]) == ExitCode.OK
    told = " ".join(capsys.readouterr().err.split())
    assert "1 image of" in told
    assert "larger than 512 MiB" in told
