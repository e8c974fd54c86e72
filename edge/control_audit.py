"""The control socket's audit methods: what was said then, whether the evidence holds, a bundle of it, and whether prices are right now.

The chain is read on connections of its own, in a thread and in short steps: a till never waits for a check of a year.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from drivers.base import Clock
from edge import __version__, accuracy, planning
from edge.accuracy import Line
from edge.desk import Desk
from edge.evidence_answer import standing_answer, then_answer
from edge.evidence_key import EvidenceKey
from edge.model import EVERYBODY, ItemId
from edge.renderer import Renderer, RenderFailed
from edge.store import evidence_check, evidence_export
from edge.store.db import connect
from edge.store.evidence_at import Picture, item_then
from edge.store.evidence_export import Stretch
from edge.store.journal import audit_head, get_meta, rfc3339
from edge.store.rows import Db, json_text
from edge.store.store import ATTEMPT_NUMBER_MODULUS, Store
from protocols.jsonrpc import ErrorCode, RpcError
from render.errors import RenderError

CHECK_ENTRIES: Final = 40  # entries checked between two looks at the lanes: about a millisecond
PAGE_BYTES: Final = 1 << 20  # of bundle lines in one answer
PAGE_ENTRIES: Final = 200
EXPORTS_MAX: Final = 4  # bundles being made at once; the oldest is given up
AROUND_S_MAX: Final = 86_400  # quotes and sales of a day before and after
PICTURES_MAX: Final = 16  # drawn for one answer: a second on a slow machine
ACCURACY_LABELS: Final = 50  # labels compared between two looks at the lanes
SAMPLE_MAX: Final = 1_000
LINES_MAX: Final = 10_000  # wrong or unknown lines in one answer

_S = TypeVar("_S", bound=msgspec.Struct)
_T = TypeVar("_T")


class _At(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    item: str
    time: str
    around_s: int = 900
    pictures: bool = True
    scale: int = 1


class _Verify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    heads: tuple[str, ...] = ()


class _Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    since: str = msgspec.field(name="from")
    until: str = msgspec.field(name="to")


class _Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    export: str


class _Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sample: int | None = None
    seed: str | None = None
    strata: str = "aisle"


@dataclass(slots=True)
class _Bundle:
    """A bundle on its way out. The daemon hashes what it gave: it signs nothing else."""

    stretch: Stretch
    from_ms: int
    to_ms: int
    next_entry: int
    lines: int = 0
    changed: list[int] = field(default_factory=list)
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)


class AuditControl:
    """Answers the audit calls. `methods` are merged into those of the control socket."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        renderer: Renderer,
        clock: Clock,
        zone: ZoneInfo,
        store_id: str,
        key: EvidenceKey | None,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._path = store.path
        self._view = store.view
        self._desk = desk
        self._renderer = renderer
        self._clock = clock
        self._zone = zone
        self._store_id = store_id
        self._key = key
        self._entropy = entropy
        self._bundles: dict[str, _Bundle] = {}
        self.methods: Mapping[str, Callable[[str, Mapping[str, object]], Awaitable[object]]] = {
            "audit.at": self._at,
            "audit.verify": self._verify,
            "audit.export": self._export,
            "audit.export.page": self._page,
            "audit.export.seal": self._seal,
            "audit.accuracy": self._accuracy,
        }

    async def _read(self, query: Callable[[Db], _T]) -> _T:
        """Ask the file in a thread. A row that somebody made unreadable is told, not guessed."""

        def ask() -> _T:
            with contextlib.closing(connect(self._path, readonly=True)) as db:
                return query(db)

        try:
            return await asyncio.to_thread(ask)
        except (msgspec.DecodeError, ValueError) as error:
            raise RpcError(ErrorCode.REFUSED, f"the history cannot be read, see: shelfd audit verify: {error}") from None

    # -- then ----------------------------------------------------------------------------------------------------------

    async def _at(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _parse(params, _At)
        item_id, at_ms = self._item(asked.item), self._instant(asked.time)
        if at_ms > self._clock.wall_ms():
            raise RpcError(ErrorCode.REFUSED, f"{asked.time} has not come yet")
        if not 0 <= asked.around_s <= AROUND_S_MAX:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"around_s: found {asked.around_s}, expected 0 to {AROUND_S_MAX}")
        then = await self._read(lambda db: item_then(db, item_id, at_ms, asked.around_s * 1000))
        incarnation = await self._read(lambda db: get_meta(db, "incarnation") or "")
        trouble = list(then.trouble)
        labels: list[dict[str, object]] = []
        for number, picture in enumerate(then.shelf):
            row = standing_answer(picture.standing, item_id)
            if asked.pictures:
                row |= await self._picture(picture, incarnation, asked.scale, trouble, drawn=number < PICTURES_MAX)
            labels.append(row)
        return then_answer(then, labels, trouble) | {"exponent": self._exponent()}

    async def _picture(self, picture: Picture, incarnation: str, scale: int, trouble: list[str], *, drawn: bool) -> dict[str, object]:
        """The picture drawn again from its stored fields. Another renderer, fonts or template than then may draw it differently."""
        attempt = picture.standing.attempt
        if not attempt.fields:
            return {"picture": "none: nobody sent one"}
        if not drawn:
            return {"picture": f"not drawn: more than {PICTURES_MAX}"}
        number = (attempt.attempt_id + int((picture.incarnation or incarnation)[:8], 16)) % ATTEMPT_NUMBER_MODULUS
        try:
            picture_hash, png = await self._renderer.draw_again(attempt.fields, number, scale)
        except (RenderError, RenderFailed, ValueError) as error:
            return {"picture": f"cannot be drawn by this version: {error}"}
        if picture_hash != attempt.picture_hash:
            return {"picture": f"this version of the renderer draws it differently: {picture_hash}", "picture_sha256": attempt.picture_hash}
        return {"picture": "as sent", "picture_sha256": picture_hash, "png_b64": base64.b64encode(png).decode()}

    def _exponent(self) -> int:
        return self._desk.hello_info().exponent

    def _item(self, text: str) -> ItemId:
        """An item by its id, or by a code as printed. Items that left the catalogue are still known."""
        if text in self._view.items:
            return ItemId(text)
        found = self._view.barcodes.get(text.zfill(14)) if text.isdigit() else None
        if found is None:
            raise RpcError(ErrorCode.NOT_FOUND, f"no item {text}")
        return found[0]

    def _instant(self, text: str) -> int:
        """UTC milliseconds of RFC 3339, or of local time in the store's zone."""
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"time: found {text!r}, expected such as 2026-01-31T14:02 or ...T13:02:00Z") from None
        if found.tzinfo is None:
            found = found.replace(tzinfo=self._zone)
        return int(found.timestamp() * 1000)

    # -- whether it holds ----------------------------------------------------------------------------------------------

    async def _verify(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _parse(params, _Verify)
        try:
            heads = tuple(map(evidence_check.parse_head, asked.heads))
        except ValueError as error:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"head: found {error}") from None
        check = evidence_check.Check(heads)
        with contextlib.closing(connect(self._path, readonly=True)) as db:
            while not check.done:
                await asyncio.to_thread(check.step, db, CHECK_ENTRIES)
        return evidence_check.report(check) | {
            "store": self._store_id,
            "public_key": self._key.public if self._key is not None else None,
        }

    # -- a bundle ------------------------------------------------------------------------------------------------------

    async def _export(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _parse(params, _Export)
        from_ms, to_ms = self._instant(asked.since), self._instant(asked.until)
        found = await self._read(lambda db: evidence_export.stretch(db, from_ms, to_ms))
        if found is None:
            raise RpcError(ErrorCode.NOT_FOUND, f"nothing was noted from {rfc3339(from_ms)} to {rfc3339(to_ms)}")
        export = self._entropy(16).hex()
        while len(self._bundles) >= EXPORTS_MAX:
            del self._bundles[next(iter(self._bundles))]
        self._bundles[export] = _Bundle(found, from_ms, to_ms, found.first)
        return {"export": export, "first": found.first, "last": found.last}

    async def _page(self, actor: str, params: Mapping[str, object]) -> object:
        bundle = self._bundle(_parse(params, _Page).export)
        first, last = bundle.next_entry, bundle.stretch.last
        lines, bundle.next_entry, changed = await self._read(
            lambda db: evidence_export.lines(db, first, last, PAGE_ENTRIES, PAGE_BYTES) if first <= last else ([], first, [])
        )
        bundle.changed += changed
        bundle.lines += len(lines)
        for line in lines:
            bundle.sha256.update(line.encode() + b"\n")
        return {"lines": lines, "done": bundle.next_entry > last}

    async def _seal(self, actor: str, params: Mapping[str, object]) -> object:
        export = _parse(params, _Page).export
        bundle, key = self._bundle(export), self._key
        if key is None:
            raise RpcError(ErrorCode.REFUSED, "this store has no key to sign with: see the log of its start")
        if bundle.next_entry <= bundle.stretch.last:
            raise RpcError(ErrorCode.REFUSED, "the bundle has more pages")
        head = await self._read(audit_head)
        del self._bundles[export]
        manifest = {
            "format": "shelfd-evidence-1",
            "store": self._store_id,
            "version": __version__,
            "made_at": rfc3339(self._clock.wall_ms()),
            "from": rfc3339(bundle.from_ms),
            "to": rfc3339(bundle.to_ms),
            "incarnation": bundle.stretch.incarnation,
            "first": bundle.stretch.first,
            "last": bundle.stretch.last,
            "prev_hash": bundle.stretch.prev_hash,
            "last_hash": bundle.stretch.last_hash,
            "head": {"entry": head.entry, "hash": head.hash},
            "changed": bundle.changed,
            "lines": bundle.lines,
            "lines_sha256": bundle.sha256.hexdigest(),
            "public_key": key.public,
        }
        line = json_text({"manifest": manifest})
        return {"manifest": line, "signature": json_text({"signature": key.sign(line.encode()).hex()})}

    def _bundle(self, export: str) -> _Bundle:
        found = self._bundles.get(export)
        if found is None:
            raise RpcError(ErrorCode.NOT_FOUND, "that export is not being made (any more): begin again")
        return found

    # -- now -----------------------------------------------------------------------------------------------------------

    async def _accuracy(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _parse(params, _Accuracy)
        if asked.sample is not None and not 1 <= asked.sample <= SAMPLE_MAX:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"sample: found {asked.sample}, expected 1 to {SAMPLE_MAX}, usually 50 or 100")
        if asked.strata not in ("aisle", "category", "none"):
            raise RpcError(ErrorCode.INVALID_PARAMS, f"strata: found {asked.strata!r}, expected aisle, category or none")
        lines = await self._lines(asked.strata)
        seed = asked.seed if asked.seed is not None else self._entropy(4).hex()
        answer: dict[str, object] = {
            "time": rfc3339(self._clock.wall_ms()),
            "store": self._store_id,
            "labels": len({line.label_id for line in lines}),
            "lines": len(lines),
            "all": accuracy.judgement(lines),
            "exponent": self._exponent(),
        }
        wrong = [line for line in lines if line.verdict is not accuracy.Verdict.EQUAL]
        answer["not_equal"] = [self._line(line) for line in wrong[:LINES_MAX]]
        if asked.sample is not None:
            drawn = accuracy.draw_sample(lines, asked.sample, seed)
            answer |= {"seed": seed, "sample": accuracy.judgement([each.line for each in drawn])}
            answer["inspect"] = [{"number": each.number, **self._line(each.line), "labels": each.labels} for each in drawn]
        return answer

    async def _lines(self, strata: str) -> list[Line]:
        lines: list[Line] = []
        for number, label_id in enumerate(sorted(self._view.labels)):
            if number % ACCURACY_LABELS == 0:
                await asyncio.sleep(0)
            label = self._view.labels.get(label_id)
            if label is None or label.retired:
                continue
            binding = self._view.bindings.get(label_id)
            aisle = binding.place.aisle if binding is not None else ""
            entries = planning.may_still_show(self._view.may_of_label(label_id))
            stratum_of = partial(self._stratum, strata, aisle)
            lines += accuracy.label_lines(label_id, entries, binding, stratum_of, self)
        return lines

    def _stratum(self, strata: str, aisle: str, item_id: ItemId) -> str:
        item = self._view.items.get(item_id)
        return {"aisle": aisle, "category": item.category if item is not None else ""}.get(strata, "")

    # -- edge.accuracy.Lane

    def named(self, item_id: ItemId) -> int:
        in_force = self._view.in_force.get(item_id)
        return in_force.row.curve.points[0][0] if in_force is not None else 1

    def charge(self, item_id: ItemId, quantity: int, audience: str) -> int | None:
        item = self._view.items.get(item_id)
        if item is None or item.removed or item_id not in self._view.in_force:
            return None
        return self._desk.charge(item_id, quantity, member=audience != EVERYBODY).total_minor

    def _line(self, line: Line) -> dict[str, object]:
        item = self._view.items.get(line.item_id)
        return {
            "item": line.item_id,
            "name": item.name if item is not None else "",
            "code": self._view.codes.get(line.item_id, ""),
            "label": line.label_id,
            "place": line.place,
            "stratum": line.stratum,
            "quantity": line.quantity,
            "audience": line.audience,
            "label_minor": line.label_minor,
            "lane_minor": line.lane_minor,
            "verdict": str(line.verdict),
            "grade": line.grade,
            "why": line.why,
        }


def _parse(params: Mapping[str, object], shape: type[_S]) -> _S:
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        raise RpcError(ErrorCode.INVALID_PARAMS, str(error)) from None
