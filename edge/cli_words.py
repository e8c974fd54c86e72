"""Amounts, offers and ages as a person reads them on a terminal. A pipe and `--json` get the plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))


def money(minor: object, exponent: int) -> str:
    """`120` as `1.20` in a currency of two decimals; nothing for what is no amount."""
    if not isinstance(minor, int):
        return ""
    whole, rest = divmod(abs(minor), 10**exponent)
    return f"{'-' if minor < 0 else ''}{whole}" + (f".{rest:0{exponent}d}" if exponent else "")


def offer(points: Iterable[Sequence[int]], exponent: int) -> str:
    """A curve: `1.20`, `1.20, 3 for 2.50`, `19.99 for 1000`."""
    told = [money(total, exponent) if quantity == 1 else (quantity, money(total, exponent)) for quantity, total in points]
    words = [each if isinstance(each, str) else f"{each[0]} for {each[1]}" for each in told]
    if words and not isinstance(told[0], str):
        words[0] = f"{told[0][1]} for {told[0][0]}"
    return ", ".join(words)


def ago(seconds: object) -> str:
    """A length of time by its largest unit: `40 s`, `5 min`, `3 h`, `12 d`."""
    if not isinstance(seconds, int):
        return ""
    for unit_s, name in _AGES:
        if seconds >= 2 * unit_s or seconds == unit_s:
            return f"{seconds // unit_s} {name}"
    return f"{seconds} s"


def instant(text: object) -> str:
    """An instant of an answer, to the second: `2026-11-22 02:17:46Z`."""
    return f"{text[:10]} {text[11:19]}Z" if isinstance(text, str) and len(text) >= 19 else ""


def lane(said: Mapping[str, object], exponent: int) -> str:
    """What a lane asks, and what held it down: `1.00 (shelf_lower, label L1)`."""
    price = said.get("price_minor", said.get("total_minor"))
    quantity = said.get("quantity")
    words = money(price, exponent) + (f" for {quantity}" if quantity != 1 else "")
    by = said.get("held_by") or (f"label {said['label']}" if said.get("label") else None)
    return f"{words} ({', '.join(str(each) for each in (said['guard'], by) if each)})" if said.get("guard") else words
