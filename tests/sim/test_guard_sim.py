"""Seeded histories of a shop over the daemon's own code, and the shortcuts people take: each of them must be caught.

How to replay a seed: tests/sim/README.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge import labels, planning, pricing
from edge.model import MayState
from edge.store import people, shelf
from edge.store.db import Transaction
from edge.store.load import load
from edge.store.rows import Db, Stamp
from edge.store.store import Store
from edge.view import Delta, View
from tests.edge import stepped
from tests.edge.stepped import MemoryStore, template_database
from tests.sim.shelf_world import history

HISTORIES = int(os.environ.get("SHELFD_SIM_HISTORIES", "200"))
SEED = int(os.environ.get("SHELFD_SIM_SEED", "0"))
MUTANT_HISTORIES = 150  # a mutant is mostly caught within ten
LOOK_MARGIN_MS = 8_000


@pytest.fixture(scope="module")
def template() -> bytes:
    return template_database()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Crashes and failures are what a history is made of. Its panels refresh at once or at the next look: a short margin is enough."""
    logging.disable(logging.CRITICAL)
    monkeypatch.setattr(people, "LOOK_MARGIN_MS", LOOK_MARGIN_MS)
    yield
    logging.disable(logging.NOTSET)


async def play(seed: int, template: bytes, **options: Any) -> None:
    log: list[str] = []
    try:
        await history(seed, template, log=log, **options)
    except AssertionError as error:
        error.add_note(f"replay: SHELFD_SIM_SEED={seed} SHELFD_SIM_HISTORIES=1 pytest tests/sim\n" + "\n".join(log[-40:]))
        raise


async def test_no_lane_ever_asks_more_than_a_label_shows_and_the_shelf_comes_to_rest(template: bytes) -> None:
    for seed in range(SEED, SEED + HISTORIES):
        await play(seed, template)


# -- the shortcuts ---------------------------------------------------------------------------------------------------------


def labels_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pricing, "bounds", lambda *args, **more: iter(()))


def may_set_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    """What was sent and not yet proven is known until the daemon ends."""

    def forgetful(db: Db) -> Delta:
        db.execute("UPDATE attempt SET state = 'past' WHERE kind = 'picture' AND state = 'open'")
        return load(db)

    patch.setattr(stepped, "load", forgetful)


def attempt_noted_after_sending(patch: pytest.MonkeyPatch) -> None:
    """The bytes leave first, the row follows a few transactions later, if the daemon lives that long."""
    run = MemoryStore.run

    async def begin(self: MemoryStore, new: shelf.NewAttempt) -> None:
        stamp = self.stamp()
        vars(self).setdefault("unwritten", []).append([4, lambda db: shelf.begin_attempt(db, stamp, new)])

    async def with_older(self: MemoryStore, transaction: Transaction[Any]) -> Any:
        unwritten = vars(self).get("unwritten", [])
        for each in list(unwritten):
            each[0] -= 1
            if each[0] == 0:
                unwritten.remove(each)
                await run(self, each[1])
        return await run(self, transaction)

    patch.setattr(Store, "begin_attempt", begin)
    patch.setattr(MemoryStore, "run", with_older)


def confirm_clears_newer_attempts(patch: pytest.MonkeyPatch) -> None:
    prove = shelf.prove

    def all_gone(db: Db, stamp: Stamp, label_id: str, attempt_id: int, grade: str, **more: Any) -> tuple[bool, Delta]:
        bound, delta = prove(db, stamp, label_id, attempt_id, grade, **more)
        for (newer,) in db.execute(
            "SELECT attempt_id FROM attempt WHERE label_id = ? AND attempt_id > ?", (label_id, attempt_id)
        ).fetchall():
            db.execute("UPDATE attempt SET state = 'past' WHERE attempt_id = ?", (newer,))
            delta.may[label_id, newer] = None
        return bound, delta

    patch.setattr(shelf, "prove", all_gone)


def failure_releases_the_bound(patch: pytest.MonkeyPatch) -> None:
    note = shelf.note_failure

    def released(db: Db, stamp: Stamp, attempt_id: int, reason: str, detail: str) -> tuple[None, Delta]:
        _, delta = note(db, stamp, attempt_id, reason, detail)
        label_id = db.execute("UPDATE attempt SET state = 'past' WHERE attempt_id = ? RETURNING label_id", (attempt_id,)).get
        delta.may[str(label_id), attempt_id] = None
        return None, delta

    patch.setattr(shelf, "note_failure", released)


def old_image_forgotten_on_reassign(patch: pytest.MonkeyPatch) -> None:
    bind = shelf.bind

    def forgetting(db: Db, stamp: Stamp, label_id: str, *args: Any, **more: Any) -> tuple[Any, Delta]:
        binding, delta = bind(db, stamp, label_id, *args, **more)
        for (old,) in db.execute("SELECT attempt_id FROM attempt WHERE label_id = ? AND kind = 'picture'", (label_id,)).fetchall():
            db.execute("UPDATE attempt SET state = 'past' WHERE attempt_id = ?", (old,))
            delta.may[label_id, old] = None
        return binding, delta

    patch.setattr(shelf, "bind", forgetting)


def cut_sent_under_a_live_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pricing, "lease_above", lambda offers, leased: False)


def leases_lost_in_a_crash(patch: pytest.MonkeyPatch) -> None:
    async def nowhere(self: Store, quote: Any, replaced: str | None) -> None:
        return

    patch.setattr(Store, "put_quote", nowhere)


def same_content_taken_for_settled(patch: pytest.MonkeyPatch) -> None:
    """A to B to A: the label was seen with A before, so nothing is sent."""

    def settled(entries: Any, wanted_hash: str) -> bool:
        return any(entry.state is MayState.PROVEN and entry.content_hash == wanted_hash for entry in entries.values())

    patch.setattr(planning, "is_settled", settled)


def retired_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Whatever a retired label shows is struck from the books, so that nothing is there to be put back."""
    retire = people.retire

    def forgetting(db: Db, stamp: Stamp, label_id: str, *args: Any, **more: Any) -> tuple[int, Delta]:
        count, delta = retire(db, stamp, label_id, *args, **more)
        db.execute("UPDATE attempt SET state = 'past' WHERE label_id = ? AND state IN ('open', 'proven')", (label_id,))
        delta.may = dict.fromkeys(delta.may)
        return count, delta

    patch.setattr(people, "retire", forgetting)


def no_dwell_for_what_a_retired_label_showed(patch: pytest.MonkeyPatch) -> None:
    retire = people.retire
    patch.setattr(people, "retire", lambda *args, **more: retire(*args, **(more | {"dwell_ms": 0})))


def a_look_takes_the_newest_for_what_is_seen(patch: pytest.MonkeyPatch) -> None:
    """Whatever the price, what was sent last is what hangs there."""
    patch.setattr(people, "recognise", lambda members, claims: members[-1].attempt_id if members else None)
    patch.setattr(people, "_refuse_what_may_come", lambda *args: None)


def members_offers_forgotten(patch: pytest.MonkeyPatch) -> None:
    bounds = pricing.bounds
    patch.setattr(pricing, "bounds", lambda *args, **more: bounds(*args, **(more | {"member": False})))


def members_cut_sent_under_a_members_quote(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(View, "member_leased_lines", lambda self, item_id: iter(()))


def unchanged(patch: pytest.MonkeyPatch) -> None:
    return


@dataclass(frozen=True)
class Mutant:
    change: Callable[[pytest.MonkeyPatch], None]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.change.__name__ if self.change is not unchanged else next(iter(self.options))


MUTANTS = [
    Mutant(labels_ignored),
    Mutant(may_set_in_memory_only),
    Mutant(attempt_noted_after_sending),
    Mutant(confirm_clears_newer_attempts),
    Mutant(failure_releases_the_bound),
    Mutant(old_image_forgotten_on_reassign),
    Mutant(cut_sent_under_a_live_lease),
    Mutant(leases_lost_in_a_crash),
    Mutant(same_content_taken_for_settled),
    Mutant(retired_is_forgotten),
    Mutant(no_dwell_for_what_a_retired_label_showed),
    Mutant(a_look_takes_the_newest_for_what_is_seen),
    Mutant(members_offers_forgotten),
    Mutant(members_cut_sent_under_a_members_quote),
    Mutant(unchanged, {"believes_stored": True}),
    Mutant(unchanged, {"no_dwell": True}),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_the_histories_catch(mutant: Mutant, template: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.change(monkeypatch)
    for seed in range(MUTANT_HISTORIES):
        try:
            await history(seed, template, **mutant.options)
        except AssertionError:
            return
    pytest.fail(f"{MUTANT_HISTORIES} histories do not notice: {mutant.name}")


assert vars(labels)["pricing"] is pricing  # the loop looks functions up where the mutants change them
