"""The process that reads a file: at low priority and without the store, so that neither its work nor its content can hold up a lane.

`python -m edge.import_worker TASK` with the file as standard input; frames of `edge.import_frames` come out on standard output.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import msgspec

from edge.import_feed import Encoding
from edge.import_frames import FILE_BYTES_MAX, PROBLEMS_MAX, ROWS_PER_FRAME, End, Format, Frame, Opened, Rows, Task, encode_frame
from edge.import_rows import Row, checked_rows, rows_of_values
from edge.import_text import LINE_BYTES_MAX, ROWS_MAX, EncodingSniffer, Problem, text_lines

NICE = 10  # lanes come first
READ_BYTES = 1 << 16
MEMORY_BYTES_MAX = 1 << 30  # of addresses: 200,000 rows take a third of it
EXIT_CHANGED, EXIT_MEMORY = 4, 5
_PR_SET_PDEATHSIG = 1  # prctl(2)


class FileChanged(Exception):
    """Somebody writes on it. Nothing of it was used; it can be tried again."""


def frames(file: BinaryIO, task: Task) -> Iterator[Frame]:
    """Read a file that can be rewound; the last frame is `End`. Raises FileChanged."""
    sniffer, digest, size_bytes = EncodingSniffer(), hashlib.sha256(), 0
    while piece := file.read(READ_BYTES):
        size_bytes += len(piece)
        if size_bytes > FILE_BYTES_MAX:
            yield Opened("", size_bytes)
            yield Rows((), (Problem(0, "", f"more than {FILE_BYTES_MAX >> 20} MB", "a smaller file"),))
            yield End(0, 1)
            return
        digest.update(piece)
        sniffer.add(piece)
    yield Opened(digest.hexdigest(), size_bytes)
    file.seek(0)
    feed = task.feed
    encoding = feed.encoding if feed.encoding is not Encoding.AUTO else sniffer.found()
    again = hashlib.sha256()
    if task.format is Format.JSON:
        content = file.read()
        again.update(content)
        found = _json_rows(content, task)
    else:
        found = checked_rows(
            text_lines(_noted(iter(lambda: file.readline(LINE_BYTES_MAX + 1), b""), again.update), encoding), feed, task.terms
        )
    for frame in _framed(found):
        if isinstance(frame, End):
            while piece := file.read(READ_BYTES):  # what is behind a line that ended the reading
                again.update(piece)
            if again.digest() != digest.digest():
                raise FileChanged
        yield frame


def _noted(lines: Iterable[bytes], note: Callable[[bytes], None]) -> Iterator[bytes]:
    for line in lines:
        note(line)
        yield line


def _json_rows(content: bytes, task: Task) -> Iterator[Row | Problem]:
    try:
        given = msgspec.json.decode(content, type=list[dict[str, str | int | float | None]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        yield Problem(0, "", "", f"a JSON array of flat objects: {error}")
        return
    if len(given) > ROWS_MAX:
        yield Problem(0, "", f"{len(given)} rows", f"at most {ROWS_MAX}")
        return
    yield from rows_of_values(given, task.feed, task.terms)


def _framed(found: Iterable[Row | Problem]) -> Iterator[Frame]:
    """Rows and problems, some hundred at a time. After the first `PROBLEMS_MAX` they are only counted."""
    rows: list[Row] = []
    problems: list[Problem] = []
    row_count = problem_count = 0
    for each in found:
        if isinstance(each, Row):
            rows.append(each)
            row_count += 1
        else:
            problem_count += 1
            if problem_count <= PROBLEMS_MAX:
                problems.append(each)
        if len(rows) + len(problems) >= ROWS_PER_FRAME:
            yield Rows(tuple(rows), tuple(problems))
            rows, problems = [], []
    if rows or problems:
        yield Rows(tuple(rows), tuple(problems))
    yield End(row_count, problem_count)


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # end with the daemon however it ends
    task = msgspec.json.decode(sys.argv[1], type=Task)
    if os.getppid() != task.daemon_pid:
        return
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))  # what a file makes of memory ends here, not the daemon
    out = sys.stdout.buffer
    try:
        for frame in frames(sys.stdin.buffer, task):
            out.write(encode_frame(frame))
            out.flush()
    except FileChanged:
        sys.exit(EXIT_CHANGED)
    except MemoryError:
        sys.exit(EXIT_MEMORY)


if __name__ == "__main__":
    main()
