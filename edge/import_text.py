"""From the bytes of a delimited file to numbered records. Pure: told lines of bytes, it never opens anything."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edge.import_feed import COLUMNS, Encoding, Feed, FeedKind

LINE_BYTES_MAX: Final = 64 * 1024  # a row of 100 columns of 200 characters is a third of it
COLUMNS_MAX: Final = 200  # exports of merchandise systems have up to some hundred columns
ROWS_MAX: Final = 200_000  # several times the largest catalogue of one store
DELIMITERS: Final = (";", ",", "\t", "|")
FOUND_CHARS_MAX: Final = 60  # of a value in a message
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where. `column` is the file's own heading; "" for the whole line, line 0 for the whole file."""

    line: int
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (f"line {self.line}" if self.line else "", f"column {self.column}" if self.column else "") if part
        )
        said = f"found {self.found!r}, expected {self.expected}" if self.found else self.expected
        return f"{place}: {said}" if place else said


class BadFile(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class EncodingSniffer:
    """Told the file piece by piece, says how its text is written."""

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()

    def add(self, piece: bytes) -> None:
        if self._decoder is not None:
            try:
                self._decoder.decode(piece)
            except UnicodeDecodeError:
                self._decoder = None

    def found(self) -> Encoding:
        try:
            if self._decoder is not None:
                self._decoder.decode(b"", final=True)
                return Encoding.UTF_8
        except UnicodeDecodeError:
            pass
        return Encoding.WINDOWS_1252


def cut(text: str) -> str:
    """A value as a message shows it."""
    return text if len(text) <= FOUND_CHARS_MAX else text[: FOUND_CHARS_MAX - 3] + "..."


def text_lines(lines: Iterable[bytes], encoding: Encoding) -> Iterator[str]:
    """Decode line by line. Raises BadFile naming the line that is not text of that encoding, or is too long."""
    for number, line in enumerate(lines, 1):
        if number == 1:
            if line.startswith(_UTF_16):
                raise BadFile(Problem(0, "", "UTF-16 text", "UTF-8 or Windows-1252: save it as one of them"))
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > LINE_BYTES_MAX:
            raise BadFile(
                Problem(number, "", f"a line of more than {LINE_BYTES_MAX >> 10} KiB", "a shorter one: is a quotation mark open?")
            )
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as error:
            raise BadFile(Problem(number, "", f"byte 0x{line[error.start]:02X}", f"{encoding} text")) from None
        if "\0" in text:
            raise BadFile(Problem(number, "", "a zero byte", "text"))
        yield text


def sniff_delimiter(first_line: str, feed: Feed) -> str:
    """The delimiter that makes most of the headings known; where none does, or there are none, the one there is most of."""
    wanted = {str(name).casefold() for name in feed.columns.values()} or set(COLUMNS[feed.kind])

    def worth(delimiter: str) -> tuple[int, int]:
        parts = [part.strip().strip('"').casefold() for part in first_line.split(delimiter)]
        return sum(part in wanted for part in parts), len(parts)

    return max(DELIMITERS, key=worth)


@dataclass(frozen=True, slots=True)
class Heading:
    """Where our columns are in a row, and what the file calls them."""

    places: dict[str, int]
    names: dict[str, str]
    width: int | None  # None: the first row decides

    def name(self, column: str) -> str:
        return self.names.get(column, column)


def read_heading(row: Sequence[str], feed: Feed) -> Heading:
    """Find the feed's columns by the file's first row. Raises BadFile naming the first that is missing, doubled or unknown."""
    found = [cell.strip().casefold() for cell in row]
    if len(found) > COLUMNS_MAX:
        raise BadFile(Problem(1, "", f"{len(found)} columns", f"at most {COLUMNS_MAX}"))
    if not feed.columns:
        known = COLUMNS[feed.kind]
        for name in found:
            if not feed.knows(name):
                extra = " or attribute:NAME" if feed.kind is FeedKind.ITEMS else ""
                raise BadFile(Problem(1, name or "(empty)", cut(name), f"one of {', '.join(known)}{extra}"))
        wanted = {name: name for name in found}
    else:
        wanted = {column: str(name).casefold() for column, name in feed.columns.items()}
    names = {column: row[found.index(name)].strip() for column, name in wanted.items() if name in found}
    for column, name in wanted.items():
        if found.count(name) > 1:
            raise BadFile(Problem(1, cut(name), "", "the heading once, it is there twice"))
        if name not in found:
            raise BadFile(Problem(1, str(feed.columns[column]), "", "this heading, it is missing"))
    for column in feed.required():
        if column not in names:
            raise BadFile(Problem(1, column, "", "this column, it is missing"))
    return Heading({column: found.index(name) for column, name in wanted.items()}, names, len(found))


def numbered_heading(feed: Feed) -> Heading:
    """The heading of a file that has none: columns by their numbers."""
    places = {column: int(number) - 1 for column, number in feed.columns.items()}
    return Heading(places, {column: str(place + 1) for column, place in places.items()}, None)


def records(lines: Iterable[str], feed: Feed) -> Iterator[tuple[int, Heading, dict[str, str] | Problem]]:
    """(line, heading, our column -> cell) of each row; a row of another width is a Problem. Raises BadFile where reading cannot go on.

    The line is where the row ends in the file, counted from 1. Empty lines are passed over.
    """
    source = iter(lines)
    first = next(source, None)
    if first is None or not first.strip():
        raise BadFile(
            Problem(1, "", "", "a line of headings, the file begins with an empty one" if first is not None else "a file that is not empty")
        )
    delimiter = feed.delimiter or sniff_delimiter(first, feed)
    reader = csv.reader(_again(first, source), delimiter=delimiter, strict=True)
    numbered = bool(feed.columns) and all(isinstance(name, int) for name in feed.columns.values())
    heading = numbered_heading(feed) if numbered else None
    width: int | None = None
    count = 0
    try:
        for row in reader:
            line = reader.line_num
            if heading is None:
                heading = read_heading(row, feed)
                width = heading.width
                continue
            if not any(cell.strip() for cell in row):
                continue
            count += 1
            if count > ROWS_MAX:
                raise BadFile(Problem(line, "", f"more than {ROWS_MAX} rows", "a smaller file"))
            if width is None:
                width = len(row)
                if max(heading.places.values()) >= width:
                    raise BadFile(Problem(line, "", f"{width} columns", f"at least {max(heading.places.values()) + 1}"))
            if len(row) != width:
                yield line, heading, Problem(line, "", f"{len(row)} columns", f"{width}")
            else:
                yield line, heading, {column: row[place].strip() for column, place in heading.places.items()}
    except csv.Error as error:
        raise BadFile(Problem(reader.line_num, "", "", f"rows as spreadsheets write them: {error}")) from None


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
