"""What goes back for a part of a line: exact shares, whatever the line was split into."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.refunds import Original, Paid


@st.composite
def lines(draw: st.DrawFn) -> tuple[int, Paid, list[int]]:
    """A sold quantity (pieces or grams), what was paid, and how it comes back in parts."""
    quantity = draw(st.integers(1, 5_000))
    paid = Paid(draw(st.integers(0, 10**9)), draw(st.integers(0, 10_000)), draw(st.integers(0, 10**6)))
    cuts = sorted(draw(st.sets(st.integers(1, quantity), max_size=6)) | {quantity})
    return quantity, paid, [end - start for start, end in zip([0, *cuts], cuts, strict=False)]


@given(lines())
def test_the_parts_add_up_to_what_was_paid_however_the_line_is_split(line: tuple[int, Paid, list[int]]) -> None:
    quantity, paid, parts = line
    left, refunded = Original(quantity, paid), Paid()
    for part in parts:
        refund = left.refund(part)
        assert min(refund.goods_minor, refund.deposit_minor, refund.tax_minor) >= 0
        refunded += refund
        left = left.after(part, refund)
        exact = paid.goods_minor * left.returned / quantity
        assert abs(refunded.goods_minor - exact) <= 0.5 + 1e-6 * exact
    assert (refunded, left.left) == (paid, 0)


@given(lines())
def test_returned_whole_or_in_parts_the_same_is_paid_back(line: tuple[int, Paid, list[int]]) -> None:
    quantity, paid, _ = line
    assert Original(quantity, paid).refund(quantity) == paid


def test_three_pieces_for_one_euro_come_back_as_33_34_33() -> None:
    line = Original(3, Paid(100))
    given_back = []
    for _ in range(3):
        refund = line.refund(1)
        given_back.append(refund.goods_minor)
        line = line.after(1, refund)
    assert given_back == [33, 34, 33]


def test_what_was_given_back_too_much_before_is_not_asked_for_again() -> None:
    assert Original(2, Paid(100), 1, Paid(90)).refund(1) == Paid(10)
    assert Original(4, Paid(100), 1, Paid(90)).refund(1) == Paid(0)
