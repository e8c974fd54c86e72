"""HQ's settings and keys, a copy that takes the place of the store's file, and an outbox that nobody empties."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import shutil
from functools import partialmethod
from pathlib import Path
from typing import Any

import apsw
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.hq_ports import Outcome
from edge.model import ItemId, MayKind
from edge.store import journal
from edge.store.db import Refused, StoreError
from edge.store.restore import restore
from edge.store.store import prepare
from protocols.hq import Message, Signer, parse_down, partition_of
from protocols.hq_events import Event, EventKind, chain_hash
from protocols.hq_seal import BadSignature
from tests.edge.evidence_day import checked
from tests.edge.shop import BREAD, HOUR_MS, HQ_ONE, L1, L2, MILK, Entropy, HandClock, Shop, facts, item, message, price

STORE = "demo-01"


def key(seed: int) -> Signer:
    return Signer(f"k{seed}", Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def enrolment(*signers: Signer, revision: int = 0) -> bytes:
    file = {
        "store": STORE,
        "partition": partition_of(STORE),
        "broker": {"host": "hq.example", "port": 1883},
        "hq_keys": [{"kid": each.kid, "public_key": each.public_key} for each in signers],
        "hq_incarnation": HQ_ONE,
        "hq_keys_revision": revision,
    }
    return json.dumps(file).encode()


def keys(revision: int, *signers: Signer) -> dict[str, object]:
    return {"revision": revision, "keys": [{"kid": each.kid, "public_key": each.public_key} for each in signers]}


def sealed(signer: Signer, said: Message) -> Message:
    """The message as the store would take it from the wire, signed by this key."""
    raw = signer.seal(said.tail, said.raw[said.raw.index(b"\n") + 1 :])
    return parse_down(said.tail, raw, {signer.kid: signer._key.public_key()}, STORE)


# -- settings --------------------------------------------------------------------------------------------------------------


def config(version: int, document: dict[str, object]) -> dict[str, object]:
    text = json.dumps(document)
    return {"version": version, "document": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}


async def test_settings_hold_until_a_document_leaves_them_out(stocked: Shop) -> None:
    await stocked.say("config.put.v1", config(1, {"guard.anomaly_factor": 100, "guard.anomaly_drop_percent": 99}))
    await stocked.prices(price("milk", 9_900, rev=2))
    assert stocked.charge(MILK) == 9_900
    stocked.reopen()
    assert float(stocked.store.context.limits.factor) == 100
    await stocked.say("config.put.v1", config(2, {}))
    await stocked.prices(price("milk", 1, rev=3))
    assert stocked.charge(MILK) == 9_900
    told = stocked.store.state_summary().config
    assert told is not None
    assert told.version == 2


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"guard.dwell_minutes": 0}, "guard.dwell_minutes"),
        ({"guard.anomaly_factor": 0.5}, "guard.anomaly_factor"),
        ({"labels.default_template": "no-such-template"}, "labels.default_template"),
        ({"guard.anomaly_factor": "many"}, "guard.anomaly_factor"),
    ],
)
async def test_a_key_that_hq_may_not_set_is_refused_by_name(stocked: Shop, document: dict[str, object], names: str) -> None:
    refused = await stocked.say("config.put.v1", config(1, document))
    assert refused.outcome is Outcome.REJECTED
    assert names in refused.detail
    assert stocked.store.state_summary().config is None


async def test_an_old_or_a_second_version_of_the_settings_changes_nothing(stocked: Shop) -> None:
    await stocked.say("config.put.v1", config(5, {"guard.anomaly_factor": 50}))
    assert (await stocked.say("config.put.v1", config(5, {"guard.anomaly_factor": 50}))).outcome is Outcome.APPLIED
    assert (await stocked.say("config.put.v1", config(5, {"guard.anomaly_factor": 60}))).outcome is Outcome.REJECTED
    assert (await stocked.say("config.put.v1", config(4, {}))).outcome is Outcome.REJECTED
    assert float(stocked.store.context.limits.factor) == 50


async def test_a_document_without_its_hash_is_refused(stocked: Shop) -> None:
    assert (await stocked.say("config.put.v1", config(1, {}) | {"sha256": "0" * 64})).outcome is Outcome.REJECTED


# -- keys ------------------------------------------------------------------------------------------------------------------


async def test_a_key_is_replaced_in_two_steps_and_the_old_one_ends(shop: Shop) -> None:
    old, new = key(1), key(2)
    await shop.store.enrol(enrolment(old), "test")
    await shop.store.receive(sealed(old, message("keys.put.v1", keys(1, old, new), 1)))
    assert _believed(shop) == {"k1", "k2"}
    shop.reopen()
    await shop.store.receive(sealed(new, message("keys.put.v1", keys(2, new), 2)))
    assert _believed(shop) == {"k2"}
    shop.reopen()
    said = message("price.batch.v1", {"rows": [price("milk", 1)]}, 1)
    believed = shop.store.enrolment()
    assert believed is not None
    with pytest.raises(BadSignature):
        parse_down("dn/price", old.seal("dn/price", said.raw[said.raw.index(b"\n") + 1 :]), believed.keys, STORE)


@pytest.mark.parametrize("seed", range(30))
async def test_no_order_of_old_new_and_repeated_key_sets_brings_an_old_key_back(shop: Shop, seed: int) -> None:
    """Key sets 1..4, each signed by a key of its own; they come in any order. The revision in force never falls."""
    chance, signers = random.Random(seed), [key(n) for n in range(1, 6)]
    await shop.store.enrol(enrolment(*signers[:2]), "test")
    sets = [(revision, signers[revision], [signers[revision], signers[revision + 1]]) for revision in range(1, 4)]
    queue = sets * 2
    chance.shuffle(queue)
    high = 0
    for seq, (revision, signer, members) in enumerate(queue, 1):
        believed = shop.store.enrolment()
        assert believed is not None
        if signer.kid not in believed.keys:
            continue  # it would not pass the signature
        await shop.store.receive(sealed(signer, message("keys.put.v1", keys(revision, *members), seq)))
        now = shop.store.enrolment()
        assert now is not None
        assert now.keys_revision >= high
        high = now.keys_revision
        if chance.random() < 0.3:
            shop.reopen()
            assert shop.store.enrolment() is not None


async def test_a_set_without_the_key_that_signed_it_is_refused(shop: Shop) -> None:
    old, new = key(1), key(2)
    await shop.store.enrol(enrolment(old), "test")
    assert (await shop.store.receive(sealed(old, message("keys.put.v1", keys(1, new), 1)))).outcome is Outcome.REJECTED
    same_name = Signer("k1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert (await shop.store.receive(sealed(old, message("keys.put.v1", keys(1, same_name), 2)))).outcome is Outcome.REJECTED
    assert _believed(shop) == {"k1"}


async def test_a_file_with_older_keys_is_refused_and_a_newer_one_taken(shop: Shop) -> None:
    old, new = key(1), key(2)
    await shop.store.enrol(enrolment(old), "test")
    await shop.store.receive(sealed(old, message("keys.put.v1", keys(3, old, new), 1)))
    with pytest.raises(Refused, match="revision 0"):
        await shop.store.enrol(enrolment(old), "test")
    await shop.store.enrol(enrolment(key(4), revision=4), "test")
    assert _believed(shop) == {"k4"}


def _believed(shop: Shop) -> set[str]:
    found = shop.store.enrolment()
    assert found is not None
    return set(found.keys)


# -- a copy ----------------------------------------------------------------------------------------------------------------


def copy_of(shop: Shop, to: Path) -> Path:
    db = apsw.Connection(str(shop.path))
    try:
        db.execute("VACUUM INTO ?", (str(to),))
    finally:
        db.close()
    return to


def own(shop: Shop) -> str:
    """The incarnation of the store."""
    return shop.store.outbox_state().incarnation


async def test_a_restored_store_charges_no_more_than_what_labels_may_show(stocked: Shop, tmp_path: Path) -> None:
    """After the copy: bread's price falls, L1 shows it, and L2 is bound to milk and shows a promotion that has ended since."""
    await stocked.heard(L1)
    await stocked.heard(L2)
    await stocked.bind(L1, BREAD)
    await stocked.shows(L1, BREAD, 200)
    copy = copy_of(stocked, tmp_path / "copy.db")
    copied_ms = stocked.clock.wall
    stocked.clock.pass_ms(HOUR_MS)
    await stocked.prices(price("bread", 150, rev=2))
    await stocked.shows(L1, BREAD, 150)
    await stocked.bind(L2, MILK)
    await stocked.shows(L2, MILK, 40)
    before = stocked.store.outbox_state()
    stocked.close()
    done = restore(copy, stocked.path, stocked.clock)
    assert (done.labels, done.since_ms <= copied_ms) == (2, True)
    store = stocked.open()
    after = store.outbox_state()
    assert (after.incarnation != before.incarnation, store.went_back) == (True, True)
    assert store.restored_since_ms() == done.since_ms
    assert {entry.kind for entry in store.view.may_entries() if entry.kind is MayKind.UNKNOWN}
    bindings = [{"label": L2, "items": ["milk"], "template": "shelf", "binding_rev": 1}]
    offers = [{"sku": "bread", "curve": [[1, 150]]}, {"sku": "milk", "curve": [[1, 40]]}]
    await stocked.store.receive(message("history.v1", {"restored": after.incarnation, "bindings": bindings}, 1))
    assert store.restored_since_ms() is not None
    await stocked.store.receive(message("history.v1", {"restored": after.incarnation, "prices": offers, "last": True}, 2))
    assert (stocked.charge(BREAD), stocked.guard(BREAD)) == (150, "unproven")
    assert (stocked.charge(MILK), stocked.guard(MILK)) == (40, "unproven")
    assert store.view.bindings[L2].items == (MILK,)
    assert store.restored_since_ms() is None
    stocked.reopen()
    assert (stocked.charge(BREAD), stocked.charge(MILK)) == (150, 40)
    assert stocked.store.outbox_state().incarnation == after.incarnation
    stocked.close()
    assert checked(stocked.path).trouble == []
    stocked.open()


async def test_quotes_that_a_copy_does_not_know_are_waited_for_over_any_number_of_starts(stocked: Shop, tmp_path: Path) -> None:
    """A cut's picture must not hang under a quote that only the lost file knew, also not after a crash soon after the restore."""
    clock, store_facts = stocked.clock, facts()
    copy = copy_of(stocked, tmp_path / "copy.db")
    stocked.close()
    restore(copy, stocked.path, clock)

    def waits_ms() -> int:
        stocked.open(store_facts)
        left_ms = stocked.desk.mirror._unknown_until_ms - clock.link_ms()
        stocked.close()
        return left_ms

    assert waits_ms() == store_facts.quote_valid_ms
    clock.pass_ms(60_000)
    assert waits_ms() == store_facts.quote_valid_ms - 60_000
    clock.boot, clock.now = "another boot", 5
    assert waits_ms() == store_facts.quote_valid_ms, "nobody knows how long the machine was off"
    clock.pass_ms(24 * HOUR_MS)
    assert waits_ms() <= 60_000
    assert waits_ms() <= 60_000
    stocked.open()
    assert stocked.store.lost_ms_ago is None


async def test_a_binding_that_the_copy_has_newer_is_not_turned_back(stocked: Shop, tmp_path: Path) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.bind(L1, BREAD)
    copy = copy_of(stocked, tmp_path / "copy.db")
    stocked.close()
    restore(copy, stocked.path, stocked.clock)
    stocked.open()
    past = [{"label": L1, "items": ["milk"], "template": "shelf", "binding_rev": 1}]
    await stocked.store.receive(message("history.v1", {"restored": own(stocked), "bindings": past, "last": True}, 1))
    assert stocked.store.view.bindings[L1].items == (BREAD,)


async def test_history_for_another_incarnation_is_refused(stocked: Shop) -> None:
    assert (await stocked.say("history.v1", {"restored": "f" * 32, "last": True})).outcome is Outcome.REJECTED


async def test_un_acknowledged_events_of_the_copy_travel_again_in_a_new_chain(stocked: Shop, tmp_path: Path) -> None:
    await stocked.store.note_alert("a", "1")
    await stocked.store.note_alert("b", "2")
    ids = [event.id for event in stocked.store.outbox(0, 100)]
    copy = copy_of(stocked, tmp_path / "copy.db")
    stocked.close()
    restore(copy, stocked.path, stocked.clock)
    store = stocked.open()
    events = store.outbox(0, 100)
    assert [event.id for event in events][: len(ids)] == ids
    assert _chained(store.outbox_state().incarnation, events)
    assert stocked.alerts()[-1] == "store_restored"


@pytest.mark.parametrize("bad", ["missing", "text", "newer"])
async def test_a_copy_that_is_none_leaves_the_store_as_it_was(stocked: Shop, tmp_path: Path, bad: str) -> None:
    copy = tmp_path / "copy.db"
    if bad == "text":
        copy.write_bytes(b"not a database, but longer than a header of one " * 40)
    elif bad == "newer":
        copy_of(stocked, copy)
        db = apsw.Connection(str(copy))
        db.execute("PRAGMA user_version = 999")
        db.close()
    stocked.close()
    before = stocked.path.read_bytes()
    with pytest.raises(StoreError):
        restore(copy, stocked.path, stocked.clock)
    assert stocked.path.read_bytes() == before
    stocked.open()


async def test_the_copy_itself_is_only_read(stocked: Shop, tmp_path: Path) -> None:
    """It may be the only one, on a medium that takes no writing, with its checksum noted elsewhere. No file appears beside it."""
    folder = tmp_path / "medium"
    folder.mkdir()
    copy = copy_of(stocked, folder / "copy of 100% #1?.db")
    stocked.close()
    before = copy.read_bytes()
    restore(copy, stocked.path, stocked.clock)
    assert (copy.read_bytes(), list(folder.iterdir())) == (before, [copy])
    stocked.open()
    assert stocked.charge(MILK) == 100


async def test_what_is_no_copy_is_named_and_leaves_nothing_behind(stocked: Shop, tmp_path: Path) -> None:
    text, empty = tmp_path / "notes.txt", tmp_path / "empty.db"
    text.write_text("no database " * 1_000)
    empty.touch()
    stocked.close()
    for path in (text, empty, tmp_path / "missing.db"):
        with pytest.raises(StoreError, match=path.name):
            restore(path, stocked.path, stocked.clock)
    assert not list(stocked.path.parent.glob("*.restoring*"))
    assert not (tmp_path / "missing.db").exists()
    stocked.open()


async def test_a_crash_at_any_rename_never_leaves_a_file_without_its_log(
    stocked: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file with a log that was never moved into it: where it stands under its name, the log stands beside it. And whatever
    crashed before, the copy is known for one when the store starts."""
    copy = copy_of(stocked, tmp_path / "copy.db")
    folder = tmp_path / "crash"
    folder.mkdir()
    for side in ("", "-wal", "-shm"):
        source = stocked.path.with_name(stocked.path.name + side)
        if source.exists():
            shutil.copy(source, folder / source.name)
    assert (folder / "shelfd.db-wal").stat().st_size > 0
    moves = {"replace": Path.replace, "rename": Path.rename}
    for crash_at in itertools.count(1):
        work = tmp_path / f"work{crash_at}"
        shutil.copytree(folder, work)
        calls = itertools.count(1)

        def crashing(self: Path, target: Any, *, move: Any, calls: Any = calls, crash_at: int = crash_at) -> Any:
            if next(calls) == crash_at:
                raise KeyboardInterrupt
            return move(self, target)

        for name, move in moves.items():
            monkeypatch.setattr(Path, name, partialmethod(crashing, move=move))
        try:
            restore(copy, work / "shelfd.db", HandClock())
        except KeyboardInterrupt:
            monkeypatch.undo()
            if (work / "shelfd.db").exists():
                assert (work / "shelfd.db-wal").exists()
            restore(copy, work / "shelfd.db", HandClock())
        else:
            break
        finally:
            monkeypatch.undo()
        assert prepare(work / "shelfd.db", HandClock(), Entropy("start"))
        assert not prepare(work / "shelfd.db", HandClock(), Entropy("next start"))
    assert crash_at > 4


# -- the outbox ------------------------------------------------------------------------------------------------------------


async def test_beyond_its_budget_the_outbox_leaves_out_reports_and_never_what_counts(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "OUTBOX_BUDGET_EVENTS", 10)
    while stocked.store.outbox_state().last_seq < 10:
        await stocked.store.note_alert("noise", "x")
    for n in range(5):
        await stocked.store.note_alert("noise", f"{n}")
        await stocked.say("stock.adjust.v1", {"adjustments": [{"id": f"a{n}", "sku": "milk", "delta": 1, "cause": "x"}]})
        await stocked.heard(L1)
        await stocked.bind(L1, MILK if n % 2 else BREAD)
    events = stocked.store.outbox(0, 1_000)[10:]
    kinds = [event.kind for event in events]
    assert kinds.count(EventKind.ALERT) == 1
    assert json.loads(events[0].data)["kind"] == "outbox_over_budget"
    assert kinds.count(EventKind.LABEL) == 5
    assert kinds.count(EventKind.ACK) == 5
    assert _chained(stocked.store.outbox_state().incarnation, stocked.store.outbox(0, 1_000))
    last = stocked.store.outbox_state()
    assert await stocked.store.hq_ack(last.incarnation, last.last_seq, last.last_hash)
    await stocked.store.note_alert("noise", "again")
    assert stocked.alerts() == ["noise"]


def _chained(incarnation: str, events: list[Event]) -> bool:
    before = "0" * 64
    for seq, event in enumerate(events, 1):
        assert event.seq == seq
        assert event.hash == chain_hash(incarnation, seq, event.kind, event.id, event.time, event.data, before)
        before = event.hash
    return True


async def test_an_item_that_only_the_copy_lacks_is_no_reason_to_refuse_its_history(stocked: Shop, tmp_path: Path) -> None:
    copy = copy_of(stocked, tmp_path / "copy.db")
    await stocked.say("item.batch.v1", {"items": [item("tea")]})
    stocked.close()
    restore(copy, stocked.path, stocked.clock)
    stocked.open()
    past = [{"label": L1, "items": ["tea"], "template": "shelf", "binding_rev": 1}]
    told = {"restored": own(stocked), "bindings": past, "prices": [{"sku": "tea", "curve": [[1, 250]]}], "last": True}
    assert (await stocked.store.receive(message("history.v1", told, 1))).outcome is Outcome.APPLIED
    await stocked.store.receive(message("item.batch.v1", {"items": [item("tea")]}, 1))
    await stocked.store.receive(message("price.batch.v1", {"rows": [price("tea", 300)]}, 2))
    assert stocked.charge(ItemId("tea")) == 250
