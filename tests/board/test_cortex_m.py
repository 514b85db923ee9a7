"""Firmware on QEMU's Cortex-M boards: every layer of random graphs, and of shipped networks, against the reference."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from integer_graphs import random_input, random_operators, shufflenet_v2_stage, tiny_shufflenet

from shufflec.backends.baremetal.export import export_firmware
from shufflec.backends.baremetal.firmware import Firmware, build_firmware, compile_firmware
from shufflec.backends.baremetal.layout import lay_out
from shufflec.backends.bundle import open_bundle, write_bundle
from shufflec.devices.qemu_board import run_firmware
from shufflec.errors import DeviceError, InputFileError, OptionError, ToolMissingError
from shufflec.ir import reference
from shufflec.ir.graph import Graph
from shufflec.ir.passes.route_channels import route_channels
from shufflec.ir.reference import execute
from shufflec.ir.relax_ops import graph_from_module, module_from_graph
from shufflec.ir.rules import M
from shufflec.kernels.mcu import dsp_pointwise, dsp_stem, mve_pointwise, mve_stem
from shufflec.kernels.mcu.select import select
from shufflec.profiling.firmware import FirmwareNetwork, profile_firmware
from shufflec.profiling.inputs import seeded_inputs
from shufflec.reports.build import report_files
from shufflec.targets.target import M_INSTRUCTION_CLASSES, load_target

pytestmark = pytest.mark.board
CORES = ("cortex-m3", "cortex-m4", "cortex-m55")


def built(graph: Graph, target: str) -> Firmware:
    board = replace(load_target(target), ram_bytes=1 << 20, flash_bytes=4 << 20)
    return build_firmware(graph, board, "test", [random_input(graph, 0)])


def wrong_layers(firmware: Firmware, graph: Graph, target: str, seeds: tuple[int, ...]) -> list[str]:
    """Names of layers that differ from the reference, over all inputs."""
    values = [execute(graph, random_input(graph, seed)) for seed in seeds]
    run = run_firmware(load_target(target), firmware.elf, [v[graph.ops[0].output] for v in values], layers=True)
    at, wrong = 0, []
    for expected in values:
        for layer in firmware.program.layers:
            wanted = expected[layer.output.tensor]
            found = np.frombuffer(run.answer, wanted.dtype, wanted.size, at).reshape(wanted.shape)
            at += wanted.nbytes
            if not np.array_equal(found, wanted):
                wrong.append(f"{layer.name} ({layer.steps[-1].kernel.family})")
        at += 5 * graph.tensors[graph.output].shape[-1]
    assert at == len(run.answer)
    assert len(run.regions) == len(seeds) * len(firmware.program.layers)
    return wrong


@pytest.mark.parametrize("target", CORES)
@pytest.mark.parametrize("routed", [True, False])
def test_every_layer_of_a_shufflenet_v2_stage_equals_the_reference(target, routed):
    graph = shufflenet_v2_stage(7, 24, 2, True, rule=M)
    graph = graph_from_module(route_channels(module_from_graph(graph))) if routed else graph
    firmware = built(graph, target)
    assert wrong_layers(firmware, graph, target, (0, 1)) == []


@pytest.mark.parametrize("target", CORES)
def test_every_layer_of_a_tiny_network_equals_the_reference(target):
    graph = tiny_shufflenet(seed=5, rule=M)
    firmware = built(graph, target)
    assert wrong_layers(firmware, graph, target, (0, 1)) == []


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("seed", [0, 3])
def test_every_operator_of_random_shapes_equals_the_reference(seed, target):
    graph = random_operators(seed, M)
    assert wrong_layers(built(graph, target), graph, target, (0,)) == []


def test_the_instruction_sets_kernels_are_taken():
    graph = tiny_shufflenet(seed=5, rule=M)
    for isa, taken in (("dsp", (dsp_pointwise, dsp_stem)), ("mve", (mve_pointwise, mve_stem))):
        program, _ = lay_out(graph, isa, select)
        assert {module.NAME for module in taken} <= {step.kernel.family for step in program.steps}


@pytest.fixture(scope="module")
def m4_bundle(quantized_g8, tmp_path_factory):
    from shufflec.data.preprocessing import Preprocessing
    from shufflec.quantize.model_info import read_model_info

    preprocessing = Preprocessing.from_dict(read_model_info(quantized_g8)["preprocessing"])
    inputs = seeded_inputs(preprocessing, 2)
    path = tmp_path_factory.mktemp("m4") / "bundle"
    write_bundle(path, compile_firmware(quantized_g8, load_target("cortex-m4"), "g8", inputs), report_files)
    return open_bundle(path)


def test_profile_counts_exactly_and_the_same_again(m4_bundle):
    inputs = seeded_inputs(m4_bundle.preprocessing, 3)
    first = profile_firmware(m4_bundle, inputs)
    assert first == profile_firmware(m4_bundle, inputs)
    whole = first.profile.whole
    assert set(whole.instructions) == set(M_INSTRUCTION_CLASSES)
    assert 400_000 < whole.total < 900_000
    # The copy of the input and the int8 output are not in the layers.
    assert 0.95 < sum(layer.total for layer in first.profile.layers) / whole.total <= 1
    assert first.cycles > whole.total * 0.5
    assert 0 < first.stack_bytes < 1024


def test_the_computed_stack_covers_what_was_seen(m4_bundle):
    from shufflec.backends.baremetal.machine_code import inspect_firmware

    elf = m4_bundle.library_path.with_suffix(".elf").read_bytes()
    computed = inspect_firmware(elf).stack_bytes
    seen = profile_firmware(m4_bundle, seeded_inputs(m4_bundle.preprocessing, 1)).stack_bytes
    # What was seen includes main's own frame and its callers', and the margin that the paint leaves.
    assert computed <= seen <= computed + 192


def test_logits_of_many_inputs_in_one_run(m4_bundle):
    inputs = seeded_inputs(m4_bundle.preprocessing, 20, seed=9)
    graph = m4_bundle.graph()
    for x, logits in zip(inputs, FirmwareNetwork(m4_bundle).run_all(inputs), strict=True):
        assert np.array_equal(logits, execute(graph, x)[graph.output])


def test_damaged_firmware_is_a_device_error(m4_bundle):
    elf = bytearray(m4_bundle.library_path.with_suffix(".elf").read_bytes())
    start = elf.index(b"request.bin")
    elf[start : start + 11] = b"missing.bin"
    codes = [np.zeros((32, 32, 3), np.int8)]
    with pytest.raises(DeviceError, match="the request could not be read"):
        run_firmware(m4_bundle.target, bytes(elf), codes)


def test_a_missing_emulator_says_how_to_install_it(m4_bundle, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolMissingError, match="apt-get install -y qemu-system-arm"):
        run_firmware(m4_bundle.target, b"", [])


@pytest.mark.parametrize("toolchain", ["arm-none-eabi.cmake", "zig.cmake"])
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
def test_an_exported_project_builds_with_both_compilers_and_runs(target, toolchain, quantized_g8, tmp_path):
    """As its README says, at an optimization level of the user's. `make test` installs CMake and GCC."""
    board = load_target(target)
    compiled = compile_firmware(quantized_g8, board, "g8", [np.zeros((1, 3, 32, 32), np.float32)])
    folder, build = export_firmware(compiled, tmp_path / "project", "cmake"), str(tmp_path / "build")
    options = [f"-DCMAKE_TOOLCHAIN_FILE={folder / toolchain}", f"-DPYTHON={sys.executable}"]
    configure = ["cmake", "-S", str(folder), "-B", build, *options, "-DCMAKE_BUILD_TYPE=MinSizeRel"]
    for command in (configure, ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    command = [
        "qemu-system-arm", "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-kernel", f"{build}/example.elf",
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    graph = compiled.integer.graph
    x = np.zeros((1, 3, 32, 32), np.float32)
    assert np.all(reference.quantize(graph.ops[0], x) == graph.ops[0].attrs["zero_point"])
    best = int(np.argmax(execute(graph, x)[graph.output]))
    assert (done.returncode, (done.stdout + done.stderr).strip()) == (0, f"class {best:03}")


@pytest.mark.parametrize("style", ["arduino", "zephyr"])
def test_other_projects_hold_the_model_and_its_kernels(style, quantized_g8, tmp_path):
    compiled = compile_firmware(quantized_g8, load_target("cortex-m4"), "g8", [np.zeros((1, 3, 32, 32), np.float32)])
    folder = export_firmware(compiled, tmp_path / "project", style)
    names = {path.name for path in folder.rglob("*")}
    assert {"shufflec_model.h", "shufflec_model.c", "libshufflec_kernels.a", "README.md"} <= names
    assert export_firmware(compiled, folder, style) == folder  # an older export is replaced
    (folder / "shufflec-export.txt").unlink()
    with pytest.raises(InputFileError, match="is not an export"):
        export_firmware(compiled, folder, style)
    with pytest.raises(OptionError, match="expected one of cmake, arduino, zephyr"):
        export_firmware(compiled, tmp_path / "other", "make")
