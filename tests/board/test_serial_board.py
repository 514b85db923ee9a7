"""`shufflec profile --serial` against the emulated board behind a pseudo-terminal, over clean and over bad lines."""

from __future__ import annotations

import json

import numpy as np
import pytest
from serial_line import Faults, board_at_port, build_serial

from shufflec.backends.baremetal.firmware import compile_firmware
from shufflec.backends.bundle import open_bundle, write_bundle
from shufflec.cli.main import run_command_line
from shufflec.devices.serial_port import SerialPort
from shufflec.errors import DeviceError, ExitCode
from shufflec.ir.reference import execute
from shufflec.profiling.firmware_serial import SerialNetwork, bundle_digest, profile_serial
from shufflec.profiling.inputs import seeded_inputs
from shufflec.reports.build import report_files
from shufflec.targets.target import load_target

pytestmark = pytest.mark.board
TIMEOUT_S = 60
BAUD = 4_000_000  # nothing on a pseudo-terminal, but what the host waits before it sends again


@pytest.fixture(scope="module")
def compiled(quantized_g8):
    inputs = [np.zeros((1, 3, 32, 32), np.float32)]
    return compile_firmware(quantized_g8, load_target("cortex-m4"), "g8", inputs)


@pytest.fixture(scope="module")
def bundle(compiled, tmp_path_factory):
    path = tmp_path_factory.mktemp("serial") / "bundle"
    write_bundle(path, compiled, report_files)
    return open_bundle(path)


@pytest.fixture(scope="module")
def counting(compiled, tmp_path_factory):
    """Firmware with a cycle counter, which QEMU's core has not."""
    return build_serial(compiled, tmp_path_factory.mktemp("counting"), counter=True)


def test_a_board_is_measured_over_a_line_that_loses_doubles_and_changes_bytes(bundle, counting):
    up, down = Faults(400, seed=1), Faults(60, seed=2)
    inputs = seeded_inputs(bundle.preprocessing, 1)
    with board_at_port(bundle.target, counting, up, down) as path, SerialPort(path, BAUD) as line:
        found = profile_serial(bundle, line, inputs, 1, TIMEOUT_S, resend_s=0.02)
    assert min(up.done.values()) > 0 and min(down.done.values()) > 0
    assert (found.board, found.inputs, found.clock_hz) == ("cortex-m4", 1, 8_000_000)
    assert found.cycles == 1000
    assert found.layer_cycles == (1000,) * len(bundle.layers)
    assert found.profile.kind == "measured"
    assert found.profile.whole.instructions is None
    assert found.profile.whole.milliseconds == 0.125
    assert 96 < found.stack_bytes < 1024


def test_every_layer_comes_back_equal_to_the_reference(bundle, counting):
    x, graph = seeded_inputs(bundle.preprocessing, 1)[0], bundle.graph()
    expected = execute(graph, x)
    clean, bad = Faults(0), Faults(5000)
    with board_at_port(bundle.target, counting, clean, bad) as path, SerialPort(path, BAUD) as line:
        network = SerialNetwork(bundle, line, TIMEOUT_S, resend_s=0.02)
        for layer, value in zip(bundle.layers, network.layer_outputs(x), strict=True):
            assert np.array_equal(value.reshape(expected[layer.tensor].shape), expected[layer.tensor]), layer.name
        assert np.array_equal(network.run(x), expected[graph.output])
    assert sum(bad.done.values()) > 0


def test_the_command_on_a_core_without_a_cycle_counter(bundle, compiled, tmp_path, capsys):
    elf = build_serial(compiled, tmp_path, counter=False)
    clean = Faults(0)
    with board_at_port(bundle.target, elf, clean, clean) as path:
        arguments = ["profile", str(bundle.path), "--serial", path, "--inputs", "1", "-o", str(tmp_path / "out")]
        assert run_command_line([*arguments, "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["report"]["cost"]["kind"] == "counted"
    assert found["firmware"]["measured_cycles"] is None
    assert found["firmware"]["inputs_equal"] == 1


def test_the_command_labels_cycles_as_measured(bundle, counting, tmp_path, capsys):
    clean = Faults(0)
    with board_at_port(bundle.target, counting, clean, clean) as path:
        arguments = ["profile", str(bundle.path), "--serial", path, "--inputs", "1", "--repeats", "1"]
        assert run_command_line([*arguments, "-o", str(tmp_path / "out")]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "1,000 measured, 0.125 ms at 8 MHz" in text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["cost"]["kind"] == "measured"
    assert report["cost"]["device"] == f"board at {path}"
    assert "cycle counter" in report["cost"]["method"]


def test_another_models_firmware_is_one_clear_error(bundle, counting, tmp_path):
    changed = tmp_path / "serial.elf"
    data = counting.read_bytes()
    digest = bundle_digest(bundle)
    assert data.count(digest) == 1
    changed.write_bytes(data.replace(digest, digest[::-1]))
    clean = Faults(0)
    with (
        board_at_port(bundle.target, changed, clean, clean) as path,
        SerialPort(path) as line,
        pytest.raises(DeviceError, match=r"another model's firmware.*--export"),
    ):
        SerialNetwork(bundle, line, TIMEOUT_S)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--serial", "/dev/nowhere"], ExitCode.DEVICE, "there is no serial port /dev/nowhere"),
        (["--serial", "/dev/null"], ExitCode.DEVICE, "/dev/null is not a serial port"),
        (["--serial", "/dev/nowhere", "--baud", "7"], ExitCode.USAGE, "--baud 7: expected one of"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_port(bundle, options, code, words, capsys):
    assert run_command_line(["profile", str(bundle.path), *options]) == code
    assert words in " ".join(capsys.readouterr().err.split())
