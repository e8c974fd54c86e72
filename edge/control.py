"""The control socket's methods: what the command line and support may ask and do. Every change names who did it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec

from drivers.base import Clock
from edge import __version__, guard_report, planning
from edge.control_guard import GuardControl
from edge.control_stock import StockControl
from edge.desk import Desk
from edge.evidence_state import evidence_state
from edge.guard_watch import GuardWatch
from edge.hq import HqSync
from edge.labels import LabelService
from edge.model import PAPER, Binding, ItemId, MayKind, MayState, Place
from edge.planning import PictureFacts
from edge.renderer import Renderer, RenderFailed
from edge.rpc import Peer
from edge.store.db import Refused
from edge.store.journal import rfc3339
from edge.store.store import Store
from protocols.hq_enrol import BadEnrolment
from protocols.jsonrpc import ErrorCode, Request, RpcError
from render.errors import RenderError

LIST_MAX: Final = 5_000  # rows in one answer; a longer list is cut and says so
DEFAULT_PANEL: Final = "oepl-01"
PAPER_LABEL: Final = re.compile(r"(?![0-9A-Fa-f]{16}\Z)[A-Za-z0-9][A-Za-z0-9._:-]{0,31}")  # not to be taken for a label with a radio

_S = TypeVar("_S", bound=msgspec.Struct)


class _PlaceParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    aisle: str = ""
    bay: str = ""
    shelf: str = ""
    slot: str = ""


class _Bind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    label: str
    items: tuple[str, ...]
    by: str
    template: str | None = None
    place: _PlaceParams | None = None
    paper: bool = False


class _Unbind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    label: str
    by: str


class _Render(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    item_id: str
    scale: int = 1
    template: str | None = None
    panel: str | None = None


class _Holds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ids: tuple[str, ...]
    person: str


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Control:
    """Answers control calls. One per daemon; sessions of all connections share it."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        labels: LabelService,
        sync: HqSync | None,
        renderer: Renderer,
        clock: Clock,
        facts: PictureFacts,
        store_id: str,
        enrolled: Callable[[], None],
        watch: GuardWatch,
    ) -> None:
        self._store = store
        self._view = store.view
        self._desk = desk
        self._labels = labels
        self._sync = sync
        self._renderer = renderer
        self._clock = clock
        self._facts = facts
        self._store_id = store_id
        self._enrolled = enrolled
        self._guard = GuardControl(store, desk, labels, watch, renderer, self._item, facts.currency_exponent)
        self.methods: dict[str, Callable[[str, Mapping[str, object]], Awaitable[object]]] = {
            "status": self._status,
            "enrol": self._enrol,
            "label.list": self._label_list,
            "label.bind": self._label_bind,
            "label.unbind": self._label_unbind,
            "radio.list": self._radio_list,
            "stock.list": self._stock_list,
            "render": self._render,
            "hold.list": self._hold_list,
            "hold.release": self._hold_release,
            "hold.discard": self._hold_discard,
            **self._guard.methods,
            **StockControl(store, self._item).methods,
        }

    def serve(self, more: Mapping[str, Callable[[str, Mapping[str, object]], Awaitable[object]]]) -> None:
        """Methods that live in a module of their own."""
        self.methods.update(more)

    def session(self, peer: Peer) -> ControlSession:
        return ControlSession(self, peer)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _status(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        outbox = self._store.outbox_state()
        counters = self._labels.counters
        return {
            "store": self._store_id,
            "version": __version__,
            "ready": self._desk.ready(),
            "time": rfc3339(self._clock.wall_ms()),
            "clock_trusted": self._clock.wall_trusted(),
            "catalogue": {
                "generation": self._view.generation or None,
                "items": sum(1 for item in self._view.items.values() if not item.removed),
                "priced": len(self._view.in_force),
                "held_changes": len(self._store.held_prices()),
            },
            "labels": self._label_summary(),
            "attempts": {
                "rendered": counters.rendered,
                "sent": counters.sent,
                "on_air": counters.on_air,
                "stored": counters.stored,
                "proven": counters.proven,
                **{f"failed {reason}": count for reason, count in sorted(counters.failed.items())},
            },
            "guard": await self._guard.summary(),
            "radios": [self._radio(name) for name in self._labels.radios],
            "hq": self._hq_summary(),
            "evidence": self._evidence_summary(),
            "outbox": {"waiting": outbox.last_seq - outbox.first_unacked_seq + 1, "last_seq": outbox.last_seq},
            "sales": {"recorded": self._store.sales_count(), "repeated": self._desk.counters.sales_repeated},
        }

    def _label_summary(self) -> dict[str, object]:
        labels = [label_id for label_id, label in self._view.labels.items() if not label.retired]
        bound = [label for label in labels if (binding := self._view.bindings.get(label)) and binding.items]
        carried = {item for label in bound for item in self._view.bindings[label].items}
        return {
            "total": len(labels),
            "bound": len(bound),
            "retired": len(self._view.labels) - len(labels),
            "proven": sum(1 for label in labels if self._store.is_proven(label)),
            "proven_by": guard_report.proven_by_grade(self._view),
            "unsettled": self._labels.unsettled(),
            "oldest_unsettled_s": self._labels.oldest_unsettled_ms() // 1000,
            "items_without_label": sum(1 for item in self._view.in_force if item not in carried),
        }

    def _hq_summary(self) -> dict[str, object]:
        enrolment = self._store.enrolment()
        if self._sync is None:
            return {"mode": "none"}
        return {
            "mode": "mqtt",
            "enrolled": enrolment is not None,
            "connected": self._sync.connected,
            "last_error": self._sync.last_error,
            "messages": self._sync.counters.messages,
            "bad_signature": self._sync.counters.bad_signature,
            "rejected": self._sync.counters.rejected,
        }

    def _evidence_summary(self) -> dict[str, object]:
        state = evidence_state(self._store, self._sync, self._clock)
        return {
            "entries": state.entries,
            "head": state.head,
            "told_hq_entry": state.told_entry,
            "told_hq_s_ago": state.told_age_s,
            "file_bytes": state.file_bytes,
        }

    def _radio(self, name: str) -> dict[str, object]:
        radio = self._labels.radios[name]
        return {
            "name": name,
            "radio_id": radio.driver.radio_id,
            "kind": radio.kind,
            "state": "up" if radio.up else "down",
            "grade": str(radio.driver.grade),
            "description": radio.description,
            "last_error": radio.last_error,
        }

    async def _radio_list(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        return {"radios": [self._radio(name) for name in self._labels.radios]}

    async def _label_list(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        labels = sorted(self._view.labels)
        return {"labels": [self._label(label_id) for label_id in labels[:LIST_MAX]], "cut": len(labels) > LIST_MAX}

    def _label(self, label_id: str) -> dict[str, object]:
        label = self._view.labels[label_id]
        binding = self._view.bindings.get(label_id)
        may = planning.may_still_show(self._view.may_of_label(label_id))
        proven = [entry for entry in may if entry.state is MayState.PROVEN]
        grade = proven[-1].grade if proven else None
        unknown = any(entry.kind is MayKind.UNKNOWN for entry in may)
        return {
            "label": label_id,
            "items": " ".join(binding.items) if binding else "",
            "template": binding.template if binding and binding.items else "unassigned",
            "place": "/".join(_place_parts(binding)) if binding else "",
            "state": f"retired: {label.retired}" if label.retired else self._label_state(label_id, unknown=unknown and len(may) == 1),
            "grade": grade,
            "may_show": len(may),
            "battery_mv": label.battery_mv,
            "last_seen": rfc3339(label.last_seen_wall_ms) if label.last_seen_wall_ms else None,
            "binding_rev": binding.binding_rev if binding else 0,
            "problem": self._labels.problem(label_id),
        }

    def _label_state(self, label_id: str, *, unknown: bool) -> str:
        return "proven" if self._store.is_proven(label_id) else "unknown display" if unknown else "updating"

    async def _stock_list(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        return {"stock": dict(self._view.stock)}

    # -- changing ------------------------------------------------------------------------------------------------------

    async def _enrol(self, actor: str, params: Mapping[str, object]) -> object:
        if self._sync is None:
            raise RpcError(ErrorCode.REFUSED, 'the configuration says hq.mode = "none": this store has no HQ')
        store = params.get("store")
        if store != self._store_id:
            raise RpcError(ErrorCode.REFUSED, f"store: the file is for {store!r}, the configuration says {self._store_id!r}")
        try:
            await self._store.enrol(json.dumps(params).encode(), actor)
        except (BadEnrolment, Refused) as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None
        self._enrolled()
        return {"store": self._store_id}

    async def _label_bind(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Bind)
        items = tuple(self._item(each) for each in asked.items)
        place = asked.place or _PlaceParams()
        template = asked.template or self._store.context.default_template
        where = Place(place.aisle, place.bay, place.shelf, place.slot)
        if asked.paper and PAPER_LABEL.fullmatch(asked.label) is None:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"label {asked.label}: a ticket has a name of up to 32 letters, digits or . _ : -")
        binding = await self._bind(asked.label, items, template, where, f"{asked.by} ({actor})", PAPER if asked.paper else None)
        return {"label": binding.label_id, "binding_rev": binding.binding_rev}

    async def _label_unbind(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Unbind)
        if asked.label not in self._view.labels:
            raise RpcError(ErrorCode.NOT_FOUND, f"no label {asked.label}")
        binding = await self._bind(asked.label, (), self._store.context.default_template, Place(), f"{asked.by} ({actor})")
        return {"label": binding.label_id, "binding_rev": binding.binding_rev}

    async def _bind(
        self, label: str, items: tuple[ItemId, ...], template: str, place: Place, actor: str, kind: str | None = None
    ) -> Binding:
        try:
            return await self._store.bind(label, items, template, place, actor=actor, kind=kind)
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None

    def _item(self, text: str) -> ItemId:
        """An item by its id, or by a code as printed."""
        if text in self._view.items:
            return ItemId(text)
        found = self._view.barcodes.get(text.zfill(14)) if text.isdigit() else None
        if found is None:
            raise RpcError(ErrorCode.NOT_FOUND, f"no item {text}")
        return found[0]

    async def _render(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Render)
        item_id = self._item(asked.item_id)
        in_force = self._view.in_force.get(item_id)
        if in_force is None:
            raise RpcError(ErrorCode.NO_PRICE, f"item {item_id} has no price in force")
        template = asked.template or self._store.context.default_template
        try:
            priced = [(self._view.items[item_id], in_force)]
            fields = planning.priced_fields(self._view, priced, template, asked.panel or DEFAULT_PANEL, "preview", self._facts)
            png = await self._renderer.draw_png(fields, asked.scale)
        except (RenderError, RenderFailed, ValueError) as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None
        return {"png_b64": base64.b64encode(png).decode()}

    async def _hold_list(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        return {
            "holds": [
                {"id": hold_id, "item_id": item, "price_id": price_id, "rev": rev, "reason": reason, "agreed": json.loads(persons)}
                for hold_id, item, price_id, rev, reason, persons in self._store.held_prices()
            ]
        }

    async def _hold_release(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Holds)
        released = 0
        try:
            for hold_id in asked.ids:
                released += await self._store.release_hold(hold_id, asked.person)
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None
        return {"released": released, "waiting_for_second_person": len(asked.ids) - released}

    async def _hold_discard(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Holds)
        try:
            for hold_id in asked.ids:
                await self._store.discard_hold(hold_id, asked.person)
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None
        return {"discarded": len(asked.ids)}


class ControlSession:
    """One connection; the peer's uid is what the audit names."""

    def __init__(self, control: Control, peer: Peer) -> None:
        self._control = control
        self._actor = f"uid {peer.uid}"
        self.methods = frozenset(control.methods)

    def call(self, request: Request) -> object:
        return self._control.methods[request.method](self._actor, request.params)


def _place_parts(binding: Binding) -> list[str]:
    place = binding.place
    return [part for part in (place.aisle, place.bay, place.shelf, place.slot) if part]


def _read(params: Mapping[str, object], shape: type[_S]) -> _S:
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        raise RpcError(ErrorCode.INVALID_PARAMS, str(error)) from None
