"""Reads TOML tables key by key and says in one line what is wrong: file, key path, what was found, what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

Choice = TypeVar("Choice", bound=StrEnum)

FOUND_CHARS_MAX = 60  # an error stays one line that a terminal shows whole


class ConfigError(Exception):
    """The configuration is wrong; the message is one line for the person who edits the file."""


class Table:
    """One TOML table whose possible keys are known. An unknown key is refused before anything is read.

    Each reader takes a key and its default; without a default the key is required.
    """

    def __init__(self, values: object, *, source: str, path: str, keys: Sequence[str]) -> None:
        self.source = source
        self.path = path
        if not isinstance(values, dict):
            raise ConfigError(f"{source}: {path}: found {describe(values)}, expected a table [{path}]")
        self._values: Mapping[str, object] = values
        for key in self._values:
            if key not in keys:
                raise self.error(key, f"unknown key, {_suggest(key, keys)}")

    def error(self, key: str, problem: str) -> ConfigError:
        """A `ConfigError` to raise about one key of this table."""
        return ConfigError(f"{self.source}: {self.key_path(key)}: {problem}")

    def bad(self, key: str, expected: str) -> ConfigError:
        """A `ConfigError` to raise about the value that this key has."""
        return self.error(key, f"found {describe(self._values.get(key))}, expected {expected}")

    def key_path(self, key: str) -> str:
        name = _cut(_printable(key))
        return f"{self.path}.{name}" if self.path else name

    def has(self, key: str) -> bool:
        return key in self._values

    def raw(self, key: str) -> object:
        """The value as TOML gave it, None when absent."""
        return self._values.get(key)

    def text(self, key: str, expected: str, *, default: str | None = None, pattern: str = r".{1,200}") -> str:
        """A string that matches `pattern` whole; `expected` says in words what that is."""
        value = self._take(key, default, expected)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise self.bad(key, expected)
        return value

    def choice(self, key: str, kind: type[Choice], *, default: Choice | None = None) -> Choice:
        """One of an enum's values."""
        expected = " or ".join(f'"{member.value}"' for member in kind)
        value = self._take(key, default, expected)
        if isinstance(value, str) and value in {member.value for member in kind}:
            return kind(value)
        raise self.bad(key, expected)

    def integer(self, key: str, *, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`."""
        expected = f"a whole number from {low} to {high}"
        value = self._take(key, default, expected)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.bad(key, expected)
        return value

    def number(self, key: str, *, low: float, high: float, default: float | None = None) -> float:
        """A number from `low` to `high`, decimals allowed."""
        expected = f"a number from {low:g} to {high:g}"
        value = self._take(key, default, expected)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.bad(key, expected)
        return float(value)

    def boolean(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._take(key, default, "true or false")
        if not isinstance(value, bool):
            raise self.bad(key, "true or false")
        return value

    def absolute_path(self, key: str, *, default: str | None = None) -> Path:
        """A path from the root: the daemon's working directory means nothing to the person who edits the file."""
        value = self.text(key, "an absolute path", default=default, pattern=r"/[^\x00]*")
        return Path(value)

    def table(self, key: str, keys: Sequence[str]) -> Table:
        """A table below this one; an absent table reads as an empty one."""
        return Table(self._values.get(key, {}), source=self.source, path=self.key_path(key), keys=keys)

    def tables(self, key: str, keys: Sequence[str], *, count_max: int) -> tuple[Table, ...]:
        """A list of tables (`[[key]]`), empty when absent. Paths count from 1, as people do."""
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self.bad(key, f"tables written [[{self.key_path(key)}]]")
        if len(values) > count_max:
            raise self.error(key, f"found {len(values)} tables, expected at most {count_max}")
        return tuple(
            Table(value, source=self.source, path=f"{self.key_path(key)}[{number}]", keys=keys) for number, value in enumerate(values, 1)
        )

    def _take(self, key: str, default: object, expected: str) -> object:
        if key in self._values:
            return self._values[key]
        if default is None:
            raise self.error(key, f"missing, expected {expected}")
        return default


def describe(value: object) -> str:
    """A TOML value as the person wrote it, cut to a line's length, with its type where that is not plain to see."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return _cut(f'"{_printable(value)}"')
        case int() | float():
            return _cut(str(value))
        case dict():
            return "a table"
        case list():
            return _cut(f"a list of {len(value)}")
        case _:
            return _cut(f"{type(value).__name__} {value}")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _cut(text: str) -> str:
    return text if len(text) <= FOUND_CHARS_MAX else text[: FOUND_CHARS_MAX - 3] + "..."


def _suggest(key: str, keys: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else "expected one of " + ", ".join(keys)
