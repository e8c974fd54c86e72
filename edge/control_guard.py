"""The control socket's methods about holds: what keeps a price down, and how people end it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Final, TypeVar

import msgspec

from edge import guard_report
from edge.csv_input import CsvError, amount_minor
from edge.desk import Desk
from edge.guard_report import BoundNow
from edge.guard_watch import GuardWatch
from edge.labels import LabelService
from edge.model import LABEL_ITEMS_MAX, PAPER, ItemId, MayKind
from edge.planning import may_still_show, offers_by_audience
from edge.price_mirror import LEASE_GUARD_MS, LEASE_MS
from edge.proof import Claim
from edge.renderer import Renderer, RenderFailed
from edge.store import people, shelf, urgent
from edge.store.db import Refused
from edge.store.journal import rfc3339
from edge.store.people import Retire, Who
from edge.store.store import Store
from edge.view import Delta
from protocols.jsonrpc import ErrorCode, RpcError
from render.errors import RenderError
from render.fields import LabelFields

NOTHING: Final = "nothing"  # what a label shows that has no price on it
HELD_MAX: Final = 2_000  # bounds in one answer; a longer list is cut and says so

_S = TypeVar("_S", bound=msgspec.Struct)
_T = TypeVar("_T")
Method = Callable[[str, Mapping[str, object]], Awaitable[object]]


Person = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class _Retire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    label: str
    reason: Retire
    person: Person


class _Restore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    label: str
    person: Person


class _Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`shows`: amounts as the label prints them ("1.29"), "ITEM=1.29" where it has several items, or "nothing" alone."""

    label: str
    person: Person
    shows: Annotated[tuple[str, ...], msgspec.Meta(max_length=LABEL_ITEMS_MAX)] = ()
    attempt: int | None = None


class _Ticket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    label: str
    scale: Annotated[int, msgspec.Meta(ge=1, le=8)] = 4


class _Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    item_id: str


class _Urgent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rise that shall not wait for the store's rules. The first call asks, the second, by another person, agrees."""

    item_id: str
    person: Person
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class GuardControl:
    """One per daemon, behind `edge.control.Control`."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        labels: LabelService,
        watch: GuardWatch,
        renderer: Renderer,
        find_item: Callable[[str], ItemId],
        currency_exponent: int,
    ) -> None:
        """`find_item` takes an item's number or a code as printed; it raises RpcError."""
        self._store = store
        self._view = store.view
        self._desk = desk
        self._labels = labels
        self._watch = watch
        self._renderer = renderer
        self._find_item = find_item
        self._exponent = currency_exponent
        self.methods: Mapping[str, Method] = {
            "label.retire": self._retire,
            "label.restore": self._restore,
            "label.confirm": self._confirm,
            "label.ticket": self._ticket,
            "label.retired": self._retired,
            "price.why": self._why,
            "price.urgent": self._urgent,
            "price.waiting": self._waiting,
            "price.held": self._held,
        }

    async def summary(self) -> dict[str, object]:
        """The guard's part of the status."""
        held = await self._watch.survey()
        reasons = [guard_report.guard_of(holds) for holds in held.values()]
        by_reason = self._store.read(people.given_away_by_reason)
        kinds = {radio.kind for radio in self._labels.radios.values()} | {label.kind for label in self._view.labels.values()} - {""}
        return {
            "items_held": len(held),
            "given_away_minor": sum(by_reason.values()),
            "by_reason": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
            "given_away_minor_by_reason": by_reason,
            "overrides": self._store.read(people.overrides),
            "rise_binds_at": {kind: str(grade) for kind, grade in self._labels.rules.grades(kinds).items()},
        }

    # -- people decide -------------------------------------------------------------------------------------------------

    async def _retire(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Retire)
        stamp, dwell_ms = self._store.stamp(), self._labels.dwell_ms()
        retire = partial(
            people.retire, stamp=stamp, label_id=asked.label, reason=asked.reason, who=Who(asked.person, actor), dwell_ms=dwell_ms
        )
        return {"label": asked.label, "pictures_released": await self._decide(retire), "dwell_s": dwell_ms // 1000}

    async def _restore(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Restore)
        restore = partial(people.restore, stamp=self._store.stamp(), label_id=asked.label, who=Who(asked.person, actor))
        members = await self._decide(restore)
        return {"label": asked.label, "pictures_put_back": members, "hang_up_in_s": -(-self._above_ms(asked.label) // 1000)}

    def _above_ms(self, label_id: str) -> int:
        """How long some till may still ask more than the label shows: it was told so while the label was out of use."""
        quoted_ms = guard_report.quoted_above_ms(self._view, label_id, self._watch.now().now_ms)
        shown = may_still_show(self._view.may_of_label(label_id))
        public, members = offers_by_audience(offer for entry in shown for offer in entry.offers)
        in_tables = self._labels.table_above(public, member=False) or self._labels.table_above(members, member=True)
        return max(quoted_ms, LEASE_MS + LEASE_GUARD_MS if in_tables else 0)

    async def _confirm(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Confirm)
        if (asked.attempt is None) == (not asked.shows):
            raise RpcError(ErrorCode.INVALID_PARAMS, "say what the label shows, or the number of the attempt")
        confirm = partial(
            people.confirm,
            stamp=self._store.stamp(),
            label_id=asked.label,
            claims=[self._claim(asked.label, text) for text in asked.shows if asked.shows != (NOTHING,)],
            attempt_id=asked.attempt,
            who=Who(asked.person, actor),
            dwell_ms=self._labels.dwell_ms(),
        )
        done = await self._decide(confirm)
        return {"label": asked.label, "attempt": done.attempt_id, "cannot_show_any_more": done.gone}

    async def _decide(self, transaction: Callable[..., tuple[_T, Delta]]) -> _T:
        try:
            return await self._store.run(transaction)
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None

    def _claim(self, label_id: str, text: str) -> Claim:
        """A price that somebody read on a label. Raises RpcError where it is none, or nobody can say of which item."""
        named, _, amount = text.rpartition("=")
        try:
            minor = amount_minor(amount, self._exponent)
        except CsvError as error:
            raise RpcError(ErrorCode.INVALID_PARAMS, str(error)) from None
        if named:
            return Claim(self._find_item(named), minor)
        items = self._items_of(label_id)
        if len(items) != 1:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"label {label_id} is for {len(items)} items: say ITEM=PRICE")
        return Claim(items[0], minor)

    def _items_of(self, label_id: str) -> list[ItemId]:
        """What a label is bound to, else what it may show."""
        binding = self._view.bindings.get(label_id)
        if binding is not None and binding.items:
            return list(binding.items)
        return list({offer.item_id: None for entry in self._view.may_of_label(label_id).values() for offer in entry.offers})

    async def _ticket(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Ticket)
        label = self._view.labels.get(asked.label)
        if label is None:
            raise RpcError(ErrorCode.NOT_FOUND, f"no label {asked.label}")
        if label.kind != PAPER:
            raise RpcError(ErrorCode.REFUSED, f"label {asked.label} has a radio: it gets its picture from there")
        pictures = [entry for entry in may_still_show(self._view.may_of_label(asked.label)) if entry.kind is MayKind.PICTURE]
        fields = self._store.read(partial(shelf.attempt_fields, attempt_id=pictures[-1].attempt_id)) if pictures else ""
        if label.retired or not fields:
            raise RpcError(ErrorCode.REFUSED, f"label {asked.label} has no ticket to print" + (": it is retired" if label.retired else ""))
        try:
            png = await self._renderer.draw_png(LabelFields.from_dict(msgspec.json.decode(fields)), asked.scale)
        except (RenderError, RenderFailed, ValueError) as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None
        return {"label": asked.label, "attempt": pictures[-1].attempt_id, "png_b64": base64.b64encode(png).decode()}

    async def _retired(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        return {
            "labels": [
                {
                    "label": each.label_id,
                    "reason": each.reason,
                    "person": each.person,
                    "since": rfc3339(each.wall_ms),
                    "place": guard_report.place_of(self._view, each.label_id),
                    "seen_again": rfc3339(each.seen_again_wall_ms) if each.seen_again_wall_ms is not None else None,
                }
                for each in self._store.read(people.retirements)
            ]
        }

    # -- what holds ----------------------------------------------------------------------------------------------------

    async def _why(self, actor: str, params: Mapping[str, object]) -> object:
        item_id = self._find_item(_read(params, _Item).item_id)
        now = self._watch.now()
        in_force = self._view.in_force.get(item_id)
        source = self._store.read(partial(people.row_source, row_id=in_force.row.row_id)) if in_force is not None else {}
        bounds = list(guard_report.bounds_now(self._view, item_id, now))
        rows = self._reports(bounds)
        ages = [age for row in rows if row["holds"] and isinstance(age := row["age_s"], int)]
        since_ms = now.wall_ms - 1000 * max(ages, default=0)
        lately, ever = self._store.read(partial(people.given_away, item_id=item_id, since_wall_ms=since_ms))
        report = guard_report.item_report(self._view, item_id, now, source)
        if in_force is not None:
            report["lane"] = self._lane(item_id, in_force.row.curve.points[0][0])
        report["waits"] = self._waits(item_id)
        report |= {"given_away_minor": lately if ages else 0, "given_away_ever_minor": ever, "bounds": rows, "exponent": self._exponent}
        return report

    async def _urgent(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Urgent)
        item_id = self._find_item(asked.item_id)
        stamp = self._store.stamp()
        done = await self._decide(lambda db: urgent.ask(db, stamp, item_id, asked.person, asked.reason, actor))
        return {"item_id": item_id, "in_force": done, "wants": "" if done else "a second person to agree"}

    async def _waiting(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        items = self._labels.rises.waiting
        rows = []
        for item_id in items[:HELD_MAX]:
            waits = self._waits(item_id)
            if waits is not None:
                rows.append({"item_id": item_id, "name": self._view.items[item_id].name if item_id in self._view.items else "", **waits})
        return {"waiting": rows, "items": len(items), "cut": len(items) > HELD_MAX, "exponent": self._exponent}

    def _waits(self, item_id: ItemId) -> dict[str, object] | None:
        stamp = self._store.stamp()
        found = self._store.read(lambda db: urgent.waiting(db, stamp, item_id))
        return None if found is None else urgent.report(found)

    def _lane(self, item_id: ItemId, quantity: int) -> dict[str, object]:
        charge = self._desk.charge(item_id, quantity)
        by = charge.held_by
        return {
            "quantity": quantity,
            "total_minor": charge.total_minor,
            "guard": charge.guard,
            "label": by.label_id if by is not None else None,
            "grade": by.grade if by is not None else None,
        }

    async def _held(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        found = await self._watch.survey()
        rows: list[dict[str, object]] = []
        for item_id, holds in sorted(found.items()):
            if len(rows) + len(holds) > HELD_MAX:
                break
            rows += self._held_rows(item_id, holds)
            await asyncio.sleep(0)  # lanes are answered in between
        cut = len({row["item_id"] for row in rows}) < len(found)
        return {"held": rows, "items": len(found), "cut": cut, "exponent": self._exponent}

    def _held_rows(self, item_id: ItemId, holds: list[BoundNow]) -> list[dict[str, object]]:
        now = self._watch.now()
        item = self._view.items.get(item_id)
        rows: list[dict[str, object]] = []
        for bound, report in zip(holds, self._reports(holds), strict=True):
            age_s = report["age_s"]
            since_ms = now.wall_ms - 1000 * age_s if isinstance(age_s, int) else now.wall_ms
            quantity = bound.offer.curve.points[0][0]
            curves = guard_report.targets(self._view, item_id, now.wall_ms, bound.offer.audience)
            rows.append(
                {
                    "item_id": item_id,
                    "name": item.name if item is not None else "",
                    "target_minor": min((curve.cost_minor(quantity) for curve in curves), default=None),
                    "held_minor": bound.offer.curve.points[0][1],
                    "quantity": quantity,
                    "given_away_minor": self._store.read(partial(people.given_away, item_id=item_id, since_wall_ms=since_ms))[0],
                    **{key: report[key] for key in ("audience", "label", "place", "attempt", "grade", "reason", "age_s", "remedy")},
                }
            )
        return rows

    def _reports(self, bounds: list[BoundNow]) -> list[dict[str, object]]:
        now = self._watch.now()
        facts = self._store.read(partial(people.attempt_facts, attempt_ids=[bound.entry.attempt_id for bound in bounds]))
        return [
            guard_report.bound_report(self._view, bound, now, facts.get(bound.entry.attempt_id), self._labels.problem(bound.entry.label_id))
            for bound in bounds
        ]


def _read(params: Mapping[str, object], shape: type[_S]) -> _S:
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        raise RpcError(ErrorCode.INVALID_PARAMS, str(error)) from None
