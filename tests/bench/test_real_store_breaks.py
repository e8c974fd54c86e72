"""What the bench breaks on purpose is really broken by that, and is still where it looks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bench import broken_daemon, real_store
from drivers.base import DriverEvent, LabelId, Proven, RadioId, Stored
from drivers.oepl_radio import OeplRadio
from edge import pricing
from edge.model import AttemptId, Curve, ItemId, MayEntry, MayKind, MayState, Offer, PriceKind, PriceRow, Quote, QuoteLine
from edge.store import shelf, store, till
from edge.store.till import NewSale, SaleLine
from tests.edge.shop import L1, MILK, NOON_MS, Shop, price

STORED = Stored(RadioId("R"), LabelId("L"), 7)
PIECES = (
    (pricing, "bounds"),
    (pricing, "dwell_left_ms"),
    (pricing, "lease_above"),
    (pricing, "target"),
    (pricing, "_ended"),
    (OeplRadio, "events"),
    (store, "load"),
    (shelf, "note_failure"),
    (till, "record_sale"),
)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Breaks by name; mended after the test."""
    for owner, name in PIECES:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    return lambda name: broken_daemon.BREAKS[name].apply()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """L1 is known and bound to milk, which costs 1.00."""
    one = Shop(tmp_path)
    one.open()
    await one.stocked()
    await one.heard(L1)
    await one.bind(L1, MILK)
    yield one
    one.close()


def entry(state: MayState = MayState.PROVEN, **more: object) -> MayEntry:
    offer = Offer(ItemId("1"), Curve.plain(100))
    return MayEntry(AttemptId(1), "L", MayKind.PICTURE, state, "h", (offer,), **more)  # type: ignore[arg-type]


def bounds(*entries: MayEntry) -> int:
    return len(list(pricing.bounds(ItemId("1"), entries, now_ms=50, boot_id="b", store_open=True)))


def test_ignore_labels_leaves_no_bound(broken: Callable[[str], None]) -> None:
    assert bounds(entry()) == 1
    broken("ignore-labels")
    assert bounds(entry()) == 0


def test_no_dwell_lets_what_is_gone_bound_nothing(broken: Callable[[str], None]) -> None:
    gone = entry(MayState.GONE, gone_boot_id="b", gone_ms=0, dwell_ms=100)
    assert bounds(gone, entry()) == 2
    broken("no-dwell")
    assert bounds(gone, entry()) == 1


def test_xfc_is_shown_proves_what_is_only_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def stored(_: OeplRadio) -> list[DriverEvent]:
        return [STORED]

    monkeypatch.setattr(OeplRadio, "events", stored)
    broken_daemon.BREAKS["xfc-is-shown"].apply()
    first, second = OeplRadio().events()
    assert first == STORED
    assert isinstance(second, Proven)
    assert second.attempt_id == 7


def test_cut_under_lease_lets_a_cheaper_picture_pass_a_quote(broken: Callable[[str], None]) -> None:
    def above() -> bool:
        line = QuoteLine("1", ItemId("1"), "", "milk", 1, "each", 120, 120, Curve.plain(120), None)
        return pricing.lease_above([(ItemId("1"), Curve.plain(100))], lambda _: [(line,)])

    assert above()
    broken("cut-under-lease")
    assert not above()


def row(price_id: str, kind: PriceKind, amount_minor: int, from_ms: int, to_ms: int | None) -> PriceRow:
    return PriceRow(1, ItemId("1"), kind, price_id, 1, from_ms, to_ms, Curve.plain(amount_minor))


@pytest.mark.parametrize(
    ("name", "late_ms"), [("promotion-never-ends", 10**12), ("price-begins-late", broken_daemon.LATE_MS)], ids=["never ends", "late"]
)
def test_a_promotion_goes_on_beyond_its_end(broken: Callable[[str], None], name: str, late_ms: int) -> None:
    begins_ms, ends_ms = 1_000_000, 2_000_000
    rows = [row("b", PriceKind.BASE, 200, 0, None), row("p", PriceKind.PROMO, 150, begins_ms, ends_ms)]

    def amount(at_ms: int) -> int:
        found = pricing.target(rows, at_ms)
        assert found is not None
        return found.curve.cost_minor(1)

    assert [amount(at_ms) for at_ms in (begins_ms - 1, begins_ms, ends_ms - 1, ends_ms)] == [200, 150, 150, 200]
    broken(name)
    assert amount(ends_ms + late_ms - 1) == 150


async def test_a_start_forgets_leases_or_may_sets(shop: Shop, broken: Callable[[str], None]) -> None:
    await shop.shows(L1, MILK, 90)
    line = QuoteLine("1", MILK, "", "milk", 1, "each", 90, 100, Curve.plain(90), None)
    quote = Quote("q", "lane-1", "basket", (line,), 90, 1, shop.clock.boot_id, shop.clock.now_ms(), 600_000)
    await shop.store.put_quote(quote, None)
    shop.reopen()
    assert (len(list(shop.store.view.leased_lines(MILK))), shop.charge(MILK)) == (1, 90)
    broken("leases-lost")
    shop.reopen()
    assert (len(list(shop.store.view.leased_lines(MILK))), shop.charge(MILK)) == (0, 90)
    broken("may-set-lost")
    shop.reopen()
    assert shop.charge(MILK) == 100


async def test_timeout_releases_believes_that_a_failed_picture_ended_the_one_before(shop: Shop, broken: Callable[[str], None]) -> None:
    await shop.shows(L1, MILK, 100)
    await shop.prices(price("milk", 120, rev=2))
    attempt_id = await shop.attempt(L1, [(MILK, 120)])
    assert shop.charge(MILK) == 100
    broken("timeout-releases")
    await shop.store.note_failure(attempt_id, "expired", "")
    assert shop.charge(MILK) == 120


async def test_sold_twice_records_some_sales_again(shop: Shop, broken: Callable[[str], None]) -> None:
    broken("sold-twice")
    for number in range(10):
        lines = (SaleLine("1", MILK, "", 1, 100, 100, None),)
        await shop.store.record_sale(
            NewSale(f"s{number}", "lane-1", None, "d", lines, (("cash", 100),), 100, (), 0, NOON_MS, 60, "2026-01-09", True)
        )
    assert shop.store.sales_count() == 11
    assert shop.store.view.stock[MILK] == -11


def test_an_unknown_break_is_refused() -> None:
    assert broken_daemon.main(["no-such-break", "run"]) == 2


def test_a_break_about_power_cuts_needs_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        real_store.main(["--break", "leases-lost", "--json", str(tmp_path / "out.json")])
    assert "give --kill-every too" in capsys.readouterr().err
