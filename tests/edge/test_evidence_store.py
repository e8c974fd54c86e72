"""What is noted, in which transaction, and that every change of it afterwards is found."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from drivers.base import Delivery
from edge.evidence import BOUNDS, KEY, MEMBER_PRICE, PROVEN, QUOTE, SALE, SEEN, SENT, TARGET, UNKNOWN, chain_hash
from edge.model import Curve, ItemId, PriceKind
from edge.proof import LOOK_MARGIN_MS, Claim
from edge.store import catalogue, evidence, journal, people
from edge.store.catalogue import NewRow
from edge.store.evidence_check import Head, parse_head
from edge.store.evidence_read import entries_of, entry
from edge.store.people import Who
from edge.store.schema import migrations
from edge.store.store import prepare
from edge.view import Delta
from protocols.pos import Tender
from protocols.pos_returns import ReturnLine, ReturnParams, VoidParams
from tests.edge.evidence_day import MINUTE_MS, ask, checked, copied, day, finished, opened, sell, tamper
from tests.edge.shelf_bench import Shelf
from tests.edge.shop import L1, MILK, Entropy, HandClock, Shop, price


def noted(shop: Shop, what: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(text) for (text,) in shop.rows("SELECT detail FROM audit WHERE what = ? ORDER BY entry_id", what)]


def head_of(shop: Shop) -> Head:
    found = ask(shop.path, journal.audit_head)
    return Head(shop.store.outbox_state().incarnation, found.entry, found.hash)


# -- noting ----------------------------------------------------------------------------------------------------------------


async def test_every_kind_of_fact_of_a_day_is_noted_and_holds(stocked: Shop) -> None:
    await day(stocked)
    assert [len(noted(stocked, what)) for what in (SENT, PROVEN, QUOTE, SALE)] == [5, 5, 3, 3]
    assert [each["of"] for each in noted(stocked, SALE)] == [["s1"], ["s2"], ["s3"]]
    assert {(each["grade"], each["bound"]) for each in noted(stocked, PROVEN)} == {("inferred", True)}
    check = checked(stocked.path)
    assert (check.trouble, check.facts) == ([], 5 + 5 + 3 + 3 + sum(len(noted(stocked, what)) for what in (TARGET, UNKNOWN, BOUNDS)))
    assert check.entry == stocked.value("SELECT count(*) FROM audit")


async def test_a_batch_of_prices_is_one_entry_that_stands_for_all_its_targets(stocked: Shop) -> None:
    before = stocked.value("SELECT count(*) FROM audit")
    await stocked.prices(price("milk", 101, rev=2), price("bread", 201, rev=2), price("beef", 999, rev=2, price_quantity=1000))
    assert stocked.value("SELECT count(*) FROM audit") == before + 1
    first, last = noted(stocked, TARGET)[-1]["of"]
    items = stocked.rows("SELECT item_id FROM target_log WHERE log_id BETWEEN ? AND ? ORDER BY log_id", first, last)
    assert items == [("milk",), ("bread",), ("beef",)]


async def test_a_huge_batch_is_cut_into_entries_that_fit_a_message(stocked: Shop) -> None:
    rows = [NewRow(ItemId(f"i{n}"), PriceKind.BASE, "b", 1, Curve.plain(n + 1), None, None, False) for n in range(1_200)]
    stamp = stocked.store.stamp()

    def transaction(db: Any) -> tuple[None, Delta]:
        delta = Delta()
        catalogue.apply_rows(db, stamp, rows, "test", None, delta)
        return None, delta

    await stocked.store.run(transaction)
    assert [last - first + 1 for first, last in (each["of"] for each in noted(stocked, TARGET)[-3:])] == [500, 500, 200]
    assert checked(stocked.path).trouble == []


async def test_what_is_not_done_is_not_noted(stocked: Shop) -> None:
    before = ask(stocked.path, journal.audit_head)

    def refused(db: Any) -> tuple[None, Delta]:
        evidence.note(db, stocked.store.stamp(), "test", ("label:x",), {})
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        await stocked.store.run(refused)
    assert ask(stocked.path, journal.audit_head) == before
    assert checked(stocked.path).trouble == []


async def test_an_attempt_is_noted_before_its_bytes_leave(shelf: Shelf) -> None:
    seen: list[bool] = []
    deliver = shelf.one.deliver

    def looking(delivery: Delivery) -> None:
        found = entries_of(shelf.db, evidence.label_subject(L1), 2**62)
        seen.append(any(each.what == SENT and each.said["attempt"] == delivery.attempt_id for each in found))
        deliver(delivery)

    shelf.one.deliver = looking  # type: ignore[method-assign]
    await shelf.prices(price("milk", 90, rev=2))
    assert seen == [True]
    assert finished(shelf.db).trouble == []


async def test_a_repeated_sale_is_noted_once(stocked: Shop) -> None:
    from tests.edge.test_store_till import sale

    for _ in range(3):
        await stocked.store.record_sale(sale())
    assert len(noted(stocked, SALE)) == 1


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE return_line SET goods_minor = 1", "(return ['r1'])"),
        ("DELETE FROM return_line", "(return ['r1'])"),
        ("UPDATE sale_return SET refund_minor = 1", "(return ['r1'])"),
        ("UPDATE sale_void SET answer = '{}'", "(sale.voided ['v1'])"),
        ("INSERT INTO sale_void VALUES ('v2', 's2', 'lane-1', 'd', '{}', 1, 1)", "rows of kind sale.voided"),
    ],
)
async def test_what_came_back_and_what_was_voided_is_noted_with_its_lines(stocked: Shop, statement: str, told: str) -> None:
    for sale_id in ("s1", "s2", "s3"):
        await sell(stocked, sale_id, 2)
    returned = ReturnParams("r1", (ReturnLine("1", 1, "1"),), (Tender("cash", 100),), sale_id="s1")
    await stocked.desk.returns.take_back("lane-1", returned)
    await stocked.desk.returns.void("lane-2", VoidParams("v1", "s3"))
    stocked.close()
    assert checked(stocked.path).trouble == []
    assert [found.actor for found in ask(stocked.path, lambda db: entries_of(db, evidence.item_subject(MILK), 2**62))] == [
        "lane lane-1",
        "lane lane-2",
    ]
    tamper(stocked.path, statement)
    assert told in checked(stocked.path).trouble[0]
    stocked.open()


async def test_a_name_with_line_breaks_cannot_move_text_between_the_fields_of_the_hash(stocked: Shop) -> None:
    def transaction(db: Any) -> tuple[int, Delta]:
        return evidence.note(db, stocked.store.stamp(), "label.bound", (), {}, actor='ann\nprice.hold.released\n{"x":1}\t\x7f'), Delta()

    number = await stocked.store.run(transaction)
    found = ask(stocked.path, lambda db: entry(db, number))
    assert found is not None
    assert found.actor == 'ann price.hold.released {"x":1}  '
    assert found.holds()


async def test_notes_are_found_by_label_and_by_item(stocked: Shop) -> None:
    await day(stocked)
    of_label = ask(stocked.path, lambda db: entries_of(db, evidence.label_subject(L1), 2**62))
    assert [each.what for each in of_label] == ["label.new", UNKNOWN, BOUNDS, "label.bound", SENT, PROVEN, SENT, PROVEN]
    of_item = ask(stocked.path, lambda db: entries_of(db, evidence.item_subject(MILK), 2**62))
    assert [each.what for each in of_item] == ["label.bound", "label.bound"]
    assert [each.entry for each in of_label] == sorted(each.entry for each in of_label)


async def test_the_head_and_the_key_travel_in_the_birth(stocked: Shop) -> None:
    await stocked.store.note_evidence_key("a2V5")
    await stocked.store.note_evidence_key("a2V5")
    summary = stocked.store.state_summary()
    head = ask(stocked.path, journal.audit_head)
    assert (summary.audit_entry, summary.audit_hash, summary.evidence_key) == (head.entry, head.hash, "a2V5")
    assert [each["key"] for each in noted(stocked, KEY)] == ["a2V5"]


# -- planted faults --------------------------------------------------------------------------------------------------------

FAULTS = {
    "an actor": ("UPDATE audit SET actor = 'nobody' WHERE entry_id = 5", "audit entry 5 is not chained"),
    "a detail": ("UPDATE audit SET detail = detail || ' ' WHERE entry_id = 4", "audit entry 4 is not chained"),
    "a time": ("UPDATE audit SET wall_ms = wall_ms + 1 WHERE entry_id = 6", "audit entry 6 is not chained"),
    "a hash": ("UPDATE audit SET hash = prev.hash FROM (SELECT hash FROM audit WHERE entry_id = 2) AS prev WHERE entry_id = 7", "entry 7"),
    "an entry taken out": ("DELETE FROM audit WHERE entry_id = 8", "entry 8 is missing"),
    "the first entry taken out": ("DELETE FROM audit WHERE entry_id = 1", "entry 1 is missing"),
    "two entries exchanged": (
        "UPDATE audit SET detail = (SELECT detail FROM audit AS o WHERE o.entry_id = 19 - audit.entry_id) WHERE entry_id IN (9, 10)",
        "audit entry 9 is not chained",
    ),
    "a price in the history": ("UPDATE price_row SET curve = '[[1,99]]' WHERE item_id = 'milk' AND rev = 1", "price.target"),
    "who ordered a price": ("UPDATE price_row SET source = 'x' WHERE item_id = 'milk' AND rev = 2", "price.target"),
    "when a price began": ("UPDATE target_log SET from_wall_ms = from_wall_ms + 1 WHERE log_id = 1", "price.target"),
    "a target taken out": ("DELETE FROM target_log WHERE log_id = 2", "price.target"),
    "a target put in": ("INSERT INTO target_log(item_id, row_id, from_wall_ms) VALUES ('milk', 1, 5)", "rows of kind price.target"),
    "what a label offered": ("UPDATE attempt_offer SET curve = '[[1,1]]' WHERE item_id = 'milk' AND row_id IS NULL", "attempt.sent"),
    "an offer put in": (
        "INSERT INTO attempt_offer SELECT attempt_id, 0, 'all', 'x', '[[1,1]]', 1 FROM attempt WHERE state = 'proven'",
        "sent",
    ),
    "the hash of a picture": ("UPDATE attempt SET picture_hash = 'x' WHERE kind = 'picture'", "attempt.sent"),
    "what drew a picture": ("UPDATE attempt SET fields = '{\"a\":1}' WHERE kind = 'picture'", "attempt.sent"),
    "an attempt put in": (
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms) "
        "VALUES ('AABBCCDD00000001', 'picture', 'past', 'h', 'p', 'm', '{}', 5)",
        "rows of kind attempt.sent",
    ),
    "a quote's lines": ("UPDATE quote SET body = replace(body, '100', '101')", "(quote "),
    "a quote taken out": ("DELETE FROM quote WHERE state = 'used'", "(quote "),
    "a sale's amount": ("UPDATE sale_line SET total_minor = 1 WHERE sale_id = 's2'", "(sale ['s2']"),
    "a sale's answer": ("UPDATE sale SET answer = replace(answer, '[]', '[\"x\"]') WHERE sale_id = 's1'", "(sale ['s1']"),
    "a line put in": (
        "INSERT INTO sale_line SELECT 's3', '2', item_id, code, 1, 1, 1, guard, 0, 0 FROM sale_line WHERE sale_id = 's3'",
        "s3",
    ),
    "a sale put in": ("INSERT INTO sale VALUES ('s9', 'lane-1', NULL, 'd', '{}', 1, 1, 1)", "rows of kind sale"),
    "a subject taken out": ("DELETE FROM audit_subject WHERE subject = 'item:milk'", "no longer found under item:milk"),
    "a subject put in": ("INSERT INTO audit_subject VALUES ('item:milk', 1)", "rows in audit_subject"),
    "the index by time": ("DELETE FROM audit_minute WHERE entry_id > 3", "no longer found by its time"),
}


# what a day has none of: a price for members, a display that was lost, a price that a person read
RARE_FAULTS = {
    "a price for members": ("UPDATE price_row SET curve = '[[1,1]]' WHERE kind = 'member'", "price.member"),
    "a price for members put in": (
        "INSERT INTO price_row(item_id, kind, price_id, rev, effective_from_ms, curve, immediate, cancelled, source, received_wall_ms) "
        "VALUES ('milk', 'member', 'n', 1, 1, '[[1,1]]', 1, 0, 'x', 1)",
        "rows of kind price.member",
    ),
    "a kind of attempt": ("UPDATE attempt SET kind = 'unknown' WHERE attempt_id = SENT", "attempt.sent"),
    "a lost display's kind": ("UPDATE attempt SET kind = 'picture' WHERE attempt_id = LOST", "label.unknown"),
    "what a lost display bounds": ("UPDATE attempt_offer SET curve = '[[1,1]]' WHERE attempt_id = LOST", "attempt.bounds"),
    "a bound taken out": ("DELETE FROM attempt_offer WHERE attempt_id = LOST AND curve = '[[1,80]]'", "attempt.bounds"),
    "a bound put in": ("INSERT INTO attempt_offer VALUES (LOST, 0, 'all', 'milk', '[[1,1]]', NULL)", "rows of kind attempt.bounds"),
    "a lost display put in": (
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms) "
        "VALUES ('AABBCCDD00000001', 'unknown', 'past', '', '', '', '', 5)",
        "rows of kind label.unknown",
    ),
    "what a person read": ("UPDATE attempt_offer SET curve = '[[1,1]]' WHERE attempt_id = READ", "label.confirmed"),
    "a look put in": (
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms) "
        "VALUES ('AABBCCDD00000001', 'picture', 'past', '', '', '', '', 5)",
        "rows of kind label.confirmed",
    ),
}


@pytest.mark.parametrize("fault", RARE_FAULTS)
async def test_a_change_of_what_is_rare_is_found(stocked: Shop, fault: str) -> None:
    await day(stocked)
    await stocked.prices(price("milk", 70, kind="member", price_id="m"))
    lost = stocked.value("SELECT max(attempt_id) FROM attempt") + 1
    await stocked.store.add_unknown(L1, "restart")
    await stocked.prices(price("milk", 80, rev=3))
    stocked.clock.pass_ms(LOOK_MARGIN_MS)
    who, stamp = Who("Ann", "uid 7"), stocked.store.stamp()
    claims = [Claim(MILK, 60)]
    await stocked.store.run(partial(people.confirm, stamp=stamp, label_id=L1, claims=claims, attempt_id=None, who=who, dwell_ms=0))
    assert [len(noted(stocked, what)) for what in (MEMBER_PRICE, SEEN)] == [1, 1]
    read, sent = (
        stocked.value("SELECT max(attempt_id) FROM attempt"),
        stocked.value("SELECT max(attempt_id) FROM attempt WHERE fields <> ''"),
    )
    stocked.close()
    assert checked(stocked.path).trouble == []
    statement, told = RARE_FAULTS[fault]
    tamper(stocked.path, statement.replace("LOST", str(lost)).replace("READ", str(read)).replace("SENT", str(sent)))
    assert any(told in each for each in checked(stocked.path).trouble), checked(stocked.path).trouble
    stocked.open()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_change_is_found(stocked: Shop, fault: str) -> None:
    await day(stocked)
    stocked.close()
    assert checked(stocked.path).trouble == []
    statement, told = FAULTS[fault]
    tamper(stocked.path, statement)
    check = checked(stocked.path)
    assert check.trouble
    assert told in check.trouble[0]
    assert (check.broken_at is not None) == ("entry" in fault or "entries" in fault or statement.startswith("UPDATE audit "))
    stocked.open()


async def test_the_first_broken_entry_is_named_and_nothing_behind_it_is_believed(stocked: Shop) -> None:
    await day(stocked)
    stocked.close()
    tamper(stocked.path, "UPDATE audit SET actor = 'x' WHERE entry_id IN (6, 9, 12)", "UPDATE sale_line SET total_minor = 1")
    check = checked(stocked.path)
    assert (check.broken_at, check.entry, len(check.trouble)) == (6, 5, 1)
    stocked.open()


# -- HQ's head -------------------------------------------------------------------------------------------------------------


def write_anew(path: Path, first: int, detail: str | None = None) -> None:
    """The chain from an entry on with hashes that fit, as somebody would who knows how; that entry with another `detail`, or actor."""
    with opened(path) as db:
        for trigger in ("audit_no_update", "audit_no_delete"):
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute("UPDATE audit SET actor = 'somebody else', detail = coalesce(?, detail) WHERE entry_id = ?", (detail, first))
        before = db.execute("SELECT hash FROM audit WHERE entry_id = ?", (first - 1,)).get
        for number, *fields in db.execute(
            "SELECT entry_id, wall_ms, actor, what, detail FROM audit WHERE entry_id >= ? ORDER BY entry_id", (first,)
        ).fetchall():
            wall_ms, actor, what, said = fields
            before = chain_hash(str(before), int(str(wall_ms)), str(actor), str(what), str(said))
            db.execute("UPDATE audit SET hash = ? WHERE entry_id = ?", (before, number))


async def test_a_chain_written_anew_is_found_by_what_hq_holds_and_only_by_that(stocked: Shop) -> None:
    await day(stocked)
    early = Head(None, 3, ask(stocked.path, lambda db: db.execute("SELECT hash FROM audit WHERE entry_id = 3").get))
    head = head_of(stocked)
    stocked.close()
    assert checked(stocked.path, head, early).trouble == []
    write_anew(stocked.path, 10)
    assert checked(stocked.path).trouble == []
    assert checked(stocked.path, early).trouble == []
    (told,) = checked(stocked.path, head).trouble
    assert f"audit entry {head.entry} is not the one that HQ holds" in told
    stocked.open()


@pytest.mark.parametrize(
    "detail", ['{"of":["x"],"is":"y"}', '{"of":[[1],2],"is":"y"}', '{"of":[1e30,2],"is":"y"}', '{"ids":5}', '{"of":[],"is":1}']
)
async def test_an_entry_that_nobody_here_would_write_does_not_stop_the_check(stocked: Shop, detail: str) -> None:
    await day(stocked)
    stocked.close()
    number, what = stocked.rows("SELECT entry_id, what FROM audit WHERE what = 'price.target' ORDER BY entry_id DESC LIMIT 1")[0]
    write_anew(stocked.path, number, detail)
    check = checked(stocked.path)
    assert check.done and check.broken_at is None
    assert any(f"rows of kind {what}" in each or "audit_subject" in each for each in check.trouble)
    stocked.open()


async def test_entries_cut_off_at_the_end_are_found_by_what_hq_holds(stocked: Shop) -> None:
    await day(stocked)
    head = head_of(stocked)
    stocked.close()
    tamper(stocked.path, f"DELETE FROM audit WHERE entry_id = {head.entry}")
    assert any(
        f"HQ knows of {head.entry} entries" in text or f"entries {head.entry} to {head.entry}" in text
        for text in checked(stocked.path, head).trouble
    )
    stocked.open()


async def test_a_file_whose_end_was_cut_off_goes_on_selling_and_is_told(stocked: Shop) -> None:
    """By the head that is kept beside the file: to HQ, and to whoever verifies."""
    await day(stocked)
    head = head_of(stocked)
    stocked.close()
    tamper(stocked.path, f"DELETE FROM audit WHERE entry_id > {head.entry - 5}")
    stocked.open()
    await sell(stocked, "s9")
    assert stocked.alerts()[-1] == "store_restored"
    stocked.close()
    assert any("HQ knows of" in text or "are not here" in text for text in checked(stocked.path, head).trouble)
    stocked.open()


async def test_after_a_restore_the_copy_s_part_holds_and_what_is_lost_is_named(stocked: Shop, tmp_path: Path) -> None:
    await stocked.heard(L1)
    shared = head_of(stocked)
    stocked.close()
    copied(stocked.path, tmp_path / "copy.db")
    stocked.open()
    await sell(stocked, "s1")
    lost = head_of(stocked)
    stocked.close()
    copied(tmp_path / "copy.db", stocked.path)
    tamper(stocked.path, "DELETE FROM meta WHERE key = 'incarnation'")
    stocked.open()
    await sell(stocked, "s2")
    now = head_of(stocked)
    assert shared.incarnation == lost.incarnation != now.incarnation
    stocked.close()
    assert checked(stocked.path, shared, now).trouble == []
    (told,) = checked(stocked.path, lost).trouble
    assert told.endswith("which HQ knows of, are not here before the file was restored from a copy")
    assert f"entries {shared.entry + 1} to {lost.entry} of incarnation {lost.incarnation}" in told
    (strange,) = checked(stocked.path, Head("9" * 32, now.entry, now.hash)).trouble
    assert "which this file never was" in strange
    stocked.open()


@pytest.mark.parametrize(
    "text", ["", "5", "5:abc", f"5:{'g' * 64}", f"-1:{'0' * 64}", f"xx:5:{'0' * 64}", f"05:{'0' * 64}", f"5:{'0' * 64} "]
)
def test_a_head_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_head(text)


def test_a_head_is_read_with_and_without_its_incarnation() -> None:
    assert parse_head(f"5:{'a' * 64}") == Head(None, 5, "a" * 64)
    assert parse_head(f"{'1' * 32}:5:{'a' * 64}") == Head("1" * 32, 5, "a" * 64)


# -- a file of the first release -------------------------------------------------------------------------------------------


async def test_a_file_of_the_first_release_keeps_its_chain_and_says_where_the_evidence_begins(tmp_path: Path) -> None:
    path = tmp_path / "shelfd.db"
    first_release(path)
    clock = HandClock()
    prepare(path, clock, Entropy("x"))
    check = checked(path)
    assert check.trouble == []
    assert {what: count for what, count in (check.before or {}).items() if count} == {TARGET: 1, SENT: 1, SALE: 1}
    with opened(path) as db:
        assert db.execute("SELECT entry_id, what FROM audit WHERE entry_id <= 4 ORDER BY entry_id").fetchall() == [
            (1, "price.target"),
            (2, "attempt.sent"),
            (3, "evidence.begin"),
            (4, "incarnation"),
        ]
        assert db.execute("SELECT entry_id FROM audit_minute ORDER BY entry_id").fetchall() == [(1,), (2,), (3,)]
    tamper(path, "INSERT INTO target_log(item_id, row_id, from_wall_ms) VALUES ('milk', 1, 5)")
    assert checked(path).trouble
    tamper(path, "DELETE FROM target_log", "UPDATE audit SET detail = '{}' WHERE entry_id = 1")
    assert checked(path).broken_at == 1


def first_release(path: Path) -> None:
    """A small file as the first release wrote it: a price, a picture, a sale, and two entries in another shape than today's."""
    from sqlite_utils import Database

    migrations.apply(Database(str(path)), stop_before="m002_people_returns_holds_evidence")
    db = apsw.Connection(str(path))
    db.execute("PRAGMA user_version = 1")
    db.execute(
        "INSERT INTO price_row(item_id, kind, price_id, rev, effective_from_ms, curve, immediate, cancelled, source, received_wall_ms) "
        "VALUES ('milk', 'base', 'b', 1, 0, '[[1,100]]', 1, 0, 'x', 5); INSERT INTO in_force VALUES ('milk', 1, 5);"
        "INSERT INTO target_log(item_id, row_id, from_wall_ms) VALUES ('milk', 1, 5);"
        "INSERT INTO label(label_id, kind, panel, codecs, slot_bytes, firmware, last_radio, last_seen_wall_ms) "
        "VALUES ('L', 'oepl', '', '[]', 0, 0, '', 0);"
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms) "
        "VALUES ('L', 'picture', 'proven', 'h', 'p', 'm', '{}', 6);"
        "INSERT INTO sale VALUES ('s0', 'lane-1', NULL, 'd', '{}', 100, 1, 7)"
    )
    before = journal.GENESIS
    for wall_ms, what, detail in ((5, "price.target", {"item": "milk"}), (MINUTE_MS, "attempt.sent", {"label": "L", "attempt": 1})):
        text = json.dumps(detail)
        digest = chain_hash(before, wall_ms, "store", what, text)
        db.execute(
            "INSERT INTO audit(wall_ms, actor, what, detail, prev_hash, hash) VALUES (?, 'store', ?, ?, ?, ?)",
            (wall_ms, what, text, before, digest),
        )
        before = digest
    journal.set_meta(db, "incarnation", "1" * 32)
    for key, value in (("up_seq", "0"), ("up_hash", journal.GENESIS), ("acked_through", "0")):
        journal.set_meta(db, key, value)
    db.close()
