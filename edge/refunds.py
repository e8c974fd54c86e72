"""What to pay back for goods that return: exact shares of what was paid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.model import divide_half_up


@dataclass(frozen=True, slots=True)
class Paid:
    """An amount by its parts: for the goods, their deposit, and tax on top."""

    goods_minor: int = 0
    deposit_minor: int = 0
    tax_minor: int = 0

    @property
    def total_minor(self) -> int:
        return self.goods_minor + self.deposit_minor + self.tax_minor

    def __add__(self, other: Paid) -> Paid:
        return Paid(self.goods_minor + other.goods_minor, self.deposit_minor + other.deposit_minor, self.tax_minor + other.tax_minor)


@dataclass(frozen=True, slots=True)
class Original:
    """A line that was sold, and how much of it came back until now."""

    quantity: int
    paid: Paid
    returned: int = 0
    refunded: Paid = Paid()

    @property
    def left(self) -> int:
        return max(0, self.quantity - self.returned)

    def refund(self, quantity: int) -> Paid:
        """The share of `quantity` (at most `left`) pieces, half rounded up over all returns together: the last one takes the rest, so
        that the shares add up to what was paid however the line was split."""
        reached = self.returned + quantity
        return Paid(
            _share(self.paid.goods_minor, self.quantity, reached, self.refunded.goods_minor),
            _share(self.paid.deposit_minor, self.quantity, reached, self.refunded.deposit_minor),
            _share(self.paid.tax_minor, self.quantity, reached, self.refunded.tax_minor),
        )

    def after(self, quantity: int, refund: Paid) -> Original:
        """The line once this has come back."""
        return Original(self.quantity, self.paid, self.returned + quantity, self.refunded + refund)


def within(paid: Sequence[Paid], total_minor: int) -> list[Paid]:
    """What was paid for each line of a sale that cost `total_minor` in all: less than its lines say where the basket had a discount.

    Every part then counts for the same share, exact in sum, so that no return pays back what nobody paid.
    """
    full_minor = sum(each.total_minor for each in paid)
    if total_minor >= full_minor:
        return list(paid)
    reached_minor = 0

    def share(part_minor: int) -> int:
        nonlocal reached_minor
        before_minor = divide_half_up(total_minor * reached_minor, full_minor)
        reached_minor += part_minor
        return divide_half_up(total_minor * reached_minor, full_minor) - before_minor

    return [Paid(share(each.goods_minor), share(each.deposit_minor), share(each.tax_minor)) for each in paid]


def _share(total_minor: int, sold: int, reached: int, before_minor: int) -> int:
    due_minor = total_minor if reached >= sold else divide_half_up(total_minor * reached, sold)
    return max(0, due_minor - before_minor)
