"""The firmware behind a serial line, for `shufflec profile --serial`: its sources, as an exported project has them."""

from __future__ import annotations

import hashlib

from shufflec.backends.baremetal import source
from shufflec.backends.baremetal.firmware import Firmware
from shufflec.backends.baremetal.link import NATIVE
from shufflec.targets.target import Target

DIGEST_BYTES = 16
SOURCES = ("serial.c", "cycles.c", "uart_qemu.c", "serial_main.c")
#: UART0 of QEMU's boards; with TrustZone the secure alias, as the firmware runs secure.
UARTS = {
    "mps2-an385": 0x40004000,
    "mps2-an386": 0x40004000,
    "mps2-an500": 0x40004000,
    "mps2-an505": 0x50200000,
    "mps3-an547": 0x59303000,
}
# How much deeper than the computed worst case the stack is looked at: the frames of serial.c, an exception's.
_STACK_MARGIN = 512


def model_digest(model: bytes, library: bytes) -> bytes:
    """What a firmware says it was built from: 16 bytes. model: the text of shufflec_model.c; library: the kernels."""
    digest = hashlib.sha256()
    for part in (model, library):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()[:DIGEST_BYTES]


def serial_sources(firmware: Firmware, target: Target) -> dict[str, str]:
    """Texts by file name: the protocol in C, its description, and what this model is. For the prefix `shufflec`."""
    files = {name: (NATIVE / name).read_text() for name in (*SOURCES, "serial.h", "SERIAL.md")}
    digest = model_digest(firmware.files["shufflec_model.c"].encode(), firmware.library)
    files["shufflec_test.h"] = source.test_header(firmware.program, "shufflec")
    files["serial_model.h"] = f"""/* Which model the serial firmware holds, and for which board. */
#ifndef SHUFFLEC_SERIAL_MODEL_H
#define SHUFFLEC_SERIAL_MODEL_H

#define SHUFFLEC_DIGEST {{{", ".join(map(str, digest))}}}
#define SHUFFLEC_BOARD "{target.name}"
#define SHUFFLEC_STACK_WINDOW {-(-(firmware.code.stack_bytes + _STACK_MARGIN) // 8) * 8}
#ifndef SHUFFLEC_UART
#define SHUFFLEC_UART {UARTS[target.machine or "mps2-an385"]:#x}u /* of QEMU's board */
#endif

#endif
"""
    return files
