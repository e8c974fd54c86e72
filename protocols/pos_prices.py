"""The price mirror: how a till that keeps its own table holds the guarded prices, under a lease."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.pos_base import Guard, Params, Result

MIRROR_LEASE_S: Final = 30  # how long a whole mirror may be charged from: what a cut's picture waits for at worst
PAGE_MAX: Final = 100  # entries of a page: some 2 ms of work between two lookups

Revision = Annotated[int, Meta(ge=0)]


class PricesParams(Params, frozen=True):
    """What changed after (`epoch`, `revision`), or the next page of it with the `cursor` that the page before gave."""

    revision: Revision = 0
    epoch: Annotated[str, Meta(max_length=64)] = ""
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_MAX


class MirroredPrice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The price of one item. A quantity costs the least that any of the `curves` gives for it; a member's also counts `member_curves`.

    A curve is a list of [quantity, total_minor]; `removed` is a tombstone: the item is not sold any more.
    """

    item_id: str
    unit: str = ""
    curves: tuple[tuple[tuple[int, int], ...], ...] = ()
    member_curves: tuple[tuple[tuple[int, int], ...], ...] = ()
    deposit_minor: int = 0
    guard: Guard | None = None
    removed: bool = False


class PricesResult(Result, frozen=True, kw_only=True):
    """One page. `cursor` null: the last one. Only then do `epoch` and `revision` name the state that the till now holds, and only then
    may it charge from its table, for `lease_s` seconds from the moment at which it sent the last page's request.

    `full` on a page: the table is sent from the beginning, and what no page of this run names is gone.
    """

    epoch: str
    full: bool
    prices: tuple[MirroredPrice, ...]
    cursor: str | None
    lease_s: int
