"""How the clock of a virtual board is started, without an emulator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shufflec.devices.board_clock import LOG, plugin_arguments, start_clock, wait_for_clock
from shufflec.errors import DeviceError
from shufflec.targets.target import load_target


@pytest.mark.parametrize(
    ("name", "caches"),
    [
        ("rasp3", "64:128x4:512x16s"),
        ("rasp4", "64:256x2:1024x16s"),
        ("rasp5", "64:256x4:1024x8:2048x16s"),
    ],
)
def test_the_plugin_is_told_the_boards_caches(name, caches):
    assert plugin_arguments(load_target(name)) == f",clock=clock.socket,caches={caches}"


def test_a_clock_starts_says_so_and_ends_with_its_lifeline(tmp_path):
    target = load_target("rasp4")
    process, lifeline = start_clock(target, target.time, tmp_path)
    with process:
        wait_for_clock(process, target, tmp_path)
        assert (tmp_path / "clock.socket").is_socket()
        lifeline.close()
        assert process.wait(timeout=60) == 0


def test_a_clock_that_cannot_start_says_why(tmp_path):
    target = replace(load_target("rasp4"), core="cortex-a55")
    process, lifeline = start_clock(target, target.time, tmp_path)
    expected = "clock of the virtual rasp4 did not start: core cortex-a55: no model of this core"
    with process, lifeline, pytest.raises(DeviceError, match=expected):
        wait_for_clock(process, target, tmp_path)
    assert "known: cortex-a53" in (tmp_path / LOG).read_text()
