"""From a file, or from the database's own catalogue, to what is said to each store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge.head_office.db import log
from edge.head_office.db.seam import Database
from edge.head_office.publishing import (
    BadFile,
    Draft,
    SnapshotDraft,
    from_catalogue,
    from_item_rows,
    from_json,
    from_price_rows,
    is_price_file,
)
from edge.head_office.settings import HqPart


def publish(
    db: Database, author: log.Author, stores: Sequence[str], text: bytes | None, *, csv: bool, hq: HqPart, whole: bool
) -> Iterator[log.Said]:
    """Say it to these stores, or to all, one after the other. Raises BadFile or UnknownStore before anything is said."""
    known = log.stores(db)
    names = list(dict.fromkeys(stores or known))
    for name in names:
        if name not in known:
            raise log.UnknownStore(f"no store {name}; see: shelfd hq store add")
    for name in names if text is None else [""]:  # a file is as good or bad for one as for another
        draft(db, name, text, csv=csv, hq=hq, whole=whole)
    for name in names:
        yield from _say(db, author, name, text, csv=csv, hq=hq, whole=whole)


def _say(db: Database, author: log.Author, store: str, text: bytes | None, *, csv: bool, hq: HqPart, whole: bool) -> list[log.Said]:
    """Drafted outside the transaction, which would make every other publisher wait, and again where one of them was quicker."""
    while True:
        as_of = log.position_of(db, store)
        drafts = draft(db, store, text, csv=csv, hq=hq, whole=whole)
        try:
            return log.append(db, author, store, drafts, as_of)
        except log.Overtaken:
            continue


def draft(db: Database, store: str, text: bytes | None, *, csv: bool, hq: HqPart, whole: bool) -> list[Draft | SnapshotDraft]:
    """`text` None: the whole catalogue as the database has it. Raises BadFile."""
    if text is None:
        return [from_catalogue(*log.catalogue(db, store))]
    if not csv:
        return from_json(text)
    try:
        lines = text.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        raise BadFile(f"line {text.count(bytes([10]), 0, error.start) + 1}: not UTF-8 text") from error
    revs = log.price_revs(db, store)
    if is_price_file(lines):
        if whole:
            raise BadFile("line 1: prices alone are no catalogue: a column name is missing")
        return from_price_rows(lines, hq.currency, hq.currency_exponent, revs)
    return from_item_rows(lines, hq.currency, hq.currency_exponent, revs, whole=whole)
