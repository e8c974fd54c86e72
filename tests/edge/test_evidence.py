"""The pure parts: entries, what a label's entries add up to, and what follows for the lane."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from edge.evidence import Attempt, Entry, Shown, chain_hash, lane_price, standings
from edge.model import MEMBERS, Curve, MayKind, Offer
from tests.edge.shop import BREAD, L1, MILK

GENESIS = "0" * 64


def attempt(number: int, amount: int, *, kind: MayKind = MayKind.PICTURE, created_ms: int = 0, proven_ms: int | None = None) -> Attempt:
    offers = (Offer(MILK, Curve.plain(amount), row_id=amount),)
    return Attempt(number, L1, kind, offers, "picture", "{}", created_ms, proven_ms, None if proven_ms is None else "inferred")


ONE, TWO, THREE = attempt(1, 100), attempt(2, 120), attempt(3, 90)


def told(*what: tuple[str, dict[str, object]]) -> list[Entry]:
    """Entries a second apart."""
    return [Entry(n, n * 1000, "store", name, json.dumps(said), GENESIS, GENESIS) for n, (name, said) in enumerate(what, 1)]


def sent(number: int) -> tuple[str, dict[str, object]]:
    return "attempt.sent", {"attempt": number}


def proven(number: int, *, dwells: Sequence[int] = (), past: Sequence[int] = (), grade: str = "inferred") -> tuple[str, dict[str, object]]:
    return "attempt.proven", {"attempt": number, "grade": grade, "bound": True, "dwells": list(dwells), "past": list(past)}


def told_of(entries: list[Entry], *attempts: Attempt, at_ms: int = 10**9) -> list[tuple[int, Shown, str | None, int]]:
    found = standings({each.attempt_id: each for each in attempts}, entries, at_ms)
    return [(each.attempt.attempt_id, each.shown, each.grade, each.since_ms) for each in found]


# -- entries ---------------------------------------------------------------------------------------------------------------


def test_an_entry_holds_only_as_it_was_made() -> None:
    good = Entry(1, 5, "ann", "x", "{}", GENESIS, chain_hash(GENESIS, 5, "ann", "x", "{}"))
    assert good.holds()
    for changed in (
        Entry(1, 6, "ann", "x", "{}", GENESIS, good.hash),
        Entry(1, 5, "bob", "x", "{}", GENESIS, good.hash),
        Entry(1, 5, "ann", "y", "{}", GENESIS, good.hash),
        Entry(1, 5, "ann", "x", "{ }", GENESIS, good.hash),
        Entry(1, 5, "ann", "x", "{}", "1" * 64, good.hash),
    ):
        assert not changed.holds()


@pytest.mark.parametrize("detail", ["", "[1]", "nonsense", "7", '"x"'])
def test_a_detail_that_somebody_made_unreadable_says_nothing(detail: str) -> None:
    assert Entry(1, 5, "ann", "x", detail, GENESIS, GENESIS).said == {}


# -- labels ----------------------------------------------------------------------------------------------------------------


def test_a_sent_picture_may_be_shown_until_a_newer_one_is_proven() -> None:
    assert told_of(told(sent(1)), ONE) == [(1, Shown.MAY, None, 1000)]
    assert told_of(told(sent(1), proven(1), sent(2)), ONE, TWO) == [(1, Shown.PROVEN, "inferred", 2000), (2, Shown.MAY, None, 3000)]
    assert told_of(told(sent(1), proven(1), sent(2), proven(2, past=[1])), ONE, TWO) == [(2, Shown.PROVEN, "inferred", 4000)]


def test_a_proof_again_keeps_since_when_and_the_better_grade() -> None:
    entries = told(sent(1), proven(1, grade="person"), proven(1), proven(1, grade="shown"))
    assert told_of(entries, ONE) == [(1, Shown.PROVEN, "person", 2000)]


def test_what_was_replaced_binds_until_its_dwell_is_over() -> None:
    entries = told(sent(1), sent(2), proven(2, dwells=[1]), ("attempt.dwell_over", {"attempt": 1}))
    assert told_of(entries[:3], ONE, TWO) == [(1, Shown.DWELL, None, 3000), (2, Shown.PROVEN, "inferred", 3000)]
    assert told_of(entries, ONE, TWO) == [(2, Shown.PROVEN, "inferred", 3000)]


def test_a_retired_label_binds_for_its_dwell_and_comes_back_as_it_was() -> None:
    entries = told(
        sent(1),
        proven(1),
        ("label.retired", {"released": [1], "dwell_ms": 5000}),
        sent(2),
        ("label.dwell_over", {}),
        ("label.restored", {"restored": [1, 2]}),
    )
    assert told_of(entries[:4], ONE, TWO) == [(1, Shown.DWELL, "inferred", 3000), (2, Shown.DWELL, None, 3000)]
    assert told_of(entries[:5], ONE, TWO) == []
    assert told_of(entries, ONE, TWO) == [(1, Shown.PROVEN, "inferred", 2000), (2, Shown.MAY, None, 4000)]


def test_a_price_that_a_person_read_and_what_an_owner_let_go() -> None:
    seen = ("label.confirmed", {"seen": 3, "released": [1, 2], "dwells": [2]})
    entries = told(sent(1), sent(2), seen, ("guard.override", {"released": [3]}))
    assert told_of(entries[:3], ONE, TWO, THREE) == [(2, Shown.DWELL, None, 3000), (3, Shown.PROVEN, "person", 3000)]
    assert told_of(entries, ONE, TWO, THREE) == [(2, Shown.DWELL, None, 3000)]


def test_attempts_older_than_the_evidence_speak_by_their_rows() -> None:
    old, older = attempt(2, 120, created_ms=20, proven_ms=30), attempt(1, 100, created_ms=10)
    assert told_of([], older, old, at_ms=25) == [(1, Shown.MAY, None, 10), (2, Shown.MAY, None, 20)]
    assert told_of([], older, old, at_ms=35) == [(2, Shown.PROVEN, "inferred", 30)]
    assert told_of(told(sent(3)), older, old, THREE, at_ms=35) == [(2, Shown.PROVEN, "inferred", 30), (3, Shown.MAY, None, 1000)]


def test_an_attempt_that_no_entry_brings_is_not_told_beside_later_ones_that_are() -> None:
    assert told_of(told(sent(2)), TWO, attempt(3, 1, created_ms=5)) == [(2, Shown.MAY, None, 1000)]


def test_an_unknown_display_binds_by_the_offers_that_were_written_by_then() -> None:
    unknown = Attempt(
        9, L1, MayKind.UNKNOWN, tuple(Offer(MILK, Curve.plain(each), row_id=each) for each in (1, 2, 3)), "", "", 5, None, None
    )

    def rows(entries: list[Entry], through: int | None = None) -> list[int | None]:
        (found,) = standings({9: unknown}, entries, 10**9, through)
        assert found.shown is Shown.UNKNOWN
        return [offer.row_id for offer in found.attempt.offers]

    lost: tuple[str, dict[str, object]] = ("label.unknown", {"attempt": 9})
    grown: tuple[str, dict[str, object]] = ("attempt.bounds", {"of": [9, 2, 1]})
    entries = told(lost, ("attempt.bounds", {"of": [9, 0, 2]}), grown)
    assert [rows(entries, through) for through in (1, 2, 3, None)] == [[], [1, 2], [1, 2, 3], [1, 2, 3]]
    assert [rows(told(("label.bound", {}), grown), through) for through in (1, 2)] == [[1, 2], [1, 2, 3]], "older than the evidence"
    assert rows([]) == [1, 2, 3]
    for nonsense in ("x", [9], [9, 0, "2"]):
        assert rows(told(lost, ("attempt.bounds", {"of": nonsense}))) == []


# -- the lane --------------------------------------------------------------------------------------------------------------


def test_the_lane_is_held_by_the_cheapest_that_may_be_shown() -> None:
    target = Curve.plain(130)
    shelf = standings({1: ONE, 2: TWO, 3: THREE}, told(sent(1), proven(1), sent(2), sent(3)), 10**9)
    found = lane_price(MILK, target, shelf)
    assert (found.price_minor, found.target_minor, found.guard, found.attempt_id, found.above_minor) == (90, 130, "shelf_lower", 3, 90)
    assert lane_price(BREAD, target, shelf).guard is None
    assert lane_price(MILK, target, ()).price_minor == 130


def test_a_dwell_gives_both_prices() -> None:
    shelf = standings({1: ONE, 2: TWO}, told(sent(1), sent(2), proven(2, dwells=[1])), 10**9)
    found = lane_price(MILK, Curve.plain(120), shelf)
    assert (found.price_minor, found.guard, found.above_minor) == (100, "dwell", 120)


def test_what_members_alone_may_read_does_not_bind_everybody() -> None:
    offers = (Offer(MILK, Curve.plain(50), audience=MEMBERS), Offer(MILK, Curve.plain(120)))
    shelf = standings({1: Attempt(1, L1, MayKind.PICTURE, offers, "", "", 0, None, None)}, told(sent(1)), 10**9)
    assert lane_price(MILK, Curve.plain(120), shelf).price_minor == 120
    members = lane_price(MILK, Curve.plain(120), shelf, member=True)
    assert (members.price_minor, members.guard, members.target_minor) == (50, "shelf_lower", 120)
    own = lane_price(MILK, Curve.plain(120), shelf, member=True, own=Curve.plain(40))
    assert (own.price_minor, own.guard, own.target_minor) == (40, None, 40)
