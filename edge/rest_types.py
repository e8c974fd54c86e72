"""What REST gives: the types of its answers, from which docs/reference/rest/openapi.json is made."""

from __future__ import annotations

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Absent: null. Fields may join; a reader passes over those that it does not know."""


class StoreView(Answer, frozen=True):
    """The store, and how fresh what it says is."""

    store: str
    name: str
    version: str
    currency: str
    currency_exponent: int  # decimals of the minor unit: 199 with 2 is 1.99
    tax_mode: str
    ready: bool
    revision: int
    as_of: str | None
    stale_s: int


class PriceNow(Answer, frozen=True):
    """What a lane charges at this instant: never more than any label of the item may be showing."""

    amount_minor: int  # for `quantity` of `unit`
    quantity: int
    unit: str
    kind: str
    currency: str
    guard: str | None = None  # why a lane charges less than the store's own price, where it does
    member: bool = False
    pack_quantity: int = 1  # units that the code stands for
    pack_minor: int | None = None  # what the pack costs whose code says its own price or weight


class Availability(Answer, frozen=True):
    """Units in the store. `available`: not promised to anybody."""

    state: str  # in, low, out or unknown
    on_hand: int
    available: int
    unit: str


class ItemView(Answer, frozen=True):
    """An item as a kiosk shows it. `price` is null where it has none."""

    item_id: str
    name: str
    short_name: str
    brand: str
    category: str
    origin: str
    code: str | None
    sold_by: str
    unit: str
    net_content: int | None
    net_unit: str | None
    age_limit: int | None
    deposit_minor: int
    attributes: dict[str, str]
    price: PriceNow | None
    availability: Availability
    revision: int
    as_of: str
    stale_s: int


class Mistake(Answer, frozen=True):
    """One thing that is wrong in a file: line 0 is the whole file, for rows sent as JSON the first is line 1."""

    line: int
    column: str
    found: str
    expected: str


class ImportView(Answer, frozen=True):
    """What became of a file or of rows. state: done, same (no news), checked (a dry run), held, rejected, applying, discarded or
    superseded."""

    import_id: str
    state: str
    feed: str
    name: str
    rows: int
    new: int
    changed: int
    unchanged: int
    removed: int
    held: int
    failed: int
    problems: int
    reason: str = ""
    persons: tuple[str, ...] = ()
    persons_needed: int = 1
    mistakes: tuple[Mistake, ...] = ()


class Problem(Answer, frozen=True):
    """RFC 9457. `code` is the stable name of what went wrong; `mistakes` are there where a file was refused."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    mistakes: tuple[Mistake, ...] = ()
