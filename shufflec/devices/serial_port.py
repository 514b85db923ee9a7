"""A serial port, raw, 8 data bits, no parity, one stop bit: opened for one program at a time, read with a timeout."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import tty
from types import TracebackType
from typing import Self

from shufflec.errors import DeviceError, OptionError

DEFAULT_BAUD = 115200
_LIST = "list the ports with `ls /dev/ttyACM* /dev/ttyUSB*`"


def baud_rates() -> list[int]:
    """The rates that this system's terminals know, ascending."""
    return sorted(int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdecimal() and name != "B0")


class SerialPort:
    """An open port; a context manager. Raises DeviceError where it is absent, busy, not permitted or no serial port,
    and later where the board is unplugged; OptionError for a rate that is not known."""

    def __init__(self, path: str, baud: int = DEFAULT_BAUD):
        if baud not in baud_rates():
            raise OptionError("--baud", baud, f"expected one of {', '.join(map(str, baud_rates()))}")
        self.path, self.baud = path, baud
        self._file = _open(path)
        try:
            self._configure()
        except BaseException:
            os.close(self._file)
            raise

    def _configure(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.ioctl(self._file, termios.TIOCEXCL)
            tty.setraw(self._file, termios.TCSANOW)
            settings = termios.tcgetattr(self._file)
            settings[2] &= ~(termios.CSTOPB | termios.PARENB | termios.CRTSCTS)
            settings[2] |= termios.CLOCAL | termios.CREAD | termios.CS8
            settings[4] = settings[5] = getattr(termios, f"B{self.baud}")
            termios.tcsetattr(self._file, termios.TCSANOW, settings)
            termios.tcflush(self._file, termios.TCIOFLUSH)
        except BlockingIOError as error:
            raise _busy(self.path) from error
        except (OSError, termios.error) as error:
            if error.args[0] == errno.ENOTTY:
                raise DeviceError(f"{self.path} is not a serial port", _LIST) from error
            raise self._failed(error) from error

    def read(self, timeout_s: float) -> bytes:
        """What has come, at least one byte; b"" when nothing came in time."""
        try:
            if not select.select([self._file], [], [], timeout_s)[0]:
                return b""
            data = os.read(self._file, 4096)
        except OSError as error:
            raise self._failed(error) from error
        if not data:
            raise self._failed(OSError(errno.EIO, "it hung up"))
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        """Sends all of it; DeviceError when the port does not take it in time."""
        while data:
            try:
                if not select.select([], [self._file], [], timeout_s)[1]:
                    raise DeviceError(f"{self.path} takes no bytes", "check the cable, and that flow control is off")
                data = data[os.write(self._file, data) :]
            except OSError as error:
                raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # it may be unplugged
            fcntl.ioctl(self._file, termios.TIOCNXCL)
        os.close(self._file)

    def _failed(self, error: OSError | termios.error) -> DeviceError:
        words = error.args[1] if len(error.args) > 1 else error
        return DeviceError(f"the serial port {self.path} failed: {words}", "check that the board is still plugged in")


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DeviceError(f"there is no serial port {path}", f"plug the board in and {_LIST}") from error
    except PermissionError as error:
        raise DeviceError(
            f"the serial port {path} is not permitted to this user", "sudo usermod -aG dialout $USER, and log in again"
        ) from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _busy(path) from error
        if error.errno in (errno.ENXIO, errno.EISDIR, errno.ENODEV):
            raise DeviceError(f"{path} is not a serial port", _LIST) from error
        raise DeviceError(f"the serial port {path} cannot be opened: {error.strerror}", _LIST) from error


def _busy(path: str) -> DeviceError:
    return DeviceError(f"the serial port {path} is in use by another program", f"end it; `fuser {path}` names it")
