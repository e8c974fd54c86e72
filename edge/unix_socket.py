"""Unix stream sockets of the daemon: made so that no stranger can ever connect, and knowing who is at the other end."""

from __future__ import annotations

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

SOCKET_MODE: Final = 0o660  # the service and its group; a till's user is put into that group
PATH_BYTES_MAX: Final = 107  # unix(7): sun_path has 108 bytes with its closing zero

_PEERCRED: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class ListenError(Exception):
    """The socket cannot be opened; the message says which path and why. Somebody must change the configuration or the disk."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is connected, as the kernel says, and over which listener. `number` counts the listener's connections from 1."""

    listener: str
    number: int
    pid: int
    uid: int
    gid: int


class PeerSocket(Protocol):
    """What of a socket is needed here; the event loops hand out their own wrappers."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def read_credentials(peer: PeerSocket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the process that connected, from SO_PEERCRED: the kernel's word, taken at connect."""
    pid, uid, gid = _PEERCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
    return pid, uid, gid


def bind_private(path: Path, *, group_id: int | None = None) -> socket.socket:
    """A bound, not yet listening socket at `path`, mode 0660. Raises ListenError.

    A socket file that nobody serves any more is replaced, one that is served is not, and any other kind of file is never touched.
    The umask is narrowed while the file comes into being (that is process-wide: call this before other threads make files) and
    nobody can connect before `listen`, so there is no instant at which the world may.
    """
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise ListenError(f"{path}: a socket path has at most {PATH_BYTES_MAX} bytes, this one {len(os.fsencode(path))}")
    try:
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        umask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listener.bind(os.fspath(path))
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(umask)
        if group_id is not None:
            os.chown(path, -1, group_id)
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}") from error
    return listener


def remove_socket(path: Path, inode: int) -> None:
    """Remove our socket file, unless another process has put its own there meanwhile."""
    try:
        if path.lstat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        return


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path}: is there already and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a local connect is decided at once
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:  # the file outlived its process
            path.unlink()
            return
        except BlockingIOError:  # its backlog is full: alive, and busy
            pass
    raise ListenError(f"{path}: another process is listening there")
