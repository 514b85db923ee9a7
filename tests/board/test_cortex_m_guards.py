"""Firmware as an application has it: two models in one program, nothing written outside of the arena, every test image
as the reference has it, and a model that does not fit."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from integer_graphs import random_input, tiny_shufflenet

from shufflec.backends.baremetal import source
from shufflec.backends.baremetal.firmware import Firmware, build_firmware, compile_firmware
from shufflec.backends.baremetal.link import NATIVE, compiler_arguments, link_firmware, linker_script
from shufflec.data.datasets import open_dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.devices.qemu_board import PROGRAM, run_firmware
from shufflec.errors import DeviceError, UnsupportedModelError
from shufflec.ir import reference
from shufflec.ir.graph import Graph
from shufflec.ir.reference import execute
from shufflec.ir.rules import M
from shufflec.quantize.model_info import read_model_info
from shufflec.targets.target import Target, load_target
from shufflec.zig import run_zig

pytestmark = pytest.mark.board
#: Of the 359 images of the digits test set; `make test-mcu` takes all of them, on more cores.
IMAGES = int(os.environ.get("SHUFFLEC_MCU_IMAGES", "60"))
CORES = os.environ.get("SHUFFLEC_MCU_CORES", "cortex-m4").split()

_TWO_MODELS = """
#include "start.h"
#include "first_model.h"
#include "second_model.h"
static const int8_t image_1[] = {%s};
static const int8_t image_2[] = {%s};
static int8_t first_arena[FIRST_ARENA_BYTES] __attribute__((aligned(FIRST_ARENA_ALIGNMENT)));
static int8_t first_output[FIRST_CLASSES], second_output[SECOND_CLASSES], again[FIRST_CLASSES];
static void send(int file, const void *data, unsigned bytes) { if (host_write(file, data, bytes)) host_exit(3); }
int main(void) {
  int out = host_open("answer.bin", HOST_WRITE);
  if (out < 0 || first_run(image_1, first_output)) return 2;
  if (second_run(image_2, second_output)) return 4;
  /* The second model left the first one's arena alone; a caller's arena gives the same. */
  send(out, first_logits(), 4 * FIRST_CLASSES);
  send(out, second_logits(), 4 * SECOND_CLASSES);
  if (first_run_in(first_arena, image_1, again) || !first_run_in(first_arena + 1, image_1, again)) return 5;
  send(out, first_arena + FIRST_LOGITS_OFFSET, 4 * FIRST_CLASSES);
  send(out, first_output, FIRST_CLASSES);
  send(out, again, FIRST_CLASSES);
  return 0;
}
"""


@pytest.fixture(scope="module")
def board() -> Target:
    return load_target("cortex-m4")


@pytest.fixture(scope="module")
def tiny() -> tuple[Graph, Firmware]:
    graph = tiny_shufflenet(seed=5, rule=M)
    return graph, build_firmware(graph, load_target("cortex-m4"), "tiny", [random_input(graph, 0)])


def codes(graph: Graph, seed: int) -> np.ndarray:
    return reference.quantize(graph.ops[0], random_input(graph, seed))


def sums(graph: Graph, seed: int) -> np.ndarray:
    """The logits as int32."""
    return execute(graph, random_input(graph, seed))[graph.ops[-1].inputs[0]].reshape(-1)


def program(board: Target, folder: Path, main: str, models: list[Firmware]) -> bytes:
    """An ELF file of a main program and the models' files."""
    sources = {"main.c": main, "start.c": (NATIVE / "start.c").read_text(), "start.h": (NATIVE / "start.h").read_text()}
    sources |= {name: text for model in models for name, text in model.files.items()}
    sources["link.ld"] = linker_script(board.machine)
    for name, text in sources.items():
        (folder / name).write_text(text)
    objects = []
    for name in (name for name in sources if name.endswith(".c")):
        objects.append(str(folder / f"{name}.o"))
        flags = ["-O1", "-ffreestanding", "-fno-builtin", "-fno-sanitize=undefined", f"-I{folder}"]
        run_zig([*compiler_arguments(board), *flags, "-c", str(folder / name), "-o", objects[-1]], "a test")
    for number, model in enumerate(models):
        objects.append(str(folder / f"kernels{number}.a"))
        Path(objects[-1]).write_bytes(model.library)
    link = ["-static", "-T", str(folder / "link.ld"), "-e", "reset", "-o", str(folder / "a.elf")]
    run_zig(["ld.lld", *link, *objects], "a test")
    return (folder / "a.elf").read_bytes()


def test_two_models_are_one_program(board, tmp_path):
    """They share kernels of the same shape; names, constants and arenas are their own."""
    graphs = [tiny_shufflenet(seed=5, rule=M), tiny_shufflenet(seed=6, height=45, rule=M)]
    models = [
        build_firmware(graph, board, prefix, [random_input(graph, 0)], prefix)
        for graph, prefix in zip(graphs, ("first", "second"), strict=True)
    ]
    inputs = [",".join(map(str, codes(graph, 3).reshape(-1).tolist())) for graph in graphs]
    program(board, tmp_path, _TWO_MODELS % tuple(inputs), models)
    command = [
        PROGRAM, "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-kernel", "a.elf",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, timeout=120, check=True)
    answer = (tmp_path / "answer.bin").read_bytes()
    first, second = (sums(graph, 3) for graph in graphs)
    logits = np.frombuffer(answer, np.int32, 2 * first.size + second.size)
    assert np.array_equal(logits, np.concatenate([first, second, first]))
    outputs = np.frombuffer(answer, np.int8, offset=logits.nbytes).reshape(2, -1)
    assert np.array_equal(outputs[0], outputs[1])
    assert outputs[0].argmax() == first.argmax()


def rerun(board: Target, graph: Graph, firmware: Firmware, old: str, new: str) -> None:
    """Runs the model with a change in its call sequence."""
    files = dict(firmware.files)
    assert files["shufflec_model.c"].count(old) == 1
    files["shufflec_model.c"] = files["shufflec_model.c"].replace(old, new)
    files["shufflec_test.h"] = source.test_header(firmware.program, "shufflec")
    elf = link_firmware(board, files, firmware.library)
    answer = run_firmware(board, elf, [codes(graph, 3)]).answer
    assert np.array_equal(np.frombuffer(answer, np.int32, sums(graph, 3).size), sums(graph, 3))


CALL = "s->kernel(arena, s->weights, s->requant, s->accumulators, s->in0, s->in1, s->out,"


@pytest.mark.parametrize(
    "wrong",
    [
        # The last kernel of all writes its logits behind the arena, and every kernel 16 bytes before its place.
        "s->kernel(arena, s->weights, s->requant, s->accumulators, s->in0, s->in1, s == steps + sizeof steps / "
        "sizeof *steps - 1 ? SHUFFLEC_ARENA_BYTES : s->out,",
        CALL.replace("kernel(arena", "kernel(arena - 16"),
    ],
)
def test_a_kernel_that_writes_outside_of_the_arena_is_caught(wrong, board, tiny):
    rerun(board, *tiny, CALL, CALL)
    with pytest.raises(DeviceError, match="wrote outside of its arena"):
        rerun(board, *tiny, CALL, wrong)


@pytest.mark.parametrize("core", CORES)
def test_images_of_the_test_set_equal_the_reference(core, quantized_g8):
    """All logits, of every class and bit for bit, in one run of the board."""
    target = load_target(core)
    preprocessing = Preprocessing.from_dict(read_model_info(quantized_g8)["preprocessing"])
    dataset = open_dataset("digits", "test")
    assert len(dataset) == 359
    chosen = np.linspace(0, len(dataset) - 1, min(IMAGES, len(dataset))).astype(int)
    images, _ = next(dataset.batches(preprocessing, len(dataset)))
    inputs = [images[i : i + 1] for i in chosen]
    compiled = compile_firmware(quantized_g8, target, "digits", inputs[:2])
    graph = compiled.integer.graph
    wanted = [execute(graph, x) for x in inputs]
    run = run_firmware(target, compiled.firmware.elf, [values[graph.ops[0].output] for values in wanted])
    logits = np.frombuffer(run.answer, np.uint8).reshape(len(inputs), -1)[:, :40].copy().view(np.int32)
    expected = np.stack([values[graph.ops[-1].inputs[0]].reshape(-1) for values in wanted])
    assert np.flatnonzero((logits != expected).any(axis=1)).tolist() == []
    labels = dataset.labels[chosen]
    assert np.mean(logits.argmax(axis=1) == labels) > 0.9


def test_a_model_too_large_for_its_board_says_where_and_what_would_fit(quantized_g8, board):
    x = [np.zeros((1, 3, 32, 32), np.float32)]
    with pytest.raises(UnsupportedModelError, match=r"bytes of flash.*; the largest layer is \S+") as caught:
        compile_firmware(quantized_g8, replace(board, flash_bytes=90_000), "g8", x)
    assert "of these weights would fit: about 0." in caught.value.hint
    with pytest.raises(UnsupportedModelError, match=r"bytes of RAM.* more; the peak is at layer \S+: ") as caught:
        compile_firmware(quantized_g8, replace(board, ram_bytes=3000), "g8", x)
    assert "take a smaller --scale or another board" in caught.value.hint


_TWO_WORDS = """
#include "start.h"
static char bytes[24] __attribute__((aligned(8)));
int main(void) {
  __asm__ volatile("ldrd r0, r1, [%%0]" : : "r"(bytes + %d) : "r0", "r1", "memory");
  return 0;
}
"""


@pytest.mark.parametrize(("offset", "status"), [(0, 0), (4, 0), (2, 99), (1, 99)])
def test_the_emulated_board_traps_an_unaligned_load_of_64_bits(board, tmp_path, offset, status):
    """So that every run here, and each comparison with the reference, would show one in a kernel."""
    program(board, tmp_path, _TWO_WORDS % offset, [])
    command = [
        PROGRAM, "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-kernel", str(tmp_path / "a.elf"),
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == status
