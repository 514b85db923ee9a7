"""How to start an RPC server on a real Raspberry Pi: commands with the versions that this installation needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shufflec.devices.arm64_runtime import wheel_versions
from shufflec.devices.build import NATIVE, SERVER

# What TVM's RPC server imports beyond TVM's own requirements.
_SERVER_PACKAGES = "psutil cloudpickle tornado"


@dataclass(frozen=True)
class Step:
    """title: what the commands do, and where. commands: to be typed in this order."""

    title: str
    commands: tuple[str, ...]


def instructions(host: str, port: int, native: Path = NATIVE) -> list[Step]:
    """Steps for a board "user@name" with 64-bit Raspberry Pi OS; the server listens on `port`."""
    versions = wheel_versions()
    pinned = " ".join(f"{name}=={version}" for name, version in versions.items())
    install = ("python3 -m venv ~/tvm", f"~/tvm/bin/pip install {pinned} {_SERVER_PACKAGES}")
    include = f"-DSHUFFLEC_TVM_VERSION={versions['apache-tvm']} -I$P/tvm/include -I$P/tvm_ffi/include"
    libraries = "-L$P/tvm/lib -L$P/tvm_ffi/lib -Wl,-rpath,$P/tvm/lib:$P/tvm_ffi/lib -Wl,--no-as-needed"
    return [
        Step("On the board, TVM's own server (64-bit Raspberry Pi OS, Python 3.11 or later):", install),
        Step(
            "Start it, open to the network that the board is in; it serves one client at a time:",
            (f"~/tvm/bin/python -m tvm.exec.rpc_server --host 0.0.0.0 --port {port} --port-end {port + 1}",),
        ),
        Step(
            "Or our small server, which starts faster; from this machine, then on the board after step 1:",
            (
                f"scp -r {native} {host}:shufflec-native",
                "P=$(echo ~/tvm/lib/python3.*/site-packages)",
                f"g++ -std=c++17 -O2 {include} -o {SERVER} shufflec-native/rpc_server/*.cc "
                f"{libraries} -ltvm_runtime -ltvm_runtime_extra -ltvm_ffi",
                f"./{SERVER} --host 0.0.0.0 --port {port}",
            ),
        ),
        Step(
            "The protocol has neither encryption nor passwords, and a client runs any code it likes. On a network that "
            "you do not trust, start either server with --host 127.0.0.1 and tunnel to it from this machine:",
            (f"ssh -N -L {port}:127.0.0.1:{port} {host}",),
        ),
        Step(
            "Then, on this machine (through the tunnel the address is 127.0.0.1):",
            (f"shufflec profile --rpc {host.rpartition('@')[2]}:{port}",),
        ),
    ]
