"""What a person's look at a label proves, and when it proves nothing."""

from __future__ import annotations

import itertools

import pytest

from edge.model import MEMBERS, AttemptId, Curve, ItemId, MayEntry, MayKind, MayState, Offer
from edge.proof import Claim, Unclear, may_hide, named, recognise
from tests.edge.shop import BREAD, MILK


def picture(number: int, *prices: int, content: str | None = None, state: MayState = MayState.OPEN) -> MayEntry:
    """An attempt that promises milk, and bread where a second price is given."""
    offers = tuple(Offer(item, Curve.plain(price)) for item, price in zip((MILK, BREAD), prices, strict=False))
    return MayEntry(AttemptId(number), "L", MayKind.PICTURE, state, content or f"{prices}", offers)


def with_members(number: int, price: int, members: int, *, state: MayState = MayState.OPEN) -> MayEntry:
    """An attempt that shows one price to everybody and another to members."""
    offers = (Offer(MILK, Curve.plain(price)), Offer(MILK, Curve.plain(members), audience=MEMBERS))
    return MayEntry(AttemptId(number), "L", MayKind.PICTURE, state, f"{price} {members}", offers)


def unknown(number: int, price: int) -> MayEntry:
    return MayEntry(AttemptId(number), "L", MayKind.UNKNOWN, MayState.OPEN, "", (Offer(MILK, Curve.plain(price)),))


def milk(price: int) -> list[Claim]:
    return [Claim(MILK, price)]


def test_the_newest_picture_is_recognised_by_its_price() -> None:
    assert recognise([picture(1, 100), picture(2, 120)], milk(120)) == 2
    assert recognise([unknown(1, 90), picture(2, 120)], milk(120)) == 2
    assert recognise([picture(2, 120), unknown(3, 90)], milk(120)) == 2


def test_an_older_picture_is_not_confirmed_while_a_newer_one_may_come() -> None:
    with pytest.raises(Unclear, match="attempt 2 was sent after it"):
        recognise([picture(1, 100), picture(2, 120)], milk(100))


def test_of_pictures_that_the_look_cannot_tell_apart_the_oldest_is_proven() -> None:
    """Content that no price shows (a name) changed in between: the newer one may still come."""
    assert recognise([picture(1, 100), picture(2, 120), picture(3, 120, content="new name")], milk(120)) == 2


def test_a_to_b_to_a_is_the_newest_a_where_both_are_the_same_picture() -> None:
    assert recognise([picture(1, 100), picture(2, 120), picture(3, 100)], milk(100)) == 3


@pytest.mark.parametrize(
    "members, claims",
    [
        ([picture(1, 100, content="old name"), picture(2, 120), picture(3, 100)], milk(100)),
        ([with_members(1, 100, 50), with_members(2, 120, 50), with_members(3, 100, 60)], milk(100)),
    ],
)
def test_two_pictures_of_one_price_with_another_between_are_not_told_apart(members: list[MayEntry], claims: list[Claim]) -> None:
    with pytest.raises(Unclear, match="attempts 1 and 3 both show that"):
        recognise(members, claims)


def test_a_driver_that_saw_the_newest_tells_two_pictures_of_one_promise_apart() -> None:
    may = [picture(1, 100, content="old name"), picture(2, 120), picture(3, 100, state=MayState.PROVEN)]
    assert recognise(may, milk(100)) == 3
    with pytest.raises(Unclear, match="both show that"):
        recognise([with_members(1, 100, 50), with_members(2, 120, 50), with_members(3, 100, 60, state=MayState.PROVEN)], milk(100))


def test_a_price_that_nobody_sent_is_no_picture_of_ours() -> None:
    assert recognise([picture(1, 100)], milk(99)) is None
    assert recognise([unknown(1, 100)], milk(100)) is None
    assert recognise([], milk(100)) is None
    assert recognise([picture(1, 100)], [Claim(BREAD, 100)]) is None


def test_a_label_without_any_price_is_recognised_too() -> None:
    assert recognise([picture(1, 100), picture(2)], []) == 2
    assert recognise([unknown(1, 90)], []) is None
    with pytest.raises(Unclear, match="may still come"):
        recognise([picture(1), picture(2, 100)], [])


def test_all_that_was_read_must_be_there() -> None:
    both = [Claim(MILK, 100), Claim(BREAD, 60)]
    assert recognise([picture(1, 100, 50), picture(2, 100, 60)], both) == 2
    assert recognise([picture(1, 100, 60), picture(2, 100, 60, content="x")], both) == 1


def test_half_a_look_proves_nothing() -> None:
    """What it does not read of a label of two items may be of an older picture."""
    assert recognise([picture(1, 100, 50), picture(2, 100, 60)], milk(100)) is None
    assert recognise([picture(1, 100, 50), picture(2, 100)], milk(100)) == 2


def test_an_unknown_display_may_hide_more_beside_the_price_that_was_read() -> None:
    def lost(*offers: Offer) -> list[MayEntry]:
        return [MayEntry(AttemptId(1), "L", MayKind.UNKNOWN, MayState.OPEN, "", offers), picture(2, 120)]

    plain, three, members = Curve.plain(120), Curve(((1, 120), (3, 300))), Offer(MILK, Curve.plain(90), audience=MEMBERS)
    assert may_hide(lost(Offer(MILK, three)), milk(120), [Offer(MILK, plain)])
    assert may_hide(lost(members), milk(120), [Offer(MILK, plain)])
    assert not may_hide(lost(members), milk(120), [Offer(MILK, plain), members]), "the picture shows as much itself"
    assert not may_hide(lost(Offer(MILK, three)), milk(120), [Offer(MILK, three)])
    assert not may_hide(lost(Offer(MILK, three)), milk(130), [Offer(MILK, plain)]), "then another price would have been read"
    assert not may_hide(lost(Offer(MILK, Curve.plain(90)), Offer(BREAD, three)), milk(120), [Offer(MILK, plain)])


def test_what_members_pay_is_not_the_price_that_was_read() -> None:
    members_only = MayEntry(
        AttemptId(1),
        "L",
        MayKind.PICTURE,
        MayState.OPEN,
        "h",
        (Offer(MILK, Curve.plain(120)), Offer(MILK, Curve.plain(100), audience=MEMBERS)),
    )
    assert recognise([members_only], milk(100)) is None


def test_only_the_newest_picture_can_be_named() -> None:
    may = [picture(1, 100), picture(2, 120), unknown(3, 90)]
    assert named(may, 2) == 2
    with pytest.raises(Unclear, match="attempt 2 was sent after attempt 1"):
        named(may, 1)
    for number in (3, 7):
        with pytest.raises(Unclear, match="may show: 1, 2"):
            named(may, number)


def test_a_look_never_proves_what_an_older_different_picture_or_a_newer_one_could_undo() -> None:
    """Every may-set of up to four pictures with two prices and two contents: whatever is proven, each newer picture shows the same."""
    kinds = [(price, content) for price in (100, 120) for content in ("a", "b")]
    for count in (1, 2, 3, 4):
        for chosen in itertools.product(kinds, repeat=count):
            may = [picture(number, price, content=f"{price} {content}") for number, (price, content) in enumerate(chosen, start=1)]
            for seen in (100, 120):
                try:
                    proven = recognise(may, milk(seen))
                except Unclear:
                    continue
                if proven is None:
                    assert all(price != seen for price, _ in chosen)
                    continue
                newer = [entry for entry in may if entry.attempt_id >= proven]
                assert {entry.offers for entry in newer} == {(Offer(ItemId(MILK), Curve.plain(seen)),)}
                alike = [entry for entry in may if entry.attempt_id < proven and entry.offers == newer[0].offers]
                assert {entry.content_hash for entry in alike} <= {newer[0].content_hash}
