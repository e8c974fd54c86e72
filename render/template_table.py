"""One TOML table of a template: takes keys with their type and range, refuses what is left, and always says where."""

from __future__ import annotations

from typing import Final

from render import texts
from render.errors import BadTemplate
from render.template_elements import Content, Phrase
from render.template_lines import Lines, Path

TEXT_LENGTH_MAX: Final = 120  # a fixed text that fits any panel in a readable size
LANGUAGES_MAX: Final = 32  # a text by language; the words table has some twenty languages
PLACEHOLDERS_MAX: Final = 8  # per text
FIELDS_MAX: Final = 8  # per element
CONDITIONS_MAX: Final = 8  # per element
SHOWN_MAX: Final = 60  # characters of a wrong value in a message


class Table:
    """`place` is for people (`layout 1, element 2 (text)`), `path` finds the line."""

    def __init__(self, file: str, lines: Lines, place: str, path: Path, values: dict[str, object]) -> None:
        self.file = file
        self.lines = lines
        self.place = place
        self.path = path
        self._left = dict(values)

    def refuse(self, key: str, problem: str) -> BadTemplate:
        """The error to raise for a key of this table; "" for the table itself."""
        first = key.partition(", ")[0]
        where = ", ".join(part for part in (self.place, key) if part)
        return BadTemplate(self.file, where, problem, self.lines.line((*self.path, first) if first else self.path))

    def has(self, key: str) -> bool:
        return key in self._left

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(key, f"{shown(value)}, expected a whole number from {low} to {high}")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise self.refuse(key, f"{shown(value)}, expected one of {', '.join(allowed)}")
        return value

    def choices(self, key: str, allowed: tuple[str, ...], default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """One word or a list of different words."""
        value = self._take(key, default)
        chosen = _words(value)
        if chosen is None or not all(word in allowed for word in chosen) or len(set(chosen)) != len(chosen):
            raise self.refuse(key, f"{shown(value)}, expected different ones of {', '.join(allowed)}")
        return chosen

    def field(self, key: str, default: str | None = None, more: tuple[str, ...] = ()) -> str:
        """The name of a field, or one of `more`."""
        value = self._take(key, default)
        if not isinstance(value, str) or not (value in more or texts.is_field(value)):
            raise self.refuse(key, f"{shown(value)}, expected one of {', '.join((*more, *texts.FIELDS))}, attribute:<key>")
        return value

    def fields(self, key: str) -> tuple[str, ...]:
        """One field or a list of different fields."""
        value = self._take(key, None)
        chosen = _words(value)
        if not chosen or len(chosen) > FIELDS_MAX or not all(map(texts.is_field, chosen)) or len(set(chosen)) != len(chosen):
            raise self.refuse(key, f"{shown(value)}, expected 1 to {FIELDS_MAX} of {', '.join(texts.FIELDS)}, attribute:<key>")
        return chosen

    def conditions(self, key: str) -> tuple[str, ...]:
        """One condition or a list of different ones, none by default."""
        value = self._take(key, ())
        chosen = _words(value)
        if chosen is None or len(chosen) > CONDITIONS_MAX or not all(map(texts.is_condition, chosen)) or len(set(chosen)) != len(chosen):
            known = f"{', '.join(texts.CONDITIONS)}, attribute:<key>, each with not_ in front of it"
            raise self.refuse(key, f"{shown(value)}, expected at most {CONDITIONS_MAX} different ones of {known}")
        return chosen

    def text(self, key: str, default: str | None = None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not _printable(value):
            raise self.refuse(key, f"{shown(value)}, expected a text of at most {TEXT_LENGTH_MAX} printable characters")
        return value

    def phrase(self, key: str) -> Phrase:
        """A text with `{field}` in it."""
        value = self.text(key)
        return self._phrase(key, value)

    def phrases(self, key: str) -> tuple[tuple[str, Phrase], ...]:
        """One phrase, or a table of phrases by language that has at least `en`."""
        if isinstance(self._left.get(key), str):
            return (("en", self.phrase(key)),)
        table = self.table(key)
        languages = list(table._left)
        if "en" not in languages or len(languages) > LANGUAGES_MAX or not all(map(_is_language, languages)):
            raise self.refuse(key, f"expected a text, or texts by at most {LANGUAGES_MAX} two-letter languages with at least en")
        return tuple((language, table.phrase(language)) for language in languages)

    def content(self) -> Content:
        """`text`, or `field` with `separator`."""
        if self.has("text") and self.has("field"):
            raise self.refuse("text", "text and field exclude each other")
        if self.has("text"):
            return Content(phrases=self.phrases("text"))
        return Content(fields=self.fields("field"), separator=self.text("separator", " "))

    def table(self, key: str) -> Table:
        value = self._take(key, None)
        if not isinstance(value, dict):
            raise self.refuse(key, f"{shown(value)}, expected a table")
        return Table(self.file, self.lines, ", ".join(part for part in (self.place, key) if part), (*self.path, key), value)

    def tables(self, key: str, count_max: int) -> list[Table]:
        value = self._take(key, None)
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise self.refuse(key, f"{shown(value)}, expected a list of tables")
        if not 1 <= len(value) <= count_max:
            raise self.refuse(key, f"{len(value)} tables, expected 1 to {count_max}")
        place = f"{self.place}, {key}" if self.place else key
        return [Table(self.file, self.lines, f"{place} {number + 1}", (*self.path, key, number), part) for number, part in enumerate(value)]

    def end(self) -> None:
        for key in self._left:
            raise self.refuse(_short(key), "unknown key")

    def _take(self, key: str, default: object) -> object:
        if key not in self._left:
            if default is None:
                raise self.refuse(key, "missing")
            return default
        return self._left.pop(key)

    def _phrase(self, key: str, value: str) -> Phrase:
        """`{field}` is a placeholder, `{{` and `}}` are braces."""
        parts: list[tuple[str, str]] = []
        fixed, rest = "", value
        while rest:
            head, brace, rest = _until_brace(rest)
            fixed += head
            if rest[:1] == brace:
                fixed, rest = fixed + brace, rest[1:]
                continue
            if not brace:
                break
            name, closing, rest = rest.partition("}")
            if brace == "}" or not closing or not texts.is_field(name):
                known = f"{', '.join(texts.FIELDS)}, attribute:<key>"
                raise self.refuse(key, f"{shown(value)}: expected {{{{ for a brace, or a field in braces, one of {known}")
            parts.append((fixed, name))
            fixed = ""
        if len(parts) > PLACEHOLDERS_MAX:
            raise self.refuse(key, f"{len(parts)} placeholders, at most {PLACEHOLDERS_MAX}")
        return Phrase((*parts, (fixed, "")) if fixed or not parts else tuple(parts))


def shown(value: object) -> str:
    """A wrong value as a message shows it: short whatever it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN_MAX else value[:SHOWN_MAX] + "…")
    if isinstance(value, int) and abs(value) > 2**63:
        return "a number of more than 64 bits"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        plain = all(isinstance(part, str | int) for part in value) and len(value) <= CONDITIONS_MAX
        return f"[{', '.join(shown(part) for part in value)}]" if plain else f"a list of {len(value)}"
    return repr(value)


def _words(value: object) -> tuple[str, ...] | None:
    """One text or a list of texts as a tuple; None for anything else."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return tuple(value)
    return None


def _printable(value: str) -> bool:
    """No control characters; no-break spaces and direction marks are welcome."""
    return value.isprintable() or all(character.isprintable() or character in "\u00a0\u202f\u200c\u200d\u200e\u200f" for character in value)


def _until_brace(text: str) -> tuple[str, str, str]:
    """Text before the first brace, that brace, and what follows."""
    for place, character in enumerate(text):
        if character in "{}":
            return text[:place], character, text[place + 1 :]
    return text, "", ""


def _is_language(name: str) -> bool:
    return len(name) == 2 and name.isascii() and name.islower() and name.isalpha()


def _short(key: str) -> str:
    return key if len(key) <= SHOWN_MAX and key.isprintable() else repr(key[:SHOWN_MAX])
