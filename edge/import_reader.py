"""Has a file read in a process of its own and hands on what it says, frame by frame; it waits for whoever takes them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable
from typing import BinaryIO, Final

import msgspec

from edge.import_feed import Feed
from edge.import_frames import FRAME_BYTES_MAX, LENGTH, End, Format, Frame, Task, decode_frame
from edge.import_rows import StoreTerms

SILENCE_S: Final = 120.0  # between two frames; 64 MB are hashed in one second, on a slow disk in ten


class ReaderFailed(Exception):
    """The process ended before the file did, or went silent. Nothing of the file was used; it can be tried again."""


Reader = Callable[[BinaryIO, Feed, StoreTerms, Format], AsyncGenerator[Frame, None]]


async def read_in_process(file: BinaryIO, feed: Feed, terms: StoreTerms, format_: Format) -> AsyncGenerator[Frame, None]:
    """The frames of an open file, through `End`. Raises ReaderFailed. Close the iterator to end the process early."""
    task = msgspec.json.encode(Task(feed, terms, format_, os.getpid())).decode()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge.import_worker", task, stdin=file, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    (length,) = LENGTH.unpack(await child.stdout.readexactly(LENGTH.size))
                    if length > FRAME_BYTES_MAX:
                        raise ReaderFailed(f"a frame of {length} bytes")
                    frame = decode_frame(await child.stdout.readexactly(length))
            except asyncio.IncompleteReadError:
                raise ReaderFailed(f"the process that reads the file ended with {await child.wait()}") from None
            except (TimeoutError, msgspec.DecodeError) as error:
                raise ReaderFailed(f"the process that reads the file: {type(error).__name__}") from None
            yield frame
            if isinstance(frame, End):
                return
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
