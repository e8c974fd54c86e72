"""`[import]`: the files that come to the store, one table for each feed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config_reader import Table
from edge.import_feed import COLUMNS, HOLD_PERCENT, KEEP_DAYS, Complete, Dates, Decimal, Encoding, Feed, FeedKind, Mode
from edge.model import PriceKind

FEEDS_MAX = 32  # four kinds from several suppliers
COLUMN_NUMBER_MAX = 200

_KEYS = (
    "name",
    "kind",
    "mode",
    "folder",
    "pattern",
    "complete",
    "columns",
    "delimiter",
    "encoding",
    "decimal",
    "dates",
    "price_kind",
    "hold_percent",
    "keep_days",
)


@dataclass(frozen=True, slots=True)
class Watched:
    """A feed with a folder of its own."""

    feed: Feed
    folder: Path
    pattern: str
    complete: Complete
    keep_days: int  # how long done and rejected files stay


@dataclass(frozen=True, slots=True)
class ImportConfig:
    """`feeds` are all of them, `watched` those with a folder."""

    poll_ms: int
    feeds: tuple[Feed, ...] = ()
    watched: tuple[Watched, ...] = ()


def import_config(top: Table, *, prices_from_file: bool) -> ImportConfig:
    """Raises ConfigError."""
    table = top.table("import", ("poll_seconds", "feed"))
    feeds: list[Feed] = []
    watched: list[Watched] = []
    for each in table.tables("feed", _KEYS, count_max=FEEDS_MAX):
        feed = _feed(each, prices_from_file=prices_from_file)
        if any(feed.name == other.name for other in feeds):
            raise each.bad("name", "another name: an earlier feed has this one")
        feeds.append(feed)
        if each.has("folder"):
            watch = _watched(each, feed)
            if any(watch.folder == other.folder for other in watched):
                raise each.bad("folder", "another folder: an earlier feed has this one")
            watched.append(watch)
    poll_ms = round(table.number("poll_seconds", low=1, high=3600, default=10) * 1000)
    return ImportConfig(poll_ms, tuple(feeds), tuple(watched))


def _feed(table: Table, *, prices_from_file: bool) -> Feed:
    kind = table.choice("kind", FeedKind)
    if kind in (FeedKind.ITEMS, FeedKind.PRICES) and not prices_from_file:
        raise table.bad("kind", '"stock" or "labels", or price_source = "file": items and prices come from HQ alone')
    if kind is not FeedKind.PRICES and table.has("price_kind"):
        raise table.bad("price_kind", 'nothing: it is for feeds of kind "prices"')
    whole_stock = 100.0  # a list of what is there changes all of it every day
    return Feed(
        name=table.text("name", "1 to 32 letters, digits, _ or -", pattern="[A-Za-z0-9_-]{1,32}"),
        kind=kind,
        mode=table.choice("mode", Mode, default=Mode.DELTA),
        columns=_columns(table, kind),
        delimiter=table.text("delimiter", 'one character such as ";" or "\\t"', default="", pattern=r"|[^\w\s\"]|\t"),
        encoding=table.choice("encoding", Encoding, default=Encoding.AUTO),
        decimal=table.choice("decimal", Decimal, default=Decimal.POINT),
        dates=table.choice("dates", Dates, default=Dates.ISO),
        price_kind=table.choice("price_kind", PriceKind, default=PriceKind.BASE),
        hold_percent=table.number("hold_percent", low=0, high=100, default=whole_stock if kind is FeedKind.STOCK else HOLD_PERCENT),
    )


def _columns(table: Table, kind: FeedKind) -> dict[str, str | int]:
    """Our column -> the file's heading, or its number from 1 in every case."""
    if not table.has("columns"):
        return {}
    values = table.raw("columns")
    known = COLUMNS[kind] + tuple(values) if kind is FeedKind.ITEMS and isinstance(values, dict) else COLUMNS[kind]
    columns = table.table("columns", known)
    plain = Feed("", kind)
    found: dict[str, str | int] = {}
    assert isinstance(values, dict)
    for column, value in values.items():
        if not plain.knows(column):
            raise columns.error(column, f"unknown column, expected one of {', '.join(COLUMNS[kind])} or attribute:NAME")
        is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= COLUMN_NUMBER_MAX
        if not is_number and not (isinstance(value, str) and 1 <= len(value.strip()) <= 200):
            raise columns.bad(column, 'the heading of a column, or in a file without headings its number, such as "Price" or 3')
        found[column] = value.strip() if isinstance(value, str) else value
    if len({type(value) for value in found.values()}) > 1:
        raise table.error("columns", "found headings and numbers, expected one or the other")
    for column in plain.required():
        if column not in found:
            raise columns.error(column, f"missing, expected the heading or number of the column: files of kind {kind} have it")
    return found


def _watched(table: Table, feed: Feed) -> Watched:
    return Watched(
        feed,
        table.absolute_path("folder"),
        table.text("pattern", 'a pattern of names such as "*.csv"', default="*.csv", pattern=r"[^/\x00]{1,100}"),
        table.choice("complete", Complete, default=Complete.RENAME),
        table.integer("keep_days", low=1, high=3650, default=KEEP_DAYS),
    )
