"""Unix stream connections beside the event loop: one epoll for all of them, and the least that must happen for a line and its answer.

The loop watches that epoll as one more reader. It is asked once for all lanes that spoke, and each of them costs a read, a write and
what answers it: the loop's own transports cost as much again. What a connection sees is `asyncio.Transport`.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import Callable
from typing import Any, Final

READ_BYTES: Final = 16 * 1024  # a scan has a hundred bytes; a whole trolley comes in a few reads
EVENTS_MAX: Final = 64  # connections of all listeners
EVENTS_PER_TURN: Final = 128  # then everything else of the daemon gets its turn: so many lookups are less than a millisecond
NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
ACCEPT_PAUSE_S: Final = 1.0  # while there is no room for another connection

_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT
_HEARD: Final = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR


class Poller:
    """The epoll that channels share. Belongs to one event loop, from the first to `close`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._channels: dict[int, Channel] = {}
        loop.add_reader(self._epoll.fileno(), self._serve)

    def close(self) -> None:
        """Whoever still has something unsent is cut. Safe to call twice."""
        if self._epoll.closed:
            return
        for channel in tuple(self._channels.values()):
            channel.abort()
        self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def watch(self, channel: Channel, fd: int, old: int, new: int) -> None:
        """From the events `old` to `new`. What is watched for nothing is not in the epoll at all: a hang-up would be told for ever."""
        if not new:
            self._epoll.unregister(fd)
            del self._channels[fd]
        elif old:
            self._epoll.modify(fd, new)
        else:
            self._channels[fd] = channel
            self._epoll.register(fd, new)

    def _serve(self) -> None:
        poll, channels = self._epoll.poll, self._channels
        left = EVENTS_PER_TURN
        while left > 0 and (events := poll(0, EVENTS_MAX)):
            left -= len(events)
            for fd, event in events:
                channel = channels.get(fd)  # None: closed by what another one brought
                if channel is not None:
                    channel.happened(event)


class Channel(asyncio.Transport):
    """One connection. `protocol` hears of it from here on."""

    def __init__(self, poller: Poller, peer: socket.socket, protocol: asyncio.Protocol) -> None:
        super().__init__({"socket": peer})
        self._poller = poller
        self._peer = peer
        self._fd = peer.fileno()
        self._protocol = protocol
        self._watched = 0
        self._reading = True  # as far as the protocol wants it
        self._heard_all = False
        self._closing = False
        self._out = bytearray()
        self._high = 64 * 1024
        self._paused = False
        protocol.connection_made(self)
        self._steer()

    # What the poller calls.

    def happened(self, event: int) -> None:
        if event & _HEARD and self._watched & _IN:
            self._read()
        if event & _OUT and self._watched & _OUT:
            self._flush()

    # What a protocol calls: see asyncio.Transport.

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self._out)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False
        self._steer()

    def resume_reading(self) -> None:
        self._reading = True
        self._steer()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._closing:
            return
        if not self._out:
            sent = self._send(data)
            if sent == len(data):
                return
            data = data[sent:]
        self._out += data
        self._steer()
        if len(self._out) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._steer()
        if not self._out:
            self._poller.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self._drop(None)

    # Inside.

    def _read(self) -> None:
        try:
            data = self._peer.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._drop(error)
            return
        if data:
            self._protocol.data_received(data)
            return
        self._heard_all = True
        self._steer()
        if not self._protocol.eof_received():
            self.close()

    def _send(self, data: bytes | bytearray | memoryview[Any]) -> int:
        try:
            return self._peer.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._drop(error)
            return len(data)

    def _flush(self) -> None:
        del self._out[: self._send(self._out)]
        if self._paused and len(self._out) <= self._high // 4:
            self._paused = False
            self._protocol.resume_writing()
        if not self._out:
            self._steer()
            if self._closing and self._peer.fileno() >= 0:
                self._poller.loop.call_soon(self._lose, None)

    def _steer(self) -> None:
        wanted = _IN if self._reading and not (self._heard_all or self._closing) else 0
        if self._out:
            wanted |= _OUT
        if wanted != self._watched:
            self._poller.watch(self, self._fd, self._watched, wanted)
            self._watched = wanted

    def _drop(self, error: OSError | None) -> None:
        """The connection is of no use any more: what was not sent is lost."""
        self._closing = True
        self._out.clear()
        self._steer()
        self._poller.loop.call_soon(self._lose, error)

    def _lose(self, error: OSError | None) -> None:
        if self._peer.fileno() >= 0:
            self._peer.close()
            self._protocol.connection_lost(error)


class Listener:
    """Takes connections of a bound socket for `made(peer)`, from now until `close`."""

    def __init__(self, poller: Poller, listener: socket.socket, backlog: int, made: Callable[[socket.socket], object]) -> None:
        self._loop = poller.loop
        self._listener = listener
        self._backlog = backlog
        self._made = made
        self._pause: asyncio.TimerHandle | None = None
        listener.listen(backlog)
        self._listen()

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(self._backlog):
            try:
                peer, _ = self._listener.accept()
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._loop.remove_reader(self._listener.fileno())
                    self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._listen)
                return  # nobody waits, or who waited is gone
            peer.setblocking(False)
            self._made(peer)
