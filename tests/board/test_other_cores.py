"""A board whose core has no model: its instructions are counted and it is said; and a counter that QEMU refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shufflec.cli.main import run_command_line
from shufflec.devices import virtual_pi
from shufflec.errors import DeviceError, ExitCode
from shufflec.files import data_dir
from shufflec.targets.target import load_target

pytestmark = pytest.mark.board


def test_a_target_without_a_core_model_counts_instructions_only(capsys, tmp_path, rasp4_bundle):
    text = (data_dir("targets") / "rasp4.toml").read_text().replace('name = "cortex-a72"', 'name = "cortex-a73"', 1)
    (tmp_path / "mine.toml").write_text(text)
    said = []
    with virtual_pi.virtual_pi(load_target(str(tmp_path / "mine.toml")), say=said.append) as server:
        out = str(tmp_path / "out")
        code = run_command_line(["profile", str(rasp4_bundle.path), "--rpc", server.address, "-o", out, "--json"])
        output = capsys.readouterr()
    assert "no model of the cortex-a73" in said[-1]
    assert code == ExitCode.OK, output.err
    cost = json.loads(output.out)["report"]["cost"]
    assert cost["kind"] == "counted"
    assert cost["milliseconds"] is None and cost["instructions"] > 100_000


def test_a_counter_for_another_qemu_is_refused_in_one_line(monkeypatch):
    found = virtual_pi.find_emulator()
    monkeypatch.setattr(virtual_pi, "find_emulator", lambda: replace(found, plugin_api=found.plugin_api + 90))
    with pytest.raises(DeviceError, match=r"did not start: .*API version.*versions 4\.2 to 10 fit"):
        virtual_pi.start(load_target("rasp4"))
