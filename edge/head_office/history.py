"""What a store that was restored from a copy is told: the bindings that it told us, and the offers that its labels may have come to show.

Pure. Too many offers only keep a price down for longer; one too few could let a till charge more than a label shows. So every version of
a price counts that was not certainly over before the copy was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from edge.head_office.publishing import DATA_BYTES_MAX, Draft
from protocols.hq_control import History, PastBinding, PastPrice
from protocols.hq_messages import PriceRow

T = TypeVar("T")

PAGE_ROWS: Final = 250
_PAGE_BYTES: Final = 256  # of data around the rows of a page
SLACK_MS: Final = 3_600_000  # a message may have been on its way when the copy was made, and clocks differ


@dataclass(frozen=True, slots=True)
class SaidPrice:
    """A price row and when it was said."""

    said_ms: int
    row: PriceRow


def past_prices(said: Iterable[SaidPrice], since_ms: int, now_ms: int) -> list[PastPrice]:
    """The offers that may have been in force between the two instants, each once."""
    versions: dict[tuple[str, str], list[SaidPrice]] = {}
    for each in said:
        versions.setdefault((each.row.sku, each.row.price_id), []).append(each)
    offers: dict[tuple[object, ...], PastPrice] = {}
    for found in versions.values():
        found.sort(key=lambda each: each.row.rev)
        for number, each in enumerate(found):
            row = each.row
            later = [next_one for next_one in found[number + 1 :] if next_one.row.rev > row.rev]
            if row.curve and not _over(each, later, since_ms - SLACK_MS) and (row.effective_from_ms or 0) <= now_ms + SLACK_MS:
                offers.setdefault((row.sku, row.curve, row.price_quantity), PastPrice(row.sku, row.curve, row.price_quantity))
    return list(offers.values())


def drafts(restored: str, bindings: Iterable[bytes], prices: Iterable[PastPrice]) -> list[Draft]:
    """The pages of an answer. `bindings`: as the store told them, JSON; one that is none any more is left out."""
    pages = [History(restored, bindings=page) for page in _pages(_bindings(bindings))]
    pages += [History(restored, prices=page) for page in _pages(prices)]
    last = pages.pop() if pages else History(restored)
    return [Draft("history.v1", msgspec.json.encode(page)) for page in (*pages, msgspec.structs.replace(last, last=True))]


def _over(each: SaidPrice, later: list[SaidPrice], instant_ms: int) -> bool:
    """Whether it was certainly no longer in force then: ended, or replaced by what had been said and had begun."""
    if each.row.effective_to_ms is not None and each.row.effective_to_ms < instant_ms:
        return True
    return any(max(newer.said_ms, newer.row.effective_from_ms or 0) < instant_ms for newer in later)


def _bindings(bodies: Iterable[bytes]) -> Iterator[PastBinding]:
    for body in bodies:
        try:
            yield _BINDING.decode(body)
        except msgspec.DecodeError:
            continue  # told by a later program, or a label that was unbound: it shows no item


def _pages(rows: Iterable[T]) -> Iterator[tuple[T, ...]]:
    page: list[T] = []
    size = 0
    for row in rows:
        length = len(msgspec.json.encode(row)) + 1
        if page and (len(page) == PAGE_ROWS or size + length > DATA_BYTES_MAX - _PAGE_BYTES):
            yield tuple(page)
            page, size = [], 0
        page.append(row)
        size += length
    if page:
        yield tuple(page)


_BINDING: Final = msgspec.json.Decoder(PastBinding)
