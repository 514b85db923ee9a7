"""The first bytes of TVM's RPC protocol, spoken by us so that each step has a timeout; TVM's own client has none.

Source of the constants: tvm/rpc/base.py.
"""

from __future__ import annotations

import re
import socket
import struct

from shufflec.errors import DeviceError, OptionError

_MAGIC = 0xFF271
_MISMATCH = _MAGIC + 2
# No server has this key: the server refuses it at once and is free for the next client, so nothing is disturbed.
_NOBODYS_KEY = "client:shufflec-asks-whether-somebody-listens"
_ADDRESS = re.compile(r"(\[[0-9A-Za-z:.%]+\]|[^\s:/\[\]]+):(\d{1,5})")
START_HINT = "`shufflec device instructions` tells how to start the server on the board"


def parse_address(address: str, option: str = "--rpc") -> tuple[str, int]:
    """Host and port of "host:port" or "[ipv6]:port". Raises OptionError that names `option`."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found[2]) <= 65535:
        raise OptionError(option, address, "expected HOST:PORT, for example raspberrypi.local:9090")
    return found[1].strip("[]"), int(found[2])


def check_server(host: str, port: int, timeout_s: float) -> None:
    """Returns when a TVM RPC server at the address is ready for a client; disturbs none.

    Raises DeviceError: unknown host, unreachable, refusing, silent for timeout_s seconds, or not a TVM RPC server.
    """
    where = f"{host}:{port}"
    connection = _connect(host, port, timeout_s)
    with connection:
        try:
            key = _NOBODYS_KEY.encode()
            connection.sendall(struct.pack("<ii", _MAGIC, len(key)) + key)
            answer = b""
            while len(answer) < 4:
                received = connection.recv(4 - len(answer))
                if not received:
                    raise DeviceError(f"{where} closed the connection: it is not a TVM RPC server", START_HINT)
                answer += received
        except TimeoutError as error:
            raise DeviceError(
                f"{where} accepts connections and does not answer within {timeout_s:g} s",
                "it may be serving another client, which it does one at a time, or it hangs: restart it",
            ) from error
        except OSError as error:
            raise DeviceError(f"{where} dropped the connection: {error.strerror}", START_HINT) from error
    if struct.unpack("<i", answer)[0] != _MISMATCH:
        raise DeviceError(f"{where} is not a TVM RPC server: it answered {answer!r}", START_HINT)


def _connect(host: str, port: int, timeout_s: float) -> socket.socket:
    where = f"{host}:{port}"
    try:
        return socket.create_connection((host, port), timeout=timeout_s)
    except socket.gaierror as error:
        raise DeviceError(f"{where}: the host name is unknown", "check it, or give the IP address") from error
    except TimeoutError as error:
        raise DeviceError(
            f"{where} is unreachable: no answer within {timeout_s:g} s", "is the board on the network?"
        ) from error
    except ConnectionRefusedError as error:
        raise DeviceError(f"{where} refuses connections: nothing listens there", START_HINT) from error
    except OSError as error:
        raise DeviceError(
            f"{where} is unreachable: {error.strerror or error}", "is the board on the network?"
        ) from error
