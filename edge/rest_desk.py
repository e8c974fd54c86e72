"""What REST answers: the lanes' own numbers for kiosks, and the way of all files for rows and files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO, Final

from edge import __version__
from edge.config import StoreConfig
from edge.control_import import PROBLEMS_SHOWN
from edge.desk import Desk
from edge.import_desk import Brought, ImportDesk, outcome_counts
from edge.import_frames import Format
from edge.import_reader import ReaderFailed
from edge.model import ItemId
from edge.rest_routes import JSON, Found
from edge.rest_types import Answer, Availability, ImportView, ItemView, Mistake, PriceNow, StoreView
from edge.store import import_keep, tokens
from edge.store.db import Refused
from edge.store.imports import ImportState
from edge.store.store import Store
from edge.store.tokens import Token
from protocols.jsonrpc import ErrorCode, RpcError
from protocols.pos import Guard, LookupParams
from protocols.pos_stock import StockParams

CALLER: Final = "rest"  # the lane id that what is asked here goes under: it has no basket and no lease


class RestError(Exception):
    """An answer that is a problem."""

    def __init__(self, status: int, code: str, detail: str = "", mistakes: tuple[Mistake, ...] = ()) -> None:
        super().__init__(detail or code)
        self.status = status
        self.code = code
        self.detail = detail
        self.mistakes = mistakes


_STATUS: Final = {
    ErrorCode.UNKNOWN_ITEM: 404,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.NOT_READY: 503,
    ErrorCode.REFUSED: 409,
}


class RestDesk:
    """One per store; used from the event loop's thread only."""

    def __init__(self, store: Store, desk: Desk, imports_: ImportDesk, config: StoreConfig, spool: Path) -> None:
        """`spool`: a folder of the daemon's own; what lies there has no name."""
        self._store = store
        self._desk = desk
        self._imports = imports_
        self._config = config
        self._spool = spool

    def token(self, text: str) -> Token | None:
        return self._store.read(lambda db: tokens.check(db, text))

    def spool(self) -> BinaryIO:
        """A file for a body, gone when it is closed."""
        return tempfile.TemporaryFile(dir=self._spool)

    async def answer(self, found: Found, token: Token | None, body: BinaryIO | None, media_type: str) -> tuple[int, Answer]:
        """(status, what to send). Raises RestError."""
        values = found.values
        try:
            match found.route.operation:
                case "store":
                    return 200, self._store_view()
                case "item":
                    return 200, self._item(LookupParams(item_id=values["item_id"], member=_flag(values, "member")), values)
                case "lookup":
                    return 200, self._item(LookupParams(code=values["code"], member=_flag(values, "member")), values)
                case "import":
                    return 200, self._import(values["import_id"])
                case _:
                    assert body is not None and token is not None
                    return await self._bring(values, token, body, media_type)
        except RpcError as error:
            status = next((status for code, status in _STATUS.items() if code == error.code), 400)
            raise RestError(status, error.code, error.detail or error.cashier) from None

    # -- reading -------------------------------------------------------------------------------------------------------

    def _store_view(self) -> StoreView:
        hello, store = self._desk.hello_info(), self._config
        return StoreView(
            store=store.id,
            name=store.name,
            version=__version__,
            currency=store.currency,
            currency_exponent=store.currency_exponent,
            tax_mode=str(store.tax_mode),
            ready=self._desk.ready(),
            revision=hello.revision,
            as_of=hello.as_of,
            stale_s=hello.stale_s,
        )

    def _item(self, params: LookupParams, values: dict[str, str]) -> ItemView:
        if not self._desk.ready():
            raise RpcError(ErrorCode.NOT_READY)
        stock = self._desk.stock.levels(CALLER, StockParams(code=params.code, item_id=params.item_id))
        item = self._store.view.items[ItemId(stock.item_id)]
        if item.removed:
            raise RpcError(ErrorCode.UNKNOWN_ITEM, f"item {item.item_id} is no longer sold")
        return ItemView(
            item_id=item.item_id,
            name=item.name,
            short_name=item.short_name,
            brand=item.brand,
            category=item.category,
            origin=item.origin,
            code=self._store.view.codes.get(item.item_id),
            sold_by=item.sold_by,
            unit=str(item.unit),
            net_content=item.net_content,
            net_unit=item.net_unit,
            age_limit=item.age_limit or None,
            deposit_minor=item.deposit_minor,
            attributes=dict(item.attributes),
            price=self._price(params, values),
            availability=Availability(state=str(stock.state), on_hand=stock.on_hand, available=stock.available, unit=stock.unit),
            revision=stock.revision,
            as_of=stock.as_of,
            stale_s=stock.stale_s,
        )

    def _price(self, params: LookupParams, values: dict[str, str]) -> PriceNow | None:
        """The lanes' own answer, for the quantity that is asked for."""
        if "quantity" in values and params.member:
            raise RestError(400, str(ErrorCode.INVALID_PARAMS), "quantity: only without member")
        try:
            found = self._desk.lookup(CALLER, params)
        except RpcError as error:
            if error.code == ErrorCode.NO_PRICE:
                return None
            raise
        amount_minor, quantity, guard = found.price.amount_minor, found.price.price_quantity, found.guard
        if "quantity" in values:
            charge = self._desk.charge(ItemId(found.item_id), int(values["quantity"]))
            amount_minor, quantity, guard = charge.total_minor, int(values["quantity"]), Guard(charge.guard) if charge.guard else None
        return PriceNow(
            amount_minor=amount_minor,
            quantity=quantity,
            unit=found.price.unit,
            kind=found.kind,
            currency=self._config.currency,
            guard=str(guard) if guard is not None else None,
            member=params.member,
            pack_quantity=found.pack_quantity,
            pack_minor=found.total_minor,
        )

    # -- bringing ------------------------------------------------------------------------------------------------------

    async def _bring(self, values: dict[str, str], token: Token, body: BinaryIO, media_type: str) -> tuple[int, ImportView]:
        format_ = Format.JSON if media_type == JSON else Format.CSV
        try:
            feed = self._imports.feed(values.get("feed"), values.get("kind"), values.get("mode"))
            brought = await self._imports.bring(
                body,
                feed,
                values.get("name", "rest"),
                f"token {token.name}",
                dry_run=_flag(values, "dry_run"),
                format_=format_,
            )
        except Refused as error:
            raise RestError(409, str(ErrorCode.REFUSED), str(error)) from None
        except ReaderFailed as error:
            raise RestError(503, "unreadable", str(error)) from None
        view = self._view(brought)
        if brought.account.state is ImportState.REJECTED and not brought.same:
            raise RestError(422, "mistakes", f"{view.problems} mistakes; nothing of it was used", view.mistakes)
        return 202 if brought.account.state is ImportState.HELD else 200, view

    def _import(self, import_id: str) -> ImportView:
        account = self._imports.find(import_id)
        if account is None:
            raise RpcError(ErrorCode.NOT_FOUND, f"no import {import_id}")
        return self._view(Brought(account))

    def _view(self, brought: Brought) -> ImportView:
        account = brought.account
        found = self._store.read(lambda db: import_keep.problems_of(db, account.import_id, 0, PROBLEMS_SHOWN))
        counts = outcome_counts(account)
        return ImportView(
            import_id=account.import_id,
            state="same" if brought.same else str(account.state),
            feed=account.feed,
            name=account.name,
            reason=account.reason,
            persons=account.persons,
            persons_needed=account.persons_needed,
            mistakes=tuple(Mistake(line=each.line, column=each.column, found=each.found, expected=each.expected) for each in found),
            **counts,
        )


def _flag(values: dict[str, str], name: str) -> bool:
    return values.get(name) == "true"
