"""Stock at the lane: levels, the pick list, what becomes of held goods, and labels that blink."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drivers.base import CanFlash, LabelDriver, LabelId
from edge.desk_facts import Find, Stamps
from edge.stock import Hold, HoldState, full_shelf, pick_order, shelf_state
from edge.store import holds, observed
from edge.store.db import Refused
from edge.store.holds import NoSuchHold
from edge.store.journal import rfc3339
from edge.store.rows import Db
from edge.store.store import Store
from edge.view import Delta
from protocols.pos import ErrorCode, RpcError
from protocols.pos_stock import (
    PLACES_MAX,
    ArrivedParams,
    CollectParams,
    Discrepancy,
    FlashParams,
    FlashResult,
    HoldResult,
    HoldsParams,
    HoldsResult,
    HoldView,
    PlaceView,
    ReleaseParams,
    StockParams,
    StockResult,
    StockState,
)

Radios = Callable[[], Iterable[LabelDriver]]


class StockDesk:
    """One per store; used from the event loop's thread only."""

    def __init__(self, store: Store, stamps: Stamps, find: Find) -> None:
        self.radios: Radios = tuple  # who can make a label blink; the composition root says
        self._store = store
        self._view = store.view
        self._stamps = stamps
        self._find = find

    # -- levels --------------------------------------------------------------------------------------------------------

    def levels(self, lane_id: str, params: StockParams) -> StockResult:
        item, _ = self._find(params.code, params.item_id, removed=True)
        level = self._view.level(item.item_id)
        on_hand = self._view.stock.get(item.item_id)
        differences = self._store.read(lambda db: observed.differences(db, item.item_id))
        return StockResult(
            item_id=item.item_id,
            unit=str(item.unit),
            on_hand=level.on_hand,
            held=level.held,
            escrow=level.escrow,
            available=level.available,
            state=StockState(shelf_state(on_hand, full_shelf(item.attributes))),
            up_seq=self._store.outbox_state().last_seq,
            discrepancies=tuple(
                Discrepancy(
                    source=each.source, kind=each.kind, observed=each.observed, expected=each.expected, since=rfc3339(each.since_ms)
                )
                for _, each in differences
            ),
            **self._stamps.now(),
        )

    # -- holds ---------------------------------------------------------------------------------------------------------

    def holds(self, lane_id: str, params: HoldsParams) -> HoldsResult:
        """The pick list: who waits in the store first, then by expiry."""
        found = sorted((hold for hold in self._view.holds.values() if params.order in (None, hold.order)), key=pick_order)
        start = 0
        if params.after is not None:
            before = self._view.holds.get(params.after)
            if before is None:
                raise RpcError(ErrorCode.NOT_FOUND, f"hold {params.after} is not open any more: begin again without `after`")
            start = sum(1 for hold in found if pick_order(hold) <= pick_order(before))
        page = found[start : start + params.limit]
        more = start + len(page) < len(found)
        return HoldsResult(holds=tuple(self._show(hold) for hold in page), more=more, **self._stamps.now())

    async def arrived(self, lane_id: str, params: ArrivedParams) -> HoldResult:
        """The customer is here. Returns once it is durable."""
        if params.hold_id is not None:
            hold_ids = [params.hold_id]
        else:
            hold_ids = sorted(hold.hold_id for hold in self._view.holds.values() if hold.order == params.order)
            if not hold_ids:
                raise RpcError(ErrorCode.NOT_FOUND, f"no open hold of order {params.order}")
        stamp = self._store.stamp()

        def transaction(db: Db) -> tuple[list[tuple[Hold, bool]], Delta]:
            delta = Delta()
            return [holds.arrive(db, stamp, hold_id, f"lane {lane_id}", delta) for hold_id in hold_ids], delta

        return await self._ended(transaction)

    async def collect(self, lane_id: str, params: CollectParams) -> HoldResult:
        """Handed over, paid for elsewhere. Returns once it is durable; again, it changes nothing."""
        return await self._end(lane_id, params.hold_id, HoldState.COLLECTED, "")

    async def release(self, lane_id: str, params: ReleaseParams) -> HoldResult:
        """Back on the shelf. Returns once it is durable; again, it changes nothing."""
        return await self._end(lane_id, params.hold_id, HoldState.RELEASED, params.reason)

    async def _end(self, lane_id: str, hold_id: str, state: HoldState, reason: str) -> HoldResult:
        stamp = self._store.stamp()

        def transaction(db: Db) -> tuple[list[tuple[Hold, bool]], Delta]:
            delta = Delta()
            return [holds.end_hold(db, stamp, hold_id, state, f"lane {lane_id}", delta, reason=reason)], delta

        return await self._ended(transaction)

    async def _ended(self, transaction: Callable[[Db], tuple[list[tuple[Hold, bool]], Delta]]) -> HoldResult:
        try:
            done = await self._store.run(transaction, urgent=True)
        except NoSuchHold as error:
            raise RpcError(ErrorCode.NOT_FOUND, str(error)) from None
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None
        changed = any(changed for _, changed in done)
        return HoldResult(holds=tuple(self._show(hold) for hold, _ in done), changed=changed, **self._stamps.now())

    def _show(self, hold: Hold) -> HoldView:
        item = self._view.items.get(hold.item_id)
        return HoldView(
            hold_id=hold.hold_id,
            item_id=hold.item_id,
            name=item.name if item is not None else hold.item_id,
            quantity=hold.quantity,
            unit=str(item.unit) if item is not None else "each",
            purpose=hold.purpose,
            order=hold.order,
            state=str(hold.state),
            expires_at=rfc3339(hold.expires_ms),
            arrived_at=None if hold.arrived_ms is None else rfc3339(hold.arrived_ms),
            places=tuple(self._place(label_id) for label_id in sorted(self._view.labels_of_item(hold.item_id))[:PLACES_MAX]),
        )

    def _place(self, label_id: str) -> PlaceView:
        place = self._view.bindings[label_id].place
        return PlaceView(label=label_id, aisle=place.aisle, bay=place.bay, shelf=place.shelf, slot=place.slot)

    # -- labels --------------------------------------------------------------------------------------------------------

    def flash(self, lane_id: str, params: FlashParams) -> FlashResult:
        """Tell labels to blink. Raises RpcError where none can."""
        if params.label is not None:
            if params.label not in self._view.labels:
                raise RpcError(ErrorCode.NOT_FOUND, f"no label {params.label}")
            label_ids = [params.label]
        else:
            item, _ = self._find(params.code, params.item_id, removed=True)
            label_ids = sorted(self._view.labels_of_item(item.item_id))
            if not label_ids:
                raise RpcError(ErrorCode.NOT_FOUND, f"item {item.item_id} has no label")
        told: list[str] = []
        skipped: dict[str, str] = {}
        for label_id in label_ids[:PLACES_MAX]:
            reason = self._flash(label_id)
            if reason is None:
                told.append(label_id)
            else:
                skipped[label_id] = reason
        if not told:
            raise RpcError(ErrorCode.REFUSED, "; ".join(sorted(set(skipped.values()))), cashier="These labels cannot blink.")
        return FlashResult(labels=tuple(told), skipped=skipped, **self._stamps.now())

    def _flash(self, label_id: str) -> str | None:
        """Hand a label to the radio that heard it last. None when that took it, else why it cannot."""
        label = self._view.labels[label_id]
        radio = next((each for each in self.radios() if each.radio_id is not None and each.radio_id == label.last_radio), None)
        if radio is None:
            return "the label's radio is down, or never heard it"
        if not isinstance(radio, CanFlash):
            return f"radio {radio.name} has no command that makes a label blink"
        return radio.flash(LabelId(label_id))
