"""Serial ports, through pyserial: opened exclusively, read and written without waiting, errors told in words."""

from __future__ import annotations

import errno
import os

import serial

from drivers.pump import LinkLost, LinkUnavailable

READ_BYTES_MAX = 4096

_REASONS = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "may not be opened by this user (is the user in the group dialout?)",
    errno.EPERM: "may not be opened by this user (is the user in the group dialout?)",
    errno.EBUSY: "is in use by another program",
    errno.EAGAIN: "is in use by another program",
    errno.ENXIO: "has no device behind it",
    errno.ENODEV: "has no device behind it",
    errno.EISDIR: "is not a serial port",
}


class SerialLink:
    """One open port, 8N1, no flow control. Implements `drivers.pump.Link`."""

    def __init__(self, path: str, baud: int) -> None:
        """Opens the port and throws away what it had buffered. Raises `LinkUnavailable`."""
        self._path = path
        try:
            self._port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
            self._port.reset_input_buffer()
        except (serial.SerialException, OSError) as error:
            reason = _REASONS.get(error.errno or 0, f"cannot be opened: {error}")
            if "Could not configure port" in str(error):  # pyserial hides the errno of this one in its text
                reason = "is not a serial port"
            raise LinkUnavailable(f"serial port {path} {reason}") from error

    def fileno(self) -> int:
        """The port's file descriptor."""
        return int(self._port.fileno())

    def read(self) -> bytes:
        """What has arrived."""
        try:
            data = os.read(self.fileno(), READ_BYTES_MAX)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkLost(f"serial port {self._path} went away: {error.strerror}") from error
        if not data:
            raise LinkLost(f"serial port {self._path} went away: end of file")
        return data

    def write(self, data: bytes) -> int:
        """How much the kernel took."""
        try:
            return os.write(self.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkLost(f"serial port {self._path} went away: {error.strerror}") from error

    def set_baud(self, baud: int) -> None:
        """Change speed at once; what was written before must have been answered."""
        try:
            self._port.baudrate = baud
        except (serial.SerialException, OSError) as error:
            raise LinkLost(f"serial port {self._path} does not take {baud} baud: {error}") from error

    def close(self) -> None:
        """Close; harmless on a port that went away."""
        self._port.close()
