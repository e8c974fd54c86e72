"""The control socket's methods about stock: what staff book themselves, and what they look at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from edge.model import ItemId
from edge.stock import Cause, pick_order
from edge.store import observed, stock
from edge.store.db import Refused
from edge.store.journal import make_id, outbox_state, rfc3339
from edge.store.rows import Db
from edge.store.store import Store
from edge.view import Delta
from protocols.jsonrpc import ErrorCode, RpcError

UNITS_MAX: Final = 10**9  # of one booking: a thousand tonnes in grams
LIST_MAX: Final = 5_000  # rows in one answer; a longer list is cut and says so

_S = TypeVar("_S", bound=msgspec.Struct)
Method = Callable[[str, Mapping[str, object]], Awaitable[object]]
Units = Annotated[int, Meta(ge=1, le=UNITS_MAX)]


class _Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`units` more (a receipt) or fewer (a loss); `id` makes it safe to send again, without it the daemon makes one."""

    item: str
    units: Units
    by: str
    reason: str = ""
    id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class _Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    item: str
    units: Annotated[int, Meta(ge=0, le=UNITS_MAX)]
    by: str
    as_of_seq: Annotated[int, Meta(ge=0)] | None = None
    id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class StockControl:
    """One per daemon."""

    def __init__(self, store: Store, item: Callable[[str], ItemId]) -> None:
        """`item`: an item by its id, or by a code as printed; raises RpcError."""
        self._store = store
        self._view = store.view
        self._item = item
        self.methods: Mapping[str, Method] = {
            "stock.receive": self._receive,
            "stock.shrink": self._shrink,
            "stock.count": self._count,
            "stock.holds": self._holds,
            "stock.differences": self._differences,
        }

    async def _receive(self, actor: str, params: Mapping[str, object]) -> object:
        return await self._adjust(_read(params, _Book), actor, Cause.RECEIPT, 1)

    async def _shrink(self, actor: str, params: Mapping[str, object]) -> object:
        return await self._adjust(_read(params, _Book), actor, Cause.SHRINK, -1)

    async def _adjust(self, asked: _Book, actor: str, cause: Cause, sign: int) -> object:
        item_id = self._item(asked.item)
        stamp = self._store.stamp()
        ref = asked.id or make_id(stamp, f"{cause} {item_id}")
        who = f"{asked.by} ({actor})" + (f": {asked.reason}" if asked.reason else "")

        def transaction(db: Db) -> tuple[int, Delta]:
            delta = Delta()
            each = stock.Adjustment(ref, item_id, sign * asked.units, cause)
            return stock.adjust_here(db, stamp, each, who, delta), delta

        return {"item": item_id, "on_hand": await self._book(transaction), "id": ref}

    async def _count(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Count)
        item_id = self._item(asked.item)
        stamp = self._store.stamp()
        ref = asked.id or make_id(stamp, f"count {item_id}")

        def transaction(db: Db) -> tuple[int, Delta]:
            delta = Delta()
            as_of_seq = outbox_state(db).last_seq if asked.as_of_seq is None else asked.as_of_seq
            stock.count(db, stamp, ref, item_id, asked.units, as_of_seq, delta, actor=f"{asked.by} ({actor})")
            return stock.level_of(db, item_id).on_hand, delta

        return {"item": item_id, "on_hand": await self._book(transaction), "id": ref}

    async def _book(self, transaction: Callable[[Db], tuple[int, Delta]]) -> int:
        try:
            return await self._store.run(transaction)
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None

    async def _holds(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        holds = sorted(self._view.holds.values(), key=pick_order)
        rows = [
            {
                "hold": hold.hold_id,
                "item": hold.item_id,
                "quantity": hold.quantity,
                "purpose": hold.purpose,
                "order": hold.order,
                "state": str(hold.state),
                "expires": rfc3339(hold.expires_ms),
            }
            for hold in holds[:LIST_MAX]
        ]
        return {"holds": rows, "cut": len(holds) > LIST_MAX}

    async def _differences(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        found = self._store.read(observed.differences)
        rows = [
            {
                "item": item_id,
                "source": each.source,
                "kind": each.kind,
                "observed": each.observed,
                "expected": each.expected,
                "since": rfc3339(each.since_ms),
            }
            for item_id, each in found[:LIST_MAX]
        ]
        return {"differences": rows, "cut": len(found) > LIST_MAX}


def _read(params: Mapping[str, object], shape: type[_S]) -> _S:
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        raise RpcError(ErrorCode.INVALID_PARAMS, str(error)) from None
