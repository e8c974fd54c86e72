"""Voids and returns at the lane: from what a till says to what the store records and pays back."""

from __future__ import annotations

from drivers.base import Clock
from edge.desk_facts import Conflicts, Find, Stamps, StoreFacts, made_when
from edge.model import ItemId
from edge.refunds import Original, Paid
from edge.store import returns
from edge.store.db import Refused
from edge.store.returns import NewReturn, NewVoid, OverReturn, Refund, Returned, ReturnedLine, UnknownSale, Voided
from edge.store.store import Store
from edge.store.till import IdConflict
from protocols.pos import ErrorCode, RpcError
from protocols.pos_returns import (
    Condition,
    RefundedLine,
    ReturnLine,
    ReturnParams,
    ReturnResult,
    VoidParams,
    VoidResult,
    return_digest,
    void_digest,
)


class Returns:
    """One per store; used from the event loop's thread only."""

    def __init__(self, store: Store, clock: Clock, facts: StoreFacts, stamps: Stamps, conflicts: Conflicts, find: Find) -> None:
        self._store = store
        self._clock = clock
        self._facts = facts
        self._stamps = stamps
        self._conflicts = conflicts
        self._find = find

    async def void(self, lane_id: str, params: VoidParams) -> VoidResult:
        """Returns once the void is durable; the same void again gets the stored answer."""
        digest = void_digest(params)
        known = self._store.read(lambda db: returns.find_void(db, params.void_id))
        if known is not None:
            if known[0] != digest:
                raise await self._conflict("void", lane_id, params.void_id)
            return self._void_answer(known[1])
        flags = ("offline",) if params.offline else ()
        when = made_when(self._clock, self._facts, params.made_at)
        new = NewVoid(params.void_id, params.sale_id, lane_id, digest, params.reason, params.offline, flags, when)
        stamp = self._store.stamp()
        try:
            voided = await self._store.run(lambda db: returns.record_void(db, stamp, new), urgent=True)
        except IdConflict:
            raise await self._conflict("void", lane_id, params.void_id) from None
        except Refused as error:
            raise _rpc_error(error) from None
        return self._void_answer(voided)

    async def take_back(self, lane_id: str, params: ReturnParams) -> ReturnResult:
        """Returns once the return is durable, or at once for a preview; the same return again gets the stored answer."""
        digest = return_digest(params)
        known = self._store.read(lambda db: returns.find_return(db, params.return_id))
        if known is not None:
            if known[0] != digest:
                raise await self._conflict("return", lane_id, params.return_id)
            return self._answer(known[1])
        new = self._new_return(lane_id, params, digest)
        stamp = self._store.stamp()
        try:
            if params.preview:
                return self._preview(params.return_id, self._store.read(lambda db: returns.settle(db, new)))
            return self._answer(await self._store.run(lambda db: returns.record_return(db, stamp, new), urgent=True))
        except IdConflict:
            raise await self._conflict("return", lane_id, params.return_id) from None
        except Refused as error:
            raise _rpc_error(error) from None

    def _new_return(self, lane_id: str, params: ReturnParams, digest: str) -> NewReturn:
        return NewReturn(
            params.return_id,
            str(params.origin),
            params.sale_id,
            lane_id,
            digest,
            tuple(self._line(line) for line in params.lines),
            tuple((tender.type, tender.amount_minor) for tender in params.tenders),
            params.reason,
            params.offline,
            ("offline",) if params.offline else (),
            made_when(self._clock, self._facts, params.made_at),
        )

    def _line(self, line: ReturnLine) -> ReturnedLine:
        item_id: ItemId | None = None
        if line.code is not None or line.item_id is not None:
            try:
                item_id = self._find(line.code, line.item_id, removed=True)[0].item_id
            except RpcError:  # recorded under what was scanned, like an unknown item in a sale
                item_id = None
        original: Original | None = None
        if line.original_quantity is not None and line.original_paid_minor is not None:
            original = Original(line.original_quantity, Paid(line.original_paid_minor))
        damaged = line.condition is Condition.DAMAGED
        return ReturnedLine(line.line_id, line.original_line_id, item_id, line.code or line.item_id or "", line.quantity, damaged, original)

    async def _conflict(self, what: str, lane_id: str, id_: str) -> RpcError:
        await self._conflicts.tell(what, lane_id, id_)
        return RpcError(ErrorCode.ID_CONFLICT, f"{what} {id_} is recorded with another body")

    def _void_answer(self, voided: Voided) -> VoidResult:
        return VoidResult(
            void_id=voided.void_id,
            sale_id=voided.sale_id,
            up_seq=voided.up_seq,
            refund_minor=voided.refund_minor,
            flags=voided.flags,
            **self._stamps.now(),
        )

    def _answer(self, returned: Returned) -> ReturnResult:
        lines = tuple(
            RefundedLine(line_id=line.line_id, item_id=line.item_id, quantity=line.quantity, refund_minor=line.refund_minor, left=line.left)
            for line in returned.lines
        )
        return ReturnResult(
            return_id=returned.return_id,
            up_seq=returned.up_seq,
            lines=lines,
            refund_minor=returned.refund_minor,
            flags=returned.flags,
            **self._stamps.now(),
        )

    def _preview(self, return_id: str, refund: Refund) -> ReturnResult:
        lines = tuple(
            RefundedLine(
                line_id=line.line_id, item_id=line.item_id, quantity=line.quantity, refund_minor=line.refund.total_minor, left=line.left
            )
            for line in refund.lines
        )
        return ReturnResult(
            return_id=return_id,
            up_seq=0,
            lines=lines,
            refund_minor=refund.total_minor,
            flags=refund.flags,
            recorded=False,
            **self._stamps.now(),
        )


def _rpc_error(error: Refused) -> RpcError:
    if isinstance(error, OverReturn):
        return RpcError(ErrorCode.OVER_RETURN, str(error))
    if isinstance(error, UnknownSale):
        return RpcError(ErrorCode.NOT_FOUND, str(error), cashier="This sale is not known here. Check the receipt.")
    return RpcError(ErrorCode.REFUSED, str(error))
