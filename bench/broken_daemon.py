"""The daemon with one of its promises broken on purpose: `python bench/broken_daemon.py NAME run --config F ...`.

A judge that calls everything good would pass an honest daemon; it has to call these bad. The product's code knows nothing of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from drivers.base import DriverEvent, Grade, Proven, Stored
from drivers.oepl_radio import OeplRadio
from edge import pricing
from edge.model import PriceRow
from edge.store import rows, shelf, store, till
from edge.store.load import load
from edge.view import Delta

LATE_MS: Final = 120_000  # how late a price begins where it begins late


class Signal(StrEnum):
    """What must have been noticed for a break to count as caught."""

    OVERCHARGE = "overcharges"
    DWELL = "overcharges within the dwell"
    PRICE = "wrong prices"
    SALES = "sales, stock or money that differ"
    NO_END = "promotions that do not end"


@dataclass(frozen=True, slots=True)
class Break:
    """How to break it, and what gives it away. Some promises are about what a power cut leaves: `needs_kills`."""

    apply: Callable[[], None]
    caught_by: Signal
    needs_kills: bool = False


def ignore_labels() -> None:
    """What labels may show bounds nothing: the lane charges the target at once."""

    def no_bounds(*_: object, **__: object) -> Iterator[pricing.Bound]:
        return iter(())

    _replace(pricing, "bounds", no_bounds)


def xfc_is_shown() -> None:
    """ "Transfer complete" counts as the picture on the panel."""
    honest = OeplRadio.events

    def events(self: OeplRadio) -> list[DriverEvent]:
        return list(_with_proof(honest(self)))

    _replace(OeplRadio, "events", events)


def _with_proof(events: Iterable[DriverEvent]) -> Iterator[DriverEvent]:
    for event in events:
        yield event
        if isinstance(event, Stored):
            yield Proven(event.radio_id, event.label_id, event.attempt_id, Grade.INFERRED, 0)


def no_dwell() -> None:
    """A proven rise binds at once: who has just read the old price pays the new one."""
    _replace(pricing, "dwell_left_ms", lambda *_, **__: 0)


def timeout_releases() -> None:
    """An attempt that failed or came to nothing ends what the label showed before."""
    honest = shelf.note_failure

    def note_failure(db: rows.Db, stamp: rows.Stamp, attempt_id: int, reason: str, detail: str) -> tuple[None, Delta]:
        _, delta = honest(db, stamp, attempt_id, reason, detail)
        label_id = db.execute("SELECT label_id FROM attempt WHERE attempt_id = ?", (attempt_id,)).get
        older = "SELECT attempt_id FROM attempt WHERE label_id = ? AND attempt_id < ? AND state IN ('open', 'proven')"
        for (old_id,) in db.execute(older, (label_id, attempt_id)).fetchall():
            shelf.supersede(db, stamp, old_id, attempt_id, 0)
            delta.may[str(label_id), old_id] = rows.read_may(db, old_id)
        return None, delta

    _replace(shelf, "note_failure", note_failure)


def cut_under_lease() -> None:
    """A cheaper picture goes out although somebody at a till was told more."""
    _replace(pricing, "lease_above", lambda *_, **__: False)


def leases_lost() -> None:
    """A daemon that starts has forgotten what it quoted."""
    _forget_at_start("quotes")


def may_set_lost() -> None:
    """A daemon that starts has forgotten what labels may show."""
    _forget_at_start("may")


def _forget_at_start(table: str) -> None:
    honest = load

    def forgetful(db: rows.Db) -> Delta:
        delta = honest(db)
        getattr(delta, table).clear()
        return delta

    _replace(store, "load", forgetful)


def sold_twice() -> None:
    """A sale that is sent again is recorded again; every tenth is."""
    honest = till.record_sale

    def record_sale(db: rows.Db, stamp: rows.Stamp, sale: till.NewSale) -> tuple[till.Recorded, Delta]:
        answer, delta = honest(db, stamp, sale)
        if answer.up_seq % 10 == 0:
            delta.merge(honest(db, stamp, replace(sale, sale_id=f"{sale.sale_id}-again"))[1])
        return answer, delta

    _replace(till, "record_sale", record_sale)


def promotion_never_ends() -> None:
    """The end of a price is not looked at."""
    _replace(pricing, "_ended", lambda *_: False)


def price_begins_late() -> None:
    """What is due by the clock is noticed minutes later."""
    honest = pricing.target

    def target(of: Iterable[PriceRow], now_ms: int, *, member: bool = False) -> PriceRow | None:
        return honest(of, now_ms - LATE_MS, member=member)

    _replace(pricing, "target", target)


def _replace(owner: Any, name: str, value: Callable[..., object]) -> None:
    """Raises AttributeError where there is nothing of that name: a break that breaks nothing proves nothing."""
    getattr(owner, name)
    setattr(owner, name, value)


BREAKS: Final[dict[str, Break]] = {
    "cut-under-lease": Break(cut_under_lease, Signal.OVERCHARGE),
    "ignore-labels": Break(ignore_labels, Signal.OVERCHARGE),
    "leases-lost": Break(leases_lost, Signal.OVERCHARGE, needs_kills=True),
    "may-set-lost": Break(may_set_lost, Signal.OVERCHARGE, needs_kills=True),
    "no-dwell": Break(no_dwell, Signal.DWELL),
    "price-begins-late": Break(price_begins_late, Signal.PRICE),
    "promotion-never-ends": Break(promotion_never_ends, Signal.NO_END),
    "sold-twice": Break(sold_twice, Signal.SALES),
    "timeout-releases": Break(timeout_releases, Signal.OVERCHARGE),
    "xfc-is-shown": Break(xfc_is_shown, Signal.OVERCHARGE),
}


def main(words: list[str]) -> int:
    if not words or words[0] not in BREAKS:
        sys.stderr.write(f"usage: broken_daemon.py {'|'.join(BREAKS)} run ...\n")
        return 2
    BREAKS[words[0]].apply()
    from edge.entry import main as shelfd  # after the break, so that nothing has taken the honest function already

    return shelfd(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
