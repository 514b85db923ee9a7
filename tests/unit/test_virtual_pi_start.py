"""What a virtual board says when the emulator does not take the counter, or the core has no model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shufflec.devices import virtual_pi
from shufflec.devices.emulator import Emulator
from shufflec.devices.virtual_pi import start
from shufflec.errors import DeviceError
from shufflec.targets.target import load_target

AARCH64 = load_target("aarch64")  # without a time model there is no clock to start


@pytest.fixture
def qemu(tmp_path, monkeypatch):
    """Gives the emulator's place to a script that prints these words and ends with code 1."""
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))

    def make(words: str) -> None:
        program = tmp_path / "qemu-aarch64"
        program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{words}\nEND\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setattr(virtual_pi, "find_emulator", lambda: Emulator(program, "7.2.0", 1, tmp_path))
        programs = virtual_pi.NativePrograms(tmp_path / "server", tmp_path / "counter-1" / "counter.so")
        monkeypatch.setattr(virtual_pi, "native_programs", lambda emulator, say: programs)

    return make


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "qemu-aarch64: Could not load plugin /x/counter.so: plugin requires API version 3, but this QEMU supports "
            "only a minimum version of 4",
            "versions 4.2 to 10 fit: sudo apt-get install",
        ),
        ("shufflec counter: this QEMU has another plugin interface version", "versions 4.2 to 10 fit"),
        ("qemu: unknown option 'plugin'", "this QEMU was built without plugins"),
        (
            "qemu-aarch64: Could not load plugin /x/counter.so: file too short",
            "the counter is damaged: delete the folder",
        ),
        ("Address already in use", "port 9123 is in use: choose another with --port"),
        ("Illegal instruction", ""),
    ],
)
def test_a_start_that_fails_is_one_line_with_what_to_do(qemu, words, hint):
    qemu(words)
    with pytest.raises(DeviceError) as raised:
        start(AARCH64, port=9123)
    assert raised.value.message == f"the virtual aarch64 did not start: {words.splitlines()[-1]}"
    assert (hint in raised.value.hint) if hint else raised.value.hint == ""
    assert "\n" not in str(raised.value)


def test_a_core_without_a_model_is_started_without_a_clock_and_it_is_said(qemu, monkeypatch):
    qemu("it ended")
    started = []
    monkeypatch.setattr(virtual_pi.board_clock, "start_clock", lambda *arguments: started.append(arguments))
    said = []
    target = replace(load_target("rasp4"), core="cortex-a55")
    with pytest.raises(DeviceError, match="it ended"):
        start(target, say=said.append)
    assert said == ["There is no model of the cortex-a55: its instructions are counted, its time is not estimated."]
    assert started == []
