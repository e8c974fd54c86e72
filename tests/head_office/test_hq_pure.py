"""What head office decides: where events belong, what is sent next, who works on what. No broker, no database."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.head_office.books import EARLY_EVENTS_MAX, Head, audit_complaint, effects, place
from edge.head_office.history import SaidPrice, past_prices
from edge.head_office.history import drafts as history_drafts
from edge.head_office.publishing import BadFile, Draft, SnapshotDraft, from_catalogue, from_item_rows, from_json, from_price_rows
from edge.head_office.sending import WINDOW, Outgoing, Snapshot
from edge.head_office.sharing import turn
from protocols.hq import Stream
from protocols.hq_events import AuditHead, Birth, Event, EventKind, LabelCounts, Stage, StagedAck, SyncRequest, make_event
from protocols.hq_messages import PriceKind, PriceRow, StreamPosition
from tests.head_office.chains import ONE, chain, sale

HQ = "9" * 32


# -- the chain


@given(st.integers(1, 40), st.data())
@settings(max_examples=80)
def test_any_order_with_repeats_is_booked_once_and_in_order(count: int, data: st.DataObject) -> None:
    events = chain(ONE, *(sale(number) for number in range(count)))
    order = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=10))))
    cuts = data.draw(st.lists(st.integers(0, len(order)), max_size=4).map(sorted))
    head, early, booked = Head(), dict[int, Event](), list[Event]()
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        placed = place(head, early, order[start:end])
        assert placed.complaints == []
        booked += placed.booked
        head = placed.head
        early = {seq: event for seq, event in {**early, **{each.seq: each for each in placed.kept}}.items() if seq > head.seq}
    assert booked == events
    assert (head.seq, head.hash, early) == (count, events[-1].hash, {})


def test_nothing_is_booked_past_a_gap() -> None:
    events = chain(ONE, *(sale(number) for number in range(5)))
    placed = place(Head(), {}, [events[0], *events[2:]])
    assert (placed.head.seq, [each.seq for each in placed.kept]) == (1, [3, 4, 5])


def test_one_that_waited_and_is_not_chained_makes_room_for_the_right_one() -> None:
    events = chain(ONE, *(sale(number) for number in range(3)))
    forged = make_event(ONE, 2, EventKind.SALE, "x", "2025-01-31T08:00:00Z", "{}", "f" * 64)
    placed = place(Head(), {}, [forged, events[0]])
    assert (placed.head.seq, placed.dropped, placed.kept) == (1, 2, [])
    assert placed.complaints == ["event 2 is not chained to event 1"]
    assert place(placed.head, {}, events[1:]).head.seq == 3


def test_two_events_that_wait_under_one_number_are_a_fork() -> None:
    other = chain(ONE, sale(8), sale(9))[1]
    placed = place(Head(), {2: other}, [chain(ONE, sale(0), sale(1))[1]])
    assert placed.complaints == ["fork: two events with number 2"]


def test_a_gap_keeps_no_more_than_its_limit() -> None:
    events = [make_event(ONE, seq, EventKind.SALE, "x", "t", "{}", "f" * 64) for seq in range(2, EARLY_EVENTS_MAX + 10)]
    assert len(place(Head(), {}, events).kept) == EARLY_EVENTS_MAX


# -- what follows


def test_what_an_event_says_that_its_kind_does_not_is_complained_about_and_the_others_count() -> None:
    found = effects(chain(ONE, sale(1), (EventKind.SALE, {"sale_id": ""}), (EventKind.SALE, "not json"), sale(2)))
    assert (list(found.sales), len(found.complaints)) == (["s1", "s2"], 2)


def test_units_come_and_go_by_the_words_of_each_kind() -> None:
    lines = [{"sku": "100", "quantity": 2, "restocked": 1}, {"sku": None, "quantity": 1}]
    found = effects(
        chain(
            ONE,
            sale(1, quantity=3),
            (EventKind.RETURN, {"return_id": "r1", "lines": lines}),
            (EventKind.VOID, {"void_id": "v1", "lines": lines}),
            (EventKind.STOCK, {"event": "stock.counted", "sku": "100", "delta": -4}),
            (EventKind.STOCK, {"event": "hold.granted", "sku": "100", "delta": 0}),
        )
    )
    assert found.sales["s1"].moves == (("100", -3),)
    assert [back.moves for back in found.came_back.values()] == [(("100", 1),), (("100", 2),)]
    assert [(move.sku, move.delta) for move in found.moves.values()] == [("100", -4)]


def test_two_sales_with_one_id_and_other_words_are_complained_about() -> None:
    assert effects(chain(ONE, sale(1), sale(1, quantity=2))).complaints == ["two events with id s1"]
    assert effects(chain(ONE, sale(1), sale(1))).complaints == []


def test_an_audit_chain_that_shrinks_or_changes_is_complained_about() -> None:
    held = AuditHead(10, "a" * 64)
    assert audit_complaint(held, AuditHead(11, "b" * 64), ONE) is None
    assert audit_complaint(held, held, ONE) is None
    assert audit_complaint(None, held, ONE) is None
    for told in (AuditHead(9, "a" * 64), AuditHead(10, "b" * 64)):
        assert audit_complaint(held, told, ONE) is not None


# -- sending


def birth(seq: int = 0, snapshot: str | None = "s1", incarnation: str = ONE) -> Birth:
    cursors = {"price": StreamPosition(HQ, seq)} if seq else {}
    return Birth(
        store="a", incarnation=incarnation, boot="b", version="1", types=(), cursors=cursors, snapshot=snapshot,
        up_seq=0, up_hash="0" * 64, labels=LabelCounts(0, 0),
    )  # fmt: skip


def applied(seq: int, stage: Stage = Stage.APPLIED, first: int | None = None) -> StagedAck:
    return StagedAck("price", HQ, seq, "id", stage, first=first)


def request(first: int, incarnation: str | None = HQ, stream: str = "price") -> SyncRequest:
    return SyncRequest(store="a", incarnation=ONE, stream=stream, stream_incarnation=incarnation, from_seq=first, to_seq=None)


def test_nothing_is_sent_before_the_store_was_heard_nor_while_it_is_away() -> None:
    out = Outgoing(HQ)
    out.grew(Stream.PRICE, 3)
    assert out.due() == []
    out.birth(birth(), {})
    assert out.due() == [(Stream.PRICE, 1, 3)]
    out.death()
    out.grew(Stream.PRICE, 5)
    assert out.due() == []


def test_reports_further_than_a_retained_birth_count() -> None:
    out = Outgoing(HQ)
    out.grew(Stream.PRICE, 50)
    out.birth(birth(10), {Stream.PRICE: 45})
    assert out.due() == [(Stream.PRICE, 46, 50)]


def test_what_waits_behind_a_gap_moves_no_window() -> None:
    out = Outgoing(HQ)
    out.grew(Stream.PRICE, 100)
    out.birth(birth(), {})
    assert out.due() == [(Stream.PRICE, 1, WINDOW)]
    out.received(applied(20, Stage.RECEIVED))
    assert out.due() == []
    out.received(applied(20, Stage.RECEIVED, first=1))
    assert out.due() == [(Stream.PRICE, WINDOW + 1, WINDOW + 20)]


def test_a_store_without_a_catalogue_gets_the_snapshot_and_the_prices_after_it() -> None:
    out = Outgoing(HQ)
    out.grew(Stream.PRICE, 9)
    out.grew(Stream.BULK, 12)
    out.snapshot = Snapshot(manifest_seq=8, base_price_seq=7)
    out.birth(birth(snapshot=None), {})
    assert out.due() == [(Stream.PRICE, 8, 9), (Stream.BULK, 8, 12)]


def test_a_store_that_knows_another_log_gets_this_one_from_its_start() -> None:
    out = Outgoing(HQ)
    out.grew(Stream.PRICE, 4)
    out.birth(birth(4), {})
    assert out.due() == []
    out.asked(request(30, incarnation="8" * 32))
    assert out.due() == [(Stream.PRICE, 1, 4)]


@given(st.integers(1, 200), st.integers(0, 2**32), st.floats(0, 0.6))  # a seed, not the dice themselves: they are thrown thousands of times
@settings(max_examples=60)
def test_whatever_is_lost_a_store_that_asks_gets_everything_and_never_more_than_a_window_is_on_its_way(
    count: int, seed: int, loss: float
) -> None:
    chance = random.Random(seed).random
    out, cursor = Outgoing(HQ), 0
    out.grew(Stream.PRICE, count)
    out.birth(birth(), {})
    for _ in range(2_000):
        if cursor == count:
            break
        for _, first, last in out.due():
            assert last - cursor <= WINDOW
            for seq in range(first, last + 1):
                if chance() >= loss and seq == cursor + 1:
                    cursor = seq
        if chance() >= loss and cursor:
            out.received(applied(cursor))
        if chance() < 0.5:
            out.asked(request(cursor + 1))
        if chance() < 0.1:
            out.again()
    assert cursor == count


# -- sharing


@given(st.sets(st.integers(0, 31), min_size=1), st.integers(1, 6), st.randoms(use_true_random=False))
def test_workers_come_to_hold_every_partition_once_in_equal_shares(numbers: set[int], workers: int, dice: object) -> None:
    wanted = [f"{number:02d}" for number in sorted(numbers)]
    held: dict[str, int] = dict.fromkeys(wanted, 0)  # the first one began alone
    for _ in range(2 * workers):
        order = list(range(workers))
        dice.shuffle(order)  # type: ignore[attr-defined]
        for worker in order:
            mine = {name for name, owner in held.items() if owner == worker}
            step = turn(wanted, mine, {name for name, owner in held.items() if owner < 0}, workers)
            held.update(dict.fromkeys(step.give_back, -1))
            held.update(dict.fromkeys(step.take, worker))
    counts = [sum(owner == worker for owner in held.values()) for worker in range(workers)]
    assert sum(counts) == len(wanted)
    assert max(counts) <= -(-len(wanted) // workers)


def test_a_partition_without_stores_is_given_back() -> None:
    assert turn(["01"], {"01", "07"}, set(), 1).give_back == ("07",)


# -- publishing


ITEMS = "sku,name,price,gtin,stock\n1,Milk,1.09,4006381333931,7\n2,Bread,2.50,,\n"


def test_an_item_file_is_a_whole_catalogue_or_an_update() -> None:
    (whole,) = from_item_rows(ITEMS, "EUR", 2, {}, whole=True)
    assert isinstance(whole, SnapshotDraft)
    assert (len(whole.chunks), list(whole.items)) == (1, ["1", "2"])
    items, prices = from_item_rows(ITEMS, "EUR", 2, {("1", "base"): 4}, whole=False)
    assert isinstance(items, Draft)
    assert isinstance(prices, Draft)
    assert {key: rev for key, (rev, _) in prices.prices.items()} == {("1", "base"): 5, ("2", "base"): 1}


def test_a_price_file_gives_the_next_revision_of_each_price() -> None:
    (draft,) = from_price_rows("sku,price,kind\n1,0.99,promo\n1,1.05,\n", "EUR", 2, {("1", "base"): 2})
    assert isinstance(draft, Draft)
    assert {key: rev for key, (rev, _) in draft.prices.items()} == {("1", "promo"): 1, ("1", "base"): 3}


def test_a_catalogue_from_the_database_is_the_one_that_was_said() -> None:
    (whole,) = from_item_rows(ITEMS, "EUR", 2, {}, whole=True)
    assert isinstance(whole, SnapshotDraft)
    again = from_catalogue((body.encode() for body in whole.items.values()), (body.encode() for _, body in whole.prices.values()), {"1": 7})
    assert again.chunks == whole.chunks


@pytest.mark.parametrize(
    "text, place",
    [
        (b"{", "truncated"),
        (b'{"type": "price.batch.v9", "data": {}}', "entry 0: type 'price.batch.v9'"),
        (b'[{"type": "snapshot.chunk.v1", "data": {}}]', "entry 0: type 'snapshot.chunk.v1'"),
        (b'{"type": "price.batch.v1", "data": {"rows": [{"sku": "1"}]}}', "entry 0: row 0"),
        (b'{"type": "snapshot", "items": [{"sku": "1"}]}', "items 0 to 0"),
        (b'{"type": "snapshot", "items": [], "rows": [{"sku": "9"}]}', "prices of items that are not there: 9"),
    ],
)
def test_a_bad_json_file_names_the_place(text: bytes, place: str) -> None:
    with pytest.raises(BadFile) as caught:
        from_json(text)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "text, place",
    [
        ("sku,price\n1,1.999\n", "line 2"),
        ("sku,price,colour\n1,1,red\n", "line 1"),
        ("sku,price,kind\n1,1.00,base\n1,1.00,sale\n", "rows from 0: row 1"),
        ("sku,price,price_quantity\n1,1.00,x\n", "line 2: column price_quantity"),
    ],
)
def test_a_bad_price_file_names_the_place(text: str, place: str) -> None:
    with pytest.raises(BadFile) as caught:
        from_price_rows(text, "EUR", 2, {})
    assert place in str(caught.value)


def test_a_promotion_and_a_hold_are_said_as_on_the_wire() -> None:
    row = {
        "sku": "1",
        "kind": "promo",
        "price_id": "p",
        "rev": 1,
        "amount_minor": 99,
        "currency": "EUR",
        "effective_to": "2030-01-01T00:00:00Z",
    }
    hold = {"id": "h1", "sku": "1", "quantity": 1, "purpose": "pickup", "expires": "2030-01-01T00:00:00Z", "order": "o1"}
    entries = [{"type": "price.batch.v1", "data": {"rows": [row]}}, {"type": "stock.hold.v1", "data": {"holds": [hold]}}]
    drafts = from_json(json.dumps(entries).encode())
    assert [draft.type for draft in drafts if isinstance(draft, Draft)] == ["price.batch.v1", "stock.hold.v1"]


# -- what was in force


DAY_MS = 86_400_000


def said(day: int, rev: int, amount: int, start: int | None = None, end: int | None = None, price_id: str = "base") -> SaidPrice:
    """Said on a day, in force from one and until one."""
    moments = (None if start is None else start * DAY_MS, None if end is None else end * DAY_MS)
    return SaidPrice(day * DAY_MS, PriceRow(
        sku="1", kind=PriceKind.BASE, price_id=price_id, rev=rev, curve=((1, amount),), price_quantity=1, currency="EUR",
        effective_from_ms=moments[0], effective_to_ms=moments[1], cancelled=False,
    ))  # fmt: skip


@pytest.mark.parametrize(
    "rows, amounts",
    [
        ([said(1, 1, 100), said(5, 2, 200)], {200}),  # replaced long before
        ([said(1, 1, 100), said(12, 2, 200)], {100, 200}),  # replaced since
        ([said(1, 1, 100), said(5, 2, 200, start=12)], {100, 200}),  # said before, begun since
        ([said(1, 1, 100), said(5, 2, 200, start=30)], {100}),  # still to come
        ([said(1, 1, 100), said(1, 1, 80, start=2, end=6, price_id="p")], {100}),  # over before
        ([said(1, 1, 100), said(1, 1, 80, start=2, end=11, price_id="p")], {100, 80}),  # over since
    ],
)
def test_offers_count_that_were_not_certainly_over_before_the_copy(rows: list[SaidPrice], amounts: set[int]) -> None:
    assert {price.curve[0][1] for price in past_prices(rows, since_ms=10 * DAY_MS, now_ms=20 * DAY_MS)} == amounts


def test_an_answer_ends_with_its_last_page_even_where_there_is_nothing() -> None:
    (page,) = history_drafts(ONE, [], [])
    assert json.loads(page.data)["last"] is True
    many = history_drafts(
        ONE, [json.dumps({"label": f"L{n}", "items": ["1"], "template": "t", "binding_rev": 1}).encode() for n in range(300)], []
    )
    assert [json.loads(page.data).get("last", False) for page in many] == [False, True]
