"""Building on first use: once, by content, whole or not at all, whoever else builds at the same time."""

import subprocess
import sys
import threading
import zipfile

import pytest

from shufflec.devices import arm64_runtime, build
from shufflec.devices.emulator import Emulator, plugin_api
from shufflec.errors import InputFileError, ShufflecError, ToolMissingError

AARCH64_ELF = b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00" + bytes(100)
X86_64_ELF = b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00" + bytes(100)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "devices"


@pytest.fixture
def emulator(tmp_path):
    return Emulator(tmp_path / "qemu-aarch64", "7.2", 1, tmp_path)


@pytest.fixture
def compiled(cache, monkeypatch, tmp_path):
    """Replaces the compiler and the wheels; lists the compiled programs."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "libtvm_runtime.so").write_bytes(AARCH64_ELF)
    outputs = []

    def compile_nothing(arguments):
        output = arguments[arguments.index("-o") + 1]
        with open(output, "w") as file:
            file.write("program")
        outputs.append(output)

    monkeypatch.setattr(build, "arm64_runtime", lambda say: runtime)
    monkeypatch.setattr(build, "_zig", compile_nothing)
    return outputs


def test_both_programs_are_built_once(compiled, emulator):
    said = []
    first = build.native_programs(emulator, said.append)
    assert first.server.read_text() == first.plugin.read_text() == "program"
    assert (first.server.parent / "libtvm_runtime.so").exists()
    assert build.native_programs(emulator, said.append) == first
    assert len(compiled) == 2
    assert len(said) == 2


def test_a_changed_source_or_tool_builds_anew(compiled, emulator, monkeypatch, tmp_path):
    first = build.native_programs(emulator)
    native = tmp_path / "native"
    subprocess.run(["cp", "-r", str(build.NATIVE), str(native)], check=True)
    monkeypatch.setattr(build, "NATIVE", native)
    assert build.native_programs(emulator) == first  # the same content elsewhere is the same
    with open(native / "common" / "counters.h", "a") as header:
        header.write("// changed\n")
    second = build.native_programs(emulator)
    assert second.server != first.server
    assert second.plugin != first.plugin
    monkeypatch.setattr(build, "zig_version", lambda: "9.9.9")
    assert build.native_programs(emulator).server != second.server


def test_a_plugin_is_built_for_each_interface_version(compiled, emulator, tmp_path):
    first = build.native_programs(emulator)
    newer = build.native_programs(Emulator(tmp_path / "qemu-aarch64", "9.1", 3, tmp_path))
    assert newer.plugin != first.plugin
    assert newer.server == first.server


def test_two_builders_at_once_build_once(compiled, emulator):
    threads = [threading.Thread(target=build.native_programs, args=(emulator,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compiled) == 2


def test_a_failed_build_leaves_nothing_and_says_why(compiled, cache, emulator, monkeypatch):
    def fail(arguments):
        raise ShufflecError("building the virtual Pi with zig failed: x.cc:1:1: error: no")

    monkeypatch.setattr(build, "_zig", fail)
    with pytest.raises(ShufflecError, match="error: no"):
        build.native_programs(emulator)
    assert [path.name for path in cache.iterdir()] == ["build.lock"]


def test_zigs_first_error_is_the_message(tmp_path):
    source = tmp_path / "wrong.c"
    source.write_text("int main(void) { return undeclared; }\n")
    with pytest.raises(ShufflecError, match=r"wrong\.c:1:25: error: use of undeclared identifier"):
        build._zig(["cc", "-target", "aarch64-linux-gnu.2.28", "-c", str(source), "-o", str(tmp_path / "wrong.o")])


def test_without_zig_the_error_has_the_command(monkeypatch):
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissingError, match="pip install ziglang"):
        build.zig_version()


@pytest.mark.parametrize(
    ("version", "api"), [("4.2", 1), ("7.2.22", 1), ("8.2.0", 1), ("9.0.4", 2), ("9.1.0", 3), ("10.2", 3)]
)
def test_plugin_interface_by_qemu_version(version, api):
    assert plugin_api(version) == api


def test_a_qemu_without_the_interface_is_refused():
    with pytest.raises(ToolMissingError, match=r"qemu-aarch64 4\.2 or later \(found 4\.1\)"):
        plugin_api("4.1")


def make_wheels(folder, elf=AARCH64_ELF, drop=()):
    """Writes wheels as pip would leave them, from what LIBRARIES asks for."""
    for name, members in arm64_runtime.LIBRARIES.items():
        with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("../../evil", "outside")
            for member in members:
                if member not in drop:
                    wheel.writestr(member, elf)


def test_only_the_named_libraries_leave_the_wheels(cache, monkeypatch):
    monkeypatch.setattr(arm64_runtime, "_download", lambda requirements, folder: make_wheels(folder))
    folder = arm64_runtime.arm64_runtime()
    assert sorted(path.name for path in folder.iterdir()) == [
        "libtvm_ffi.so",
        "libtvm_runtime.so",
        "libtvm_runtime_extra.so",
    ]
    assert [path.name for path in cache.iterdir()] == [folder.name]
    assert not list(cache.parent.rglob("evil"))
    monkeypatch.setattr(arm64_runtime, "_download", lambda requirements, folder: pytest.fail("fetched again"))
    assert arm64_runtime.arm64_runtime() == folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: make_wheels(folder, elf=X86_64_ELF), "is not an AArch64 library"),
        (lambda folder: make_wheels(folder, elf=b"short"), "is not an AArch64 library"),
        (lambda folder: make_wheels(folder, drop=("tvm/lib/libtvm_runtime.so",)), "lacks a library"),
        (
            lambda folder: (folder / "apache_tvm-1.0-py3-none-any.whl").write_bytes(b"PK truncated"),
            "not a readable wheel",
        ),
        (lambda folder: None, "left 0 wheels of apache-tvm, expected 1"),
    ],
)
def test_a_wheel_that_is_not_as_expected(cache, monkeypatch, make, message):
    monkeypatch.setattr(arm64_runtime, "_download", lambda requirements, folder: make(folder))
    with pytest.raises(InputFileError, match=message):
        arm64_runtime.arm64_runtime()
    assert list(cache.iterdir()) == []


def test_a_library_that_is_too_large_is_not_unpacked(cache, monkeypatch):
    monkeypatch.setattr(arm64_runtime, "_download", lambda requirements, folder: make_wheels(folder))
    monkeypatch.setattr(arm64_runtime, "_MAX_LIBRARY", 10)
    with pytest.raises(InputFileError, match="is larger than 10 bytes"):
        arm64_runtime.arm64_runtime()


def test_pip_that_fails_is_one_line_with_the_command(tmp_path, monkeypatch):
    script = "import sys; sys.stderr.write('ERROR: No matching distribution found for apache-tvm\\n'); sys.exit(1)"
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(arm64_runtime.sys, "executable", str(fake))
    with pytest.raises(ToolMissingError, match=r"No matching distribution.*try `python -m pip download") as raised:
        arm64_runtime._download(["apache-tvm==1"], tmp_path)
    assert "\n" not in str(raised.value)
