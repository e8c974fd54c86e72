"""From a file, or from the database's own catalogue, to drafts for one store."""

from __future__ import annotations

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
