"""Every way in which a server can fail a session ends in one DeviceError, in bounded time."""

import gc
import os
import signal
import socket
import struct
import threading
import time

import pytest
import tvm
from fake_servers import answer_mismatch_then, say_nothing, serve, welcome
from probe import build_probe

from shufflec.devices import session as session_module
from shufflec.devices.session import connect
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.errors import DeviceError, OptionError
from shufflec.targets.target import load_target

pytestmark = pytest.mark.board
RASP4 = load_target("rasp4")


@pytest.fixture(scope="module")
def pi():
    with virtual_pi(RASP4) as server:
        yield server


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build_probe(tmp_path_factory.mktemp("probe"))


def open_descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_nothing_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DeviceError, match="refuses connections: nothing listens there"):
        connect(f"127.0.0.1:{port}", timeout_s=5)


def test_unknown_host():
    with pytest.raises(DeviceError, match="the host name is unknown"):
        connect("no-such-board.invalid:9090", timeout_s=5)


@pytest.mark.parametrize("address", ["", "rasp", "rasp:", ":9090", "rasp:0", "rasp:65536", "http://rasp:9090", "a b:1"])
def test_a_bad_address_is_a_usage_error(address):
    with pytest.raises(OptionError, match="expected HOST:PORT"):
        connect(address)


def test_a_server_that_accepts_and_says_nothing():
    with serve(say_nothing) as address, pytest.raises(DeviceError, match=r"does not answer within 0\.5 s"):
        connect(address, timeout_s=0.5)


def test_a_server_that_says_nothing_to_the_right_key():
    hanging = answer_mismatch_then(say_nothing)
    with serve(hanging) as address, pytest.raises(DeviceError, match=r"does not finish the handshake within 0\.5 s"):
        connect(address, timeout_s=0.5)


def test_a_server_that_says_nothing_after_the_handshake():
    def greet_and_stop(connection):
        welcome(connection)
        say_nothing(connection)

    with serve(answer_mismatch_then(greet_and_stop)) as address:
        started = time.monotonic()
        with pytest.raises(DeviceError):
            connect(address, timeout_s=0.5)
        assert time.monotonic() - started < 60  # a hang would last for ever


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_another_protocol(said):
    greeting = serve(lambda connection: connection.sendall(said))
    with greeting as address, pytest.raises(DeviceError, match="is not a TVM RPC server"):
        connect(address, timeout_s=5)


def test_a_server_that_closes_at_once():
    with serve(lambda connection: None) as address, pytest.raises(DeviceError, match="connection"):
        connect(address, timeout_s=5)


def test_a_server_whose_tvm_speaks_another_protocol_version():
    def refuse_version(connection):
        welcome(connection)
        connection.recv(4096)
        tvm.get_global_func("rpc.ReturnException")(
            connection.fileno(), "Client protocol version mismatch with the server: server protocol=0.7.0"
        )

    expected = r"another TVM version.*server protocol=0\.7\.0.*install apache-tvm=="
    with serve(answer_mismatch_then(refuse_version)) as address, pytest.raises(DeviceError, match=expected):
        connect(address, timeout_s=5)


def test_our_server_with_another_tvm(pi, monkeypatch):
    monkeypatch.setattr(session_module, "wheel_versions", lambda: {"apache-tvm": "9.9.9"})
    with pytest.raises(DeviceError, match=r"runs TVM .*, this machine 9\.9\.9 \(install apache-tvm==9\.9\.9"):
        connect(pi.address)


def test_the_wrong_key(pi):
    with pytest.raises(DeviceError, match="refuses the key 'somebody else'"):
        connect(pi.address, key="somebody else")


def test_a_second_session_of_this_process_is_refused_at_once(pi):
    with connect(pi.address), pytest.raises(DeviceError, match="has a session there already"):
        connect(pi.address)
    connect(pi.address).close()


def test_a_server_that_is_busy_with_another_client(pi):
    host, port = pi.address.split(":")
    with socket.create_connection((host, int(port))) as other:
        name = b"client:"
        other.sendall(struct.pack("<ii", 0xFF271, len(name)) + name)
        assert struct.unpack("<i", other.recv(4, socket.MSG_WAITALL)) == (0xFF271,)
        with pytest.raises(DeviceError, match=r"does not answer within 0\.5 s \(it may be serving another client"):
            connect(pi.address, timeout_s=0.5)


def test_a_server_that_drops_in_mid_run(library):
    with virtual_pi(RASP4) as server, connect(server.address) as session:
        module = session.upload_module(library)
        timer = threading.Timer(0.5, os.killpg, (server.pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(DeviceError, match="could not time mixed: the connection was lost"):
            session.time(module, "mixed", 10**13)
        with pytest.raises(DeviceError, match="the connection was lost"):
            session.upload_module(library)
        timer.join()
        del module
    gc.collect()


def test_a_call_that_takes_too_long_frees_the_server_for_the_next_client(pi, library):
    with connect(pi.address, call_timeout_s=1) as session:
        module = session.upload_module(library)
        with pytest.raises(DeviceError, match="did not answer in time"):
            session.time(module, "mixed", 10**13)
        del module
    gc.collect()
    with connect(pi.address, timeout_s=30) as session:
        assert session.kind == "simulated"


def test_failures_leave_no_descriptors_open(pi, library):
    connect(pi.address).close()
    before = open_descriptors()
    for _ in range(3):
        with serve(say_nothing) as address, pytest.raises(DeviceError):
            connect(address, timeout_s=0.1)
        with pytest.raises(DeviceError):
            connect(pi.address, key="other")
        with connect(pi.address) as session:
            session.upload_module(library)
    assert open_descriptors() <= before


def test_a_closed_session_says_so(pi):
    session = connect(pi.address)
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="the session is closed"):
        session.counters()


def test_a_missing_function_is_one_line_and_the_session_goes_on(pi, library):
    with connect(pi.address) as session:
        module = session.upload_module(library)
        expected = "could not call it: Module has no function 'absent'"
        with pytest.raises(DeviceError, match=expected), session.guard("call it"):
            module["absent"]()
        assert module["add_one"](1) == 2
        with pytest.raises(AttributeError, match="typo"), session.guard("do it"):
            session.typo  # noqa: B018 - our own bug must not look like the board's
        del module
    gc.collect()
