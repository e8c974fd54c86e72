"""Which line of a TOML file each table and key stands on, and a first look at files that are built to hurt.

`tomllib` says nothing of places once it has read a file. This scan knows strings, comments, headers, keys and brackets, not values; it
runs before `tomllib`, takes time in proportion to the file, and refuses nesting and dotted keys deeper than any template needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

DEPTH_MAX: Final = 6  # brackets inside brackets; a layout list of element lists of texts by language has 5
DOTS_LINE_MAX: Final = 16  # dots outside strings on one line; tomllib's time grows with their square

Path = tuple[str | int, ...]

_HEADER: Final = re.compile(r"[ \t]*(\[\[?)([^\[\]#]*)\]")
_KEY_PART: Final = re.compile(r"[ \t]*(?:([A-Za-z0-9_-]+)|\"((?:[^\"\\]|\\.)*)\"|'([^']*)')[ \t]*")


class TooDeep(Exception):
    """Nesting beyond the limits; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(line, problem)
        self.line = line
        self.problem = problem


@dataclass(slots=True)
class Lines:
    """Line numbers by path: table names, the place in a list of tables (from 0), then the key: ("layout", 0, "element", 2, "size")."""

    by_path: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it; 0 where the file has nothing of it."""
        for length in range(len(path), 0, -1):
            found = self.by_path.get(path[:length])
            if found is not None:
                return found
        return 0


def scan(text: str) -> Lines:
    """Index a file. Raises TooDeep. What is no TOML gives some index or other: `tomllib` says what is wrong with it."""
    return _Scan(text).run()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = Lines()
        self.counts: dict[Path, int] = {}  # lists of tables: how many so far
        self.table: Path = ()

    def run(self) -> Lines:
        """Statement by statement: a header, or a key with its value, which may go over several lines."""
        place, line = 0, 1
        text = self.text
        while place < len(text):
            end = text.find("\n", place)
            end = len(text) if end < 0 else end
            header = _HEADER.match(text, place, end)
            if header:
                self.enter(header.group(1) == "[[", header.group(2), line)
            else:
                self.key(place, end, line)
            place, line = self.skip(place, line)
        return self.lines

    def enter(self, is_list: bool, name: str, line: int) -> None:
        """A `[table]` or `[[table]]` header: its path, with the last place of every list on the way."""
        if name.count(".") > DOTS_LINE_MAX:
            raise TooDeep(line, f"a name of more than {DOTS_LINE_MAX + 1} parts")
        path: Path = ()
        parts = [part.strip(" \t\"'") for part in name.split(".")]
        for part in parts[:-1]:
            path = (*path, part)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        path = (*path, parts[-1])
        if is_list:
            self.counts[path] = self.counts.get(path, 0) + 1
            self.lines.by_path.setdefault(path, line)
            path = (*path, self.counts[path] - 1)
        self.lines.by_path.setdefault(path, line)
        self.table = path

    def key(self, place: int, end: int, line: int) -> None:
        """`a = ` or `a.b = ` at the start of a statement."""
        path = self.table
        for _ in range(DOTS_LINE_MAX):
            part = _KEY_PART.match(self.text, place, end)
            if part is None:
                return
            path = (*path, next(name for name in part.groups() if name is not None))
            self.lines.by_path.setdefault(path, line)
            place = part.end()
            if not self.text.startswith(".", place, end):
                return
            place += 1

    def skip(self, place: int, line: int) -> tuple[int, int]:
        """(place, line) behind the statement that begins at `place`: the line's end that is in no string and no bracket."""
        text = self.text
        depth = dots = 0
        while place < len(text):
            mark = _MARKS.search(text, place)
            if mark is None:
                return len(text), line
            place = mark.end()
            match mark.group():
                case "\n":
                    line += 1
                    dots = 0
                    if depth == 0:
                        return place, line
                case "#":
                    end = text.find("\n", place)
                    place = len(text) if end < 0 else end
                case "[" | "{":
                    depth += 1
                    if depth > DEPTH_MAX:
                        raise TooDeep(line, f"more than {DEPTH_MAX} brackets inside each other")
                case "]" | "}":
                    depth = max(depth - 1, 0)
                case ".":
                    dots += 1
                    if dots > DOTS_LINE_MAX:
                        raise TooDeep(line, f"more than {DOTS_LINE_MAX} dots outside texts")
                case quote:
                    end = _string_end(text, place, quote)
                    line += text.count("\n", place, end)
                    place = end
        return place, line


_MARKS: Final = re.compile(r"\"\"\"|'''|[\"'#\n\[\]{}.]")


def _string_end(text: str, place: int, quote: str) -> int:
    """Behind the closing quote of a string whose opening quote ends at `place`; the line's end for a short string that has none."""
    if quote in ("'", "'''"):
        end = text.find(quote, place)
        if len(quote) == 1:
            stop = text.find("\n", place)
            stop = len(text) if stop < 0 else stop
            return stop if end < 0 or end > stop else end + 1
        return len(text) if end < 0 else end + len(quote)
    while place < len(text):
        character = text[place]
        if character == "\\":
            place += 2
        elif text.startswith(quote, place):
            place += len(quote)
            while len(quote) == 3 and text.startswith('"', place):  # up to two quotes may stand before the closing ones
                place += 1
            return place
        elif character == "\n" and len(quote) == 1:
            return place
        else:
            place += 1
    return len(text)
