"""Files on their way into the store: what is checked, what waits for a person, what is in force. A transaction is a function here.

    STAGING --> REJECTED              a line is wrong: nothing of the file is used
            --> CHECKED               a dry run
            --> HELD --> DISCARDED    a person says no
                     --> SUPERSEDED   a newer whole file came
            --> APPLYING --> DONE     piece by piece (edge.store.import_apply)

What is STAGING when the daemon starts is forgotten: its file is read again. What is APPLYING goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from edge.import_feed import Feed, FeedKind, Mode
from edge.import_rows import SHAPES, ItemCells, LabelCells, PriceCells, Row, StockCells, StoreTerms
from edge.import_text import Problem, cut
from edge.store import import_plan
from edge.store.catalogue import BATCH_ANOMALY_ITEMS_MIN, PERSONS_TO_RELEASE
from edge.store.db import Refused
from edge.store.hq_rows import Context
from edge.store.import_plan import CHANGED, NEW, UNCHANGED, Plan
from edge.store.journal import make_id, record
from edge.store.rows import Db, Stamp, json_text

HOLD_MIN: Final = 5  # below this many entries a share says nothing


class ImportState(StrEnum):
    STAGING = "staging"
    REJECTED = "rejected"
    CHECKED = "checked"
    HELD = "held"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"
    APPLYING = "applying"
    DONE = "done"


OPEN: Final = (ImportState.STAGING, ImportState.HELD, ImportState.APPLYING)


class Counts(msgspec.Struct, omit_defaults=True):
    """What was found, then what was done. `existing`: how many there were of what the file is about."""

    rows: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    held: int = 0
    failed: int = 0
    problems: int = 0
    reprices: int = 0
    existing: int = 0


class Settings(msgspec.Struct, frozen=True):
    """How the file was read. Kept with it: what the configuration says may change before it is in force."""

    feed: Feed
    terms: StoreTerms


@dataclass(frozen=True, slots=True)
class Import:
    """One file. `through_line` and `through_key` say how far it is in force."""

    import_id: str
    feed: str
    settings: Settings
    name: str
    fingerprint: str
    sha256: str
    actor: str
    state: ImportState
    reason: str
    persons: tuple[str, ...]
    persons_needed: int
    counts: Counts
    through_line: int
    through_key: str
    began_wall_ms: int
    ended_wall_ms: int | None
    filed: bool  # False: its file lies in a watched folder's work/ and its report is still to be written


_COLUMNS: Final = (
    "import_id, feed, settings, name, fingerprint, sha256, actor, state, reason, persons, persons_needed, counts, through_line, "
    "through_key, began_wall_ms, ended_wall_ms, filed"
)
_KNOWN: Final = "state <> 'abandoned'"  # what `import_keep.abandon` leaves until it is forgotten is no import


def find(db: Db, import_id: str) -> Import | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM import_file WHERE import_id = ? AND {_KNOWN}", (import_id,)).fetchone()  # noqa: S608
    return None if row is None else _import_of(row)


def recent(db: Db, limit: int) -> list[Import]:
    """Newest first, those that wait for a person before all others."""
    found = db.execute(
        f"SELECT {_COLUMNS} FROM import_file WHERE {_KNOWN} ORDER BY state = 'held' DESC, rowid DESC LIMIT ?",  # noqa: S608
        (limit,),
    )
    return [_import_of(row) for row in found]


def in_state(db: Db, state: ImportState, feed: str | None = None) -> list[Import]:
    """Oldest first."""
    found = db.execute(
        f"SELECT {_COLUMNS} FROM import_file WHERE state = ?1 AND (?2 IS NULL OR feed = ?2) ORDER BY rowid",  # noqa: S608
        (str(state), feed),
    )
    return [_import_of(row) for row in found]


def _import_of(row: tuple[object, ...]) -> Import:
    id_, feed, settings, name, fingerprint, sha256, actor, state, reason, persons, needed, counts, line, key, began, ended, filed = row
    return Import(
        str(id_),
        str(feed),
        msgspec.json.decode(str(settings), type=Settings),
        str(name),
        str(fingerprint),
        str(sha256),
        str(actor),
        ImportState(str(state)),
        str(reason),
        msgspec.json.decode(str(persons), type=tuple[str, ...]),
        int(str(needed)),
        msgspec.json.decode(str(counts), type=Counts),
        int(str(line)),
        str(key),
        int(str(began)),
        None if ended is None else int(str(ended)),
        bool(filed),
    )


# -- checking --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begun:
    """A file to be staged under `import_id`, or, with `same`, one that is known already: nothing is to be done."""

    import_id: str
    same: Import | None = None


def begin(
    db: Db, stamp: Stamp, settings: Settings, name: str, sha256: str, actor: str, *, import_id: str, dry_run: bool, watched: bool
) -> Begun:
    """Open the account of a file whose bytes are known. The same bytes as the feed's last one, in force or waiting, are no news.

    Raises Refused where an earlier delta of the feed waits for a person: what comes after it must not go before it.
    """
    feed = settings.feed
    fingerprint = feed.fingerprint(sha256)
    last = db.execute(
        f"SELECT {_COLUMNS} FROM import_file WHERE feed = ? AND state IN ('held', 'applying', 'done') "  # noqa: S608
        "ORDER BY rowid DESC LIMIT 1",
        (feed.name,),
    ).fetchone()
    if last is not None and not dry_run:
        newest = _import_of(last)
        if newest.fingerprint == fingerprint:
            return Begun(newest.import_id, newest)
        if newest.state is ImportState.HELD and (feed.mode is Mode.DELTA or newest.settings.feed.mode is Mode.DELTA):
            raise Refused(f"import {newest.import_id} of the same feed waits for a person: shelfd imports approve or discard it first")
    db.execute(
        f"INSERT INTO import_file({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, 'staging', '', '[]', 1, '{{}}', 0, '', ?, NULL, ?)",  # noqa: S608
        (import_id, feed.name, json_text(settings), name, fingerprint, sha256, actor, stamp.wall_ms, int(not watched)),
    )
    return Begun(import_id)


def new_import_id(stamp: Stamp) -> str:
    return make_id(stamp, "import")


def stage(db: Db, import_id: str, rows: Iterable[Row], problems: Iterable[Problem], context: Context) -> None:
    """Keep rows, each with what it would change; what the catalogue has against them joins the problems."""
    account = _open(db, import_id, ImportState.STAGING)
    feed, counts = account.settings.feed, account.counts
    for problem in problems:
        _complain(db, import_id, counts, problem)
    for row in rows:
        plan = plan_row(db, row.body, account.settings, context)
        wrong = plan.wrong
        if not wrong:
            earlier = None
            if feed.kind in (FeedKind.PRICES, FeedKind.STOCK):  # an item by its number and by its code are one; the reader cannot know
                earlier = db.execute("SELECT line FROM import_row WHERE import_id = ? AND key = ?", (import_id, plan.key)).get
            if earlier is not None:
                wrong = (("sku", plan.key.replace("\t", " "), f"each once: it is on line {earlier} already"),)
        if wrong:
            for column, found, expected in wrong:
                heading = str(feed.columns.get(column, column))
                _complain(db, import_id, counts, Problem(row.line, heading, cut(found), expected))
            continue
        db.execute("INSERT INTO import_row VALUES (?, ?, ?, ?, ?, ?)", (import_id, row.line, plan.key, row.body, plan.outcome, plan.detail))
        count(counts, plan)
    _save(db, import_id, counts)


def plan_row(db: Db, body: str, settings: Settings, context: Context) -> Plan:
    """What a staged row would change now."""
    feed, exponent = settings.feed, settings.terms.exponent
    match msgspec.json.decode(body, type=SHAPES[feed.kind]):
        case ItemCells() as cells:
            return import_plan.plan_item(db, cells, exponent)
        case PriceCells() as cells:
            return import_plan.plan_price(db, cells, feed, exponent)
        case StockCells() as cells:
            return import_plan.plan_stock(db, cells)
        case LabelCells() as cells:
            return import_plan.plan_label(db, cells, context.default_template, context.templates)


def count(counts: Counts, plan: Plan) -> None:
    counts.rows += 1
    counts.reprices += plan.reprices
    if plan.outcome == NEW:
        counts.new += 1
    elif plan.outcome == CHANGED:
        counts.changed += 1
    elif plan.outcome == UNCHANGED:
        counts.unchanged += 1


def _complain(db: Db, import_id: str, counts: Counts, problem: Problem) -> None:
    counts.problems += 1
    db.execute(
        "INSERT INTO import_problem VALUES (?, ?, ?, ?, ?, ?)",
        (import_id, counts.problems, problem.line, problem.column, problem.found, problem.expected),
    )


def _save(db: Db, import_id: str, counts: Counts) -> None:
    db.execute("UPDATE import_file SET counts = ? WHERE import_id = ?", (json_text(counts), import_id))


def _open(db: Db, import_id: str, state: ImportState) -> Import:
    found = find(db, import_id)
    if found is None or found.state is not state:
        raise Refused(f"no import {import_id} is {state}" if state is not ImportState.HELD else f"no import waits under {import_id}")
    return found


def note_existing(db: Db, import_id: str, existing: int, removed: int) -> None:
    """How many entries there are of what a full file is about, and how many of them it does not name: so far, page by page."""
    counts = _open(db, import_id, ImportState.STAGING).counts
    counts.existing += existing
    counts.removed += removed
    _save(db, import_id, counts)


def decide(db: Db, stamp: Stamp, import_id: str, problems: int, context: Context, *, dry_run: bool) -> Import:
    """The whole file is staged: accept it, hold it, refuse it, or leave it at that. `problems` counts those not named, too."""
    account = _open(db, import_id, ImportState.STAGING)
    counts = account.counts
    counts.problems = max(counts.problems, problems)
    _save(db, import_id, counts)
    if counts.problems:
        _end(db, stamp, account, ImportState.REJECTED, f"{counts.problems} mistakes", account.actor)
        return _found(db, import_id)
    reason, persons_needed = _doubts(db, account.settings.feed, counts, context)
    db.execute("UPDATE import_file SET reason = ?, persons_needed = ? WHERE import_id = ?", (reason, persons_needed, import_id))
    if dry_run:
        _end(db, stamp, account, ImportState.CHECKED, reason, account.actor)
        return _found(db, import_id)
    for older in in_state(db, ImportState.HELD, account.feed):
        _end(db, stamp, older, ImportState.SUPERSEDED, f"import {import_id} came after it", account.actor)
    if not reason:
        _accept(db, account)
    else:
        db.execute("UPDATE import_file SET state = 'held' WHERE import_id = ?", (import_id,))
        held = {"import": import_id, "feed": account.feed, "file": account.name, "sha256": account.sha256, "reason": reason}
        record(db, stamp, account.actor, "import.held", held)
    return _found(db, import_id)


def _doubts(db: Db, feed: Feed, counts: Counts, context: Context) -> tuple[str, int]:
    """Why a person should look first ("": nobody need), and how many have to."""
    priced = db.execute("SELECT count(*) FROM in_force").get
    batch_percent = context.limits.batch_percent
    if isinstance(priced, int) and counts.reprices >= BATCH_ANOMALY_ITEMS_MIN and counts.reprices * 100 > priced * batch_percent:
        return f"changes {counts.reprices} of {priced} prices, more than {float(batch_percent):g} %", PERSONS_TO_RELEASE
    if feed.mode is Mode.FULL and counts.existing >= HOLD_MIN and not counts.rows:  # an export that found nothing
        return f"is empty: removes all of {counts.existing} {feed.kind}", 1
    moved = counts.removed + counts.changed
    if feed.mode is Mode.FULL and counts.existing >= HOLD_MIN and moved * 100 > counts.existing * feed.hold_percent:
        share = f"more than {feed.hold_percent:g} %"
        return f"removes {counts.removed} and changes {counts.changed} of {counts.existing} {feed.kind}, {share}", 1
    return "", 1


# -- deciding --------------------------------------------------------------------------------------------------------------


def approve(db: Db, stamp: Stamp, import_id: str, person: str, actor: str) -> Import:
    """A person lets a held file through; where two have to, the second does. Another spelling is no second person. Raises Refused."""
    account, person = _open(db, import_id, ImportState.HELD), " ".join(person.split())
    if not person:
        raise Refused("an approval needs a name")
    known = person.casefold() in map(str.casefold, account.persons)
    persons = account.persons if known else (*account.persons, person)
    db.execute("UPDATE import_file SET persons = ? WHERE import_id = ?", (json_text(persons), import_id))
    record(db, stamp, f"{person} ({actor})", "import.approved", {"import": import_id, "sha256": account.sha256, "reason": account.reason})
    if len(persons) >= account.persons_needed:
        _accept(db, account)
    return _found(db, import_id)


def discard(db: Db, stamp: Stamp, import_id: str, person: str, actor: str) -> Import:
    """A person drops a held file. Raises Refused."""
    account = _open(db, import_id, ImportState.HELD)
    _end(db, stamp, account, ImportState.DISCARDED, account.reason, f"{person} ({actor})")
    return _found(db, import_id)


def _accept(db: Db, account: Import) -> None:
    """From now on the file goes in force; what was found while checking gives way to what is done."""
    unchanged = 0 if account.persons or account.state is ImportState.HELD else account.counts.unchanged  # those are not looked at again
    counts = msgspec.structs.replace(account.counts, new=0, changed=0, unchanged=unchanged, removed=0)
    db.execute("UPDATE import_file SET state = 'applying', counts = ? WHERE import_id = ?", (json_text(counts), account.import_id))


def _end(db: Db, stamp: Stamp, account: Import, state: ImportState, reason: str, actor: str) -> None:
    db.execute(
        "UPDATE import_file SET state = ?, reason = ?, ended_wall_ms = ? WHERE import_id = ?",
        (str(state), reason, stamp.wall_ms, account.import_id),
    )
    if state is not ImportState.CHECKED:  # a dry run is nothing that anybody has to answer for
        said = {"import": account.import_id, "feed": account.feed, "file": account.name, "sha256": account.sha256, "reason": reason}
        record(db, stamp, actor, f"import.{state}", said)


def _found(db: Db, import_id: str) -> Import:
    found = find(db, import_id)
    assert found is not None
    return found
