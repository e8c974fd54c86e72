"""Making and removing the socket file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from edge.unix_socket import PATH_BYTES_MAX, ListenError, bind_private, read_credentials, remove_socket


def test_a_new_socket_is_for_the_owner_and_the_group_only(tmp_path: Path) -> None:
    path = tmp_path / "s"
    umask = os.umask(0)
    try:
        with bind_private(path):
            assert stat.filemode(path.stat().st_mode) == "srw-rw----"
    finally:
        now = os.umask(umask)
    assert now == 0


def test_nobody_can_connect_before_it_listens(tmp_path: Path) -> None:
    with bind_private(tmp_path / "s"), socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(tmp_path / "s"))


def test_the_file_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind_private(path).close()
    assert path.is_socket()
    with bind_private(path) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.listen()
        client.connect(str(path))


def test_the_socket_of_a_living_daemon_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_private(path) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.listen()
        with pytest.raises(ListenError, match="another process is listening"):
            bind_private(path)
        client.connect(str(path))


def test_a_living_daemon_with_a_full_backlog_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_private(path) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.listen(0)
        client.connect(str(path))
        with pytest.raises(ListenError, match="another process is listening"):
            bind_private(path)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_never_touched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    target = tmp_path / "precious"
    target.write_text("data")
    match kind:
        case "file":
            path.write_text("data")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(target)
    with pytest.raises(ListenError, match="is not a socket"):
        bind_private(path)
    assert os.path.lexists(path)
    assert target.read_text() == "data"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="gone/s: No such file or directory"):
        bind_private(tmp_path / "gone" / "s")


def test_a_path_that_the_kernel_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=f"at most {PATH_BYTES_MAX} bytes"):
        bind_private(tmp_path / ("x" * PATH_BYTES_MAX))


def test_only_our_own_socket_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_private(path):
        ours = path.stat().st_ino
        remove_socket(path, ours + 1)
        assert path.exists()
        remove_socket(path, ours)
        assert not path.exists()
        remove_socket(path, ours)


def test_credentials_are_those_of_the_process_that_connected() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert read_credentials(ours) == (os.getpid(), os.getuid(), os.getgid())


def test_a_group_is_given_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_private(path, group_id=os.getgid()):
        assert path.stat().st_gid == os.getgid()
