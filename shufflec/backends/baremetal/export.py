"""A firmware as a project that a user builds with tools of their own: CMake, an Arduino library, a Zephyr module.

The kernels are a static library, so that they are the same machine code whatever the user's compiler does; the rest is
one C file and its header. Every format has an example that classifies one image of zeros and a README.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shufflec.backends.baremetal.firmware import CompiledFirmware
from shufflec.backends.baremetal.link import NATIVE, compiler_arguments, linker_script
from shufflec.backends.baremetal.serial import serial_sources
from shufflec.errors import InputFileError, OptionError
from shufflec.files import atomic_directory, write_atomic
from shufflec.targets.target import Target

_MARKER = "shufflec-export.txt"
_FLOAT = {True: "-mfloat-abi=hard -mfpu=auto", False: "-mfloat-abi=soft"}


def export_firmware(compiled: CompiledFirmware, folder: str | Path, style: str) -> Path:
    """Writes a project to a folder, all of it or nothing. Raises what check_export does."""
    folder = Path(folder)
    check_export(folder, style)
    with atomic_directory(folder) as work:
        for name, content in FORMATS[style](compiled).items():
            write_atomic(work / name, content)
        write_atomic(work / _MARKER, f"made by shufflec for {compiled.target.name}, format {style}\n")
    return folder


def check_export(folder: Path, style: str) -> None:
    """Raises OptionError for a style that is not one of FORMATS, InputFileError for a folder with other files."""
    if style not in FORMATS:
        raise OptionError("--format", style, f"expected one of {', '.join(FORMATS)}")
    if folder.exists() and not (folder / _MARKER).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputFileError(folder, "is there and is not an export", "choose another place with --export")


def _model(compiled: CompiledFirmware, folder: str) -> dict[str, bytes | str]:
    """The generated C files."""
    return {f"{folder}{name}": text for name, text in compiled.firmware.files.items()}


def _readme(compiled: CompiledFirmware, build: str) -> str:
    target, firmware = compiled.target, compiled.firmware
    ram = firmware.plan.peak_bytes
    return f"""# {compiled.name} for {target.title}

An int8 network as plain C and a library of kernels for {target.core}: no heap, no operating system, no runtime.

| | bytes |
| --- | ---: |
| flash: code and constants | {firmware.code.flash_bytes:,} |
| RAM: arena | {ram:,} |
| RAM: stack, the worst case | {firmware.code.stack_bytes:,} |

`shufflec_model.h` has the interface: shapes, scales, zero points, how images are to be prepared, and

    int shufflec_run(const int8_t *input, int8_t *output);

`shufflec_run_in` takes the arena from the caller. The kernels are compiled for {target.core} and
{"the hard-float" if target.triple.endswith("hf") else "the soft-float"} ABI; the rest may be compiled with any options.

{build}"""


def _cmake(compiled: CompiledFirmware) -> dict[str, bytes | str]:
    target = compiled.target
    machine = target.machine or "mps2-an385"
    files = _model(compiled, "model/") | {"model/libshufflec_kernels.a": compiled.firmware.library}
    for name in ("start.c", "start.h"):
        files[f"example/{name}"] = (NATIVE / name).read_text()
    files |= {f"serial/{name}": text for name, text in serial_sources(compiled.firmware, target).items()}
    files |= {
        "example/main.c": EXAMPLE,
        "example/link.ld": linker_script(machine),
        "CMakeLists.txt": _CMAKE_LISTS,
        "arm-none-eabi.cmake": _gcc_toolchain(target),
        "zig.cmake": _zig_toolchain(target),
        "README.md": _readme(
            compiled,
            f"""## Build and run the example on an emulated board

    cmake -B build -DCMAKE_TOOLCHAIN_FILE=arm-none-eabi.cmake && cmake --build build
    qemu-system-arm -M {machine} -nographic -semihosting-config enable=on,target=native -kernel build/example.elf

`zig.cmake` takes `python -m ziglang` in the place of GCC (`-DPYTHON=...` says which Python). In a project of yours,
`add_subdirectory` this folder and link to `shufflec_model`; `example/start.c` and `example/link.ld` are only for the
emulated board.

## Profile on your board

`shufflec profile BUNDLE --serial /dev/ttyACM0` talks to the firmware of `serial/`, for QEMU's board `build/serial.elf`.
On a board of yours, link to `shufflec_serial`, call `shufflec_serial_serve()` from `main`, and supply
`shufflec_serial_read` and `shufflec_serial_write`, one byte each, over your UART; `serial/SERIAL.md` says more.
""",
        ),
    }
    return files


def _gcc_flags(target: Target) -> str:
    hard = target.triple.endswith("hf")
    return f"-mcpu={target.llvm_mcpu} -mthumb {_FLOAT[hard]}"


def _gcc_toolchain(target: Target) -> str:
    return f"""set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_C_FLAGS_INIT "{_gcc_flags(target)}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-nostdlib")
set(CMAKE_C_STANDARD_LIBRARIES "-lgcc")
"""


def _zig_toolchain(target: Target) -> str:
    flags = " ".join(compiler_arguments(target)[1:])
    return f"""set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
find_program(PYTHON NAMES python3 python REQUIRED)
set(CMAKE_C_COMPILER ${{PYTHON}} -m ziglang cc)
set(CMAKE_C_COMPILER_ID_RUN TRUE)
set(CMAKE_C_COMPILER_ID Clang)
set(CMAKE_C_COMPILER_FORCED TRUE)
set(CMAKE_C_FLAGS_INIT "{flags} -fno-sanitize=undefined")
set(CMAKE_C_ARCHIVE_CREATE "${{PYTHON}} -m ziglang ar qc <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "${{PYTHON}} -m ziglang ranlib <TARGET>")
"""


def _arduino(compiled: CompiledFirmware) -> dict[str, bytes | str]:
    core = compiled.target.llvm_mcpu
    return _model(compiled, "src/") | {
        f"src/{core}/libshufflec_kernels.a": compiled.firmware.library,
        "library.properties": f"""name=shufflec_model
version=1.0.0
author=shufflec
maintainer=shufflec
sentence=An int8 ShuffleNet for {core}, made by shufflec.
paragraph={compiled.name}: no heap, no runtime.
category=Data Processing
url=https://example.org
architectures=*
includes=shufflec_model.h
precompiled=true
ldflags=-lshufflec_kernels
""",
        "examples/classify/classify.ino": _ARDUINO_EXAMPLE,
        "README.md": _readme(
            compiled,
            f"""## Use

Copy this folder to the sketchbook's `libraries` folder and open the example `classify`. The library is precompiled for
{core}; the Arduino core must be for a board with this processor.
""",
        ),
    }


def _zephyr(compiled: CompiledFirmware) -> dict[str, bytes | str]:
    return _model(compiled, "model/") | {
        "model/libshufflec_kernels.a": compiled.firmware.library,
        "zephyr/module.yml": "name: shufflec_model\nbuild:\n  cmake: .\n  kconfig: Kconfig\n",
        "Kconfig": 'config SHUFFLEC_MODEL\n\tbool "int8 network made by shufflec"\n\tdefault y\n',
        "CMakeLists.txt": """if(CONFIG_SHUFFLEC_MODEL)
  zephyr_include_directories(model)
  zephyr_library_named(shufflec_model)
  zephyr_library_sources(model/shufflec_model.c)
  zephyr_library_import(shufflec_kernels ${CMAKE_CURRENT_LIST_DIR}/model/libshufflec_kernels.a)
endif()
""",
        "sample/CMakeLists.txt": """cmake_minimum_required(VERSION 3.20)
list(APPEND ZEPHYR_EXTRA_MODULES ${CMAKE_CURRENT_LIST_DIR}/..)
find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})
project(classify)
target_sources(app PRIVATE main.c)
""",
        "sample/prj.conf": "CONFIG_SHUFFLEC_MODEL=y\nCONFIG_FPU=y\nCONFIG_PRINTK=y\n",
        "sample/main.c": _ZEPHYR_EXAMPLE,
        "README.md": _readme(
            compiled,
            "## Use\n\n    west build -b BOARD sample\n\nor list this folder in ZEPHYR_EXTRA_MODULES.\n",
        ),
    }


#: The example of the CMake project; it prints the class of an image of zeros.
EXAMPLE = """/* Classifies one image and prints the best class, on an emulated board. */
#include "shufflec_model.h"
#include "start.h"

static int8_t output[SHUFFLEC_CLASSES];

int main(void) {
  int8_t *input = shufflec_input();
  for (int i = 0; i < SHUFFLEC_INPUT_BYTES; i++) input[i] = SHUFFLEC_INPUT_ZERO_POINT;
  if (shufflec_run(input, output) != 0) return 1;
  const int32_t *logits = shufflec_logits();
  int best = 0;
  for (int i = 1; i < SHUFFLEC_CLASSES; i++)
    if (logits[i] * shufflec_logit_scales[i] > logits[best] * shufflec_logit_scales[best]) best = i;
  char text[] = "class 000\\n";
  text[6] = (char)('0' + best / 100 % 10), text[7] = (char)('0' + best / 10 % 10), text[8] = (char)('0' + best % 10);
  int console = host_open(":tt", 4);
  return host_write(console, text, sizeof text - 1);
}
"""

_CMAKE_LISTS = """cmake_minimum_required(VERSION 3.16)
project(shufflec_model C)

add_library(shufflec_kernels STATIC IMPORTED)
set_target_properties(shufflec_kernels PROPERTIES
  IMPORTED_LOCATION ${CMAKE_CURRENT_LIST_DIR}/model/libshufflec_kernels.a)
add_library(shufflec_model STATIC model/shufflec_model.c)
target_include_directories(shufflec_model PUBLIC model)
target_compile_options(shufflec_model PRIVATE -ffunction-sections -fdata-sections)
target_link_libraries(shufflec_model PUBLIC shufflec_kernels)

# The model with its single layers, behind a serial line: for `shufflec profile --serial`.
add_library(shufflec_serial STATIC EXCLUDE_FROM_ALL
  serial/serial.c serial/cycles.c serial/uart_qemu.c model/shufflec_model.c)
target_include_directories(shufflec_serial PUBLIC serial model)
target_compile_definitions(shufflec_serial PRIVATE SHUFFLEC_TEST)
target_compile_options(shufflec_serial PRIVATE -ffreestanding -ffunction-sections -fdata-sections)
target_link_libraries(shufflec_serial PUBLIC shufflec_kernels)

if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  add_executable(serial.elf serial/serial_main.c example/start.c)
  target_compile_options(serial.elf PRIVATE -ffreestanding -fno-builtin)
  target_link_libraries(serial.elf PRIVATE shufflec_serial)
  target_link_options(serial.elf PRIVATE
    -Wl,--gc-sections -Wl,-e,reset -T ${CMAKE_CURRENT_LIST_DIR}/example/link.ld)
  add_executable(example.elf example/main.c example/start.c)
  target_compile_options(example.elf PRIVATE -ffreestanding -fno-builtin)
  target_link_libraries(example.elf PRIVATE shufflec_model)
  target_link_options(example.elf PRIVATE
    -Wl,--gc-sections -Wl,-e,reset -T ${CMAKE_CURRENT_LIST_DIR}/example/link.ld)
endif()
"""

_ARDUINO_EXAMPLE = """#include <shufflec_model.h>

static int8_t output[SHUFFLEC_CLASSES];

void setup() { Serial.begin(115200); }

void loop() {
  int8_t *input = shufflec_input();
  for (int i = 0; i < SHUFFLEC_INPUT_BYTES; i++) input[i] = SHUFFLEC_INPUT_ZERO_POINT;
  shufflec_run(input, output);
  int best = 0;
  for (int i = 1; i < SHUFFLEC_CLASSES; i++)
    if (output[i] > output[best]) best = i;
  Serial.print("class ");
  Serial.println(best);
  delay(1000);
}
"""

_ZEPHYR_EXAMPLE = """#include <zephyr/kernel.h>
#include "shufflec_model.h"

static int8_t output[SHUFFLEC_CLASSES];

int main(void) {
  int8_t *input = shufflec_input();
  for (int i = 0; i < SHUFFLEC_INPUT_BYTES; i++) input[i] = SHUFFLEC_INPUT_ZERO_POINT;
  shufflec_run(input, output);
  for (int i = 0; i < SHUFFLEC_CLASSES; i++) printk("class %d: %d\\n", i, output[i]);
  return 0;
}
"""

FORMATS: dict[str, Callable[[CompiledFirmware], dict[str, bytes | str]]] = {
    "cmake": _cmake,
    "arduino": _arduino,
    "zephyr": _zephyr,
}
