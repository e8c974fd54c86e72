"""What must hold: P (prices), S (sales), L (stock), B (labels), as the design names them. Judged from panels, tills and HQ's books.

At every event what may have changed is judged, and everything again at every `ALL_EVERY`th; at the end also that everything came to rest,
that the evidence holds, and that store, HQ and tills agree on every sale.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from drivers.base import Grade
from edge import pricing
from edge.model import ItemId, MayEntry, MayKind, MayState, PriceRow
from edge.stock import Level
from edge.store.evidence_check import Check
from edge.view import Delta
from protocols.hq import Stream, StreamCursor
from tests.sim.headquarters import ITEMS
from tests.sim.lanes import QUANTITIES, Slip
from tests.sim.process import DWELL_MS
from tests.sim.radios import Label, Shown

if TYPE_CHECKING:
    from tests.sim.world import World

ALL_EVERY: Final = 16


class Violation(AssertionError):
    """An invariant does not hold."""


class Read:
    """What a shopper may have read before it went."""

    __slots__ = ("at_ms", "shown")

    def __init__(self, at_ms: int, shown: Shown) -> None:
        self.at_ms = at_ms
        self.shown = shown


class Judge:
    """One per history."""

    def __init__(self, world: World) -> None:
        self.charges_changed = True  # panels, or what tills were told
        self.past: list[Read] = []
        self._world = world
        self._items: set[str] = set()
        self._labels: set[str] = set()
        self._revs: dict[tuple[str, str], int] = {}
        self._available: dict[str, int] = {}  # units that were not promised at the last look
        self._moves_seen = 0  # entries of `reserve_move` and `ledger` at that look
        self._ledger_seen = 0
        self._ends_ms: dict[str, int] = {}  # when a dwell of the item ends
        self._found: list[str] = []  # at a commit; told at the next check

    def attend(self) -> None:
        """A life of the daemon begins: watch what it commits."""
        store = self._world.process.store
        store.listeners.append(self._committed)
        db: Any = self._world.disk.db
        self._available = {item_id: store.view.level(ItemId(item_id)).available for item_id in ITEMS}
        self._moves_seen = db.execute("SELECT coalesce(max(entry_id), 0) FROM reserve_move").get
        self._ledger_seen = db.execute("SELECT coalesce(max(entry_id), 0) FROM ledger").get
        self.look_at_all()

    def look_at_all(self) -> None:
        self._items.update(ITEMS)
        self._labels.update(self._world.labels)
        self.charges_changed = True

    def panel_changed(self, label: Label) -> None:
        self._labels.add(label.label_id)
        if label.shown.item_id is not None:
            self._items.add(label.shown.item_id)
        self.charges_changed = True

    def restored(self) -> None:
        """The store forgot; what it knew last is no measure of what it must know now."""
        self._revs.clear()

    # -- at every commit

    def _committed(self, delta: Delta) -> None:
        view = self._world.process.store.view
        self._items |= view.repriced
        self._labels.update(label_id for label_id, _ in delta.may)
        for item_id in delta.in_force:
            self._price_moves_on(item_id)
        if delta.reserved:
            self._promises_are_covered()

    def _promises_are_covered(self) -> None:
        """Whatever was promised was there at that moment: what moved since the last look, in the order of the store's own events.

        A change by HQ bears the number of the event before it.
        """
        db: Any = self._world.disk.db
        moved = db.execute(
            "SELECT up_seq, 0, item_id, sum(delta), max(entry_id) FROM reserve_move WHERE entry_id > ? GROUP BY up_seq, item_id "
            "UNION ALL SELECT up_seq, 1, item_id, -delta, entry_id FROM ledger WHERE entry_id > ? ORDER BY 1, 2, 5",
            (self._moves_seen, self._ledger_seen),
        ).fetchall()
        for _, is_ledger, item_id, taken, entry_id in moved:
            available = self._available[item_id] = self._available.get(item_id, 0) - taken
            if is_ledger:
                self._ledger_seen = max(self._ledger_seen, entry_id)
            else:
                self._moves_seen = max(self._moves_seen, entry_id)
                if taken > 0 and available < 0:
                    self._found.append(f"L2: {item_id} is promised beyond what is there: {available} are left")

    def _price_moves_on(self, item_id: ItemId) -> None:
        row = self._world.process.store.view.in_force[item_id].row
        known = self._revs.get((item_id, row.price_id), 0)
        if row.rev < known:
            self._found.append(f"P6: {item_id} {row.price_id} went from revision {known} to {row.rev}")
        self._revs[item_id, row.price_id] = row.rev

    # -- at every event

    def check(self, number: int) -> None:
        world = self._world
        if self._found:
            raise Violation(self._found[0])
        if number % ALL_EVERY == 0:
            self.look_at_all()
            self._outbox()
        for label_id in self._labels:
            self._truth_is_in_the_set(world.labels[label_id])
        self._labels.clear()
        if world.catches_up:
            return
        view, now_ms = world.process.store.view, world.clock.now
        for sku in ITEMS:
            item_id = ItemId(sku)
            if sku in self._items or self._ends_ms.get(sku, now_ms + 1) <= now_ms:
                self._never_above_the_shelf(item_id)
                self._ends_ms[sku] = _next_end(view.may_of_item(item_id), now_ms)
        self._items.clear()
        if self.charges_changed:
            self.charges_changed = False
            self._told_is_not_above_the_shelf()
        if world.hq.oversold and not world.lives:
            raise Violation(f"L5: the store does not keep what HQ sold from its quota: {world.hq.oversold}")

    def passed(self) -> None:
        """Time passed: shoppers forget after the dwell."""
        now_ms = self._world.clock.now
        if self.past:
            self.past = [each for each in self.past if now_ms - each.at_ms < DWELL_MS]

    def rebooted(self) -> None:
        for each in self.past:
            each.at_ms = self._world.clock.now

    def _truth_is_in_the_set(self, label: Label) -> None:
        shown = label.shown
        if shown.item_id is None:
            return
        may = self._world.process.store.view.may_of_label(label.label_id)
        entry = may.get(shown.attempt_id)
        if entry is not None and entry.state is not MayState.GONE:
            return
        unknown = any(each.kind is MayKind.UNKNOWN and each.state is not MayState.GONE for each in may.values())
        # What a person proved may be one of two sendings of the very same picture.
        twin = any(each.attempt_id > shown.attempt_id and each.grade == Grade.PERSON for each in may.values())
        if not unknown and not twin:
            raise Violation(f"B2: {label.name} shows {shown}, not in its may-set {list(may)}")

    def _never_above_the_shelf(self, item_id: ItemId) -> None:
        world, desk = self._world, self._world.process.desk
        shown = [label.shown for label in world.labels.values() if label.shown.item_id == item_id and not label.away]
        past = [read.shown for read in self.past if read.shown.item_id == item_id]
        in_force = world.process.store.view.in_force.get(item_id)
        if in_force is None:
            return
        store_open = desk.store_open()
        charged: dict[tuple[object, object], list[int]] = {}  # by what decides it: most often the same for members
        for member in (False, True):
            targets = tuple(dict.fromkeys(desk._targets(item_id, member=member)))
            bounds = list({bound.curve.points: bound for bound in desk._bounds(item_id, member=member, store_open=store_open)}.values())
            cause = targets, tuple([bound.curve.points for bound in bounds])
            if cause not in charged:
                charged[cause] = [pricing.charge(quantity, targets, bounds).total_minor for quantity in QUANTITIES]
            for quantity, charged_minor in zip(QUANTITIES, charged[cause], strict=True):
                for each in shown:
                    _not_above(each, quantity, charged_minor, member, "P1: a label shows")
                if charged_minor > in_force.row.curve.cost_minor(quantity):
                    raise Violation(f"P3: {quantity} {item_id} cost {charged_minor}, the target is {in_force.row.curve.points}")
                if quantity == 1:
                    for each in past:
                        _not_above(each, 1, charged_minor, member, "P2: within the dwell a label showed")

    def asked(self, item_id: ItemId, quantity: int, amount_minor: int, *, member: bool) -> None:
        """A lane was told a price on the spot."""
        for label in self._world.labels.values():
            if label.shown.item_id == item_id and not label.away:
                _not_above(label.shown, quantity, amount_minor, member, "P1: a label shows")

    def _told_is_not_above_the_shelf(self) -> None:
        shown: dict[str, list[Shown]] = {}
        for label in self._world.labels.values():
            if label.shown.item_id is not None and not label.away:
                shown.setdefault(label.shown.item_id, []).append(label.shown)
        for lane in self._world.lanes:
            for told in lane.told:
                for item_id, quantity, total_minor in told.lines:
                    for each in shown.get(item_id, ()):
                        how = "a quote that holds" if told.quote_id else "a price table that holds"
                        _not_above(each, quantity, total_minor, told.member, f"P1: under {how} a label shows")

    def _outbox(self) -> None:
        """An event leaves the store only when HQ has it."""
        state = self._world.process.store.outbox_state()
        booked = self._world.hq.booked_through(state.incarnation)
        if state.first_unacked_seq - 1 > booked:
            raise Violation(f"S5: the store forgot events up to {state.first_unacked_seq - 1}, HQ has {booked}")

    def recorded(self, slip: Slip) -> None:
        """A lane was told that it is on disk."""
        table = {"sale": "sale", "void": "sale_void", "return": "sale_return"}[slip.kind]
        found = self._world.disk.db.execute(f"SELECT up_seq FROM {table} WHERE {slip.kind}_id = ?", (slip.id,)).get
        if found != slip.answer[0]:
            raise Violation(f"S1: {slip.id} was answered with event {slip.answer[0]}, the store has {found}")

    # -- at the end

    def unrest_of(self, label: Label) -> str:
        """Why a label is not at rest; "" where it is."""
        store = self._world.process.store
        view = store.view
        binding = view.bindings.get(label.label_id)
        wanted = binding.items[0] if binding and binding.items else None
        if label.shown.item_id != wanted or not store.is_proven(label.label_id):
            may = [f"#{entry.attempt_id} {entry.kind} {entry.state}" for entry in view.may_of_label(label.label_id).values()]
            return f"{label.name} shows {label.shown}, {wanted} wanted, it may show {may}"
        if wanted is not None and label.shown.curve != view.in_force[wanted].row.curve:
            return f"{label.name} shows {label.shown}, in force is {view.in_force[wanted].row.curve.points}"
        return ""

    @property
    def labels_rest(self) -> bool:
        return not any(self.unrest_of(label) for label in self._world.labels.values())

    def unrest(self) -> str:
        """Why not all is at rest; "" where it is."""
        world, store = self._world, self._world.process.store
        view = store.view
        for label in world.labels.values():
            if found := self.unrest_of(label):
                return found
        for item_id, in_force in view.in_force.items():
            for quantity in QUANTITIES:
                if world.process.desk.charge(item_id, quantity).total_minor != in_force.row.curve.cost_minor(quantity):
                    return f"{item_id} is still held: {world.process.desk.charge(item_id, quantity)}"
        for lane in world.lanes:
            for slip in lane.slips:
                if slip.answer is None and not slip.refused:
                    return f"{lane.name} has not been answered about {slip.id}"
        for stream in Stream:
            cursor, said = store.cursors().get(stream), world.hq.last_seq(stream)
            if said and cursor != StreamCursor(world.hq.incarnation, said):
                return f"stream {stream} is at {cursor}, HQ at {said} of {world.hq.incarnation}"
        state = store.outbox_state()
        if state.first_unacked_seq <= state.last_seq:
            return f"events {state.first_unacked_seq} to {state.last_seq} are not acknowledged"
        return ""

    def finish(self) -> None:
        """Everything is at rest: books, sums, evidence."""
        self._prices_are_hqs()
        self._each_sale_once()
        self._stock_adds_up()
        self._evidence_holds()
        alarms = [alarm for alarm in self._world.hq.alarms if "cannot be booked" in alarm or "fork" in alarm or "two sales" in alarm]
        if alarms:
            raise Violation(f"HQ: {alarms}")

    def _prices_are_hqs(self) -> None:
        view, wall_ms = self._world.process.store.view, self._world.clock.wall
        for (sku, price_id), row in self._world.hq.newest.items():
            found = [each for each in view.rows[ItemId(sku)] if each.price_id == price_id]
            if len(found) != 1 or found[0].rev != row["rev"] or found[0].curve.cost_minor(1) != _amount(row):
                raise Violation(f"P6: of {sku} {price_id} the store has {found}, HQ says {row}")
        for item_id, in_force in view.in_force.items():
            wanted: PriceRow | None = pricing.target(view.rows[item_id], max(wall_ms, in_force.latched_through_ms))
            if wanted is None or wanted.row_id != in_force.row.row_id:
                raise Violation(f"P5: {item_id}: {in_force.row} is in force, due is {wanted}")

    def _each_sale_once(self) -> None:
        world, db = self._world, self._world.disk.db
        kept = {slip.id: slip for lane in world.lanes for slip in lane.slips if slip.kind == "sale"}
        stored = {row[0]: row[1] for row in db.execute("SELECT sale_id, total_minor FROM sale")}
        paid = {sale_id: sum(tender.amount_minor for tender in slip.params.tenders) for sale_id, slip in kept.items()}
        if stored != paid:
            raise Violation(f"S1: tills sold {paid}, the store has {stored}")
        at_hq = {sale_id: body["total_minor"] for sale_id, body in world.hq.sales.items()}
        if at_hq != paid:
            raise Violation(f"S4: the store sold {paid}, HQ has {at_hq}")
        often = {name: count for name, count in world.hq.effects.items() if count != 1}
        if often:
            raise Violation(f"S4: HQ booked more than once: {often}")
        for sale_id, slip in kept.items():
            lines = db.execute(
                "SELECT item_id, quantity, total_minor FROM sale_line WHERE sale_id = ? ORDER BY line_id", (sale_id,)
            ).fetchall()
            told = [(line["sku"], line["quantity"], line["total_minor"]) for line in world.hq.sales[sale_id]["lines"]]
            if not sorted(lines) == sorted(slip.lines) == sorted(told):
                raise Violation(f"S6: {sale_id}: the till says {slip.lines}, the store {lines}, HQ {told}")

    def _stock_adds_up(self) -> None:
        db: Any = self._world.disk.db
        view = self._world.process.store.view
        ledger: dict[Any, Any] = dict(db.execute("SELECT item_id, sum(delta) FROM ledger GROUP BY item_id").fetchall())
        moved: dict[tuple[str, str], int] = {
            (account, item_id): total
            for account, item_id, total in db.execute("SELECT account, item_id, sum(delta) FROM reserve_move GROUP BY account, item_id")
        }
        for sku in ITEMS:
            level = view.level(ItemId(sku))
            summed = Level(ledger.get(sku, 0), moved.get(("held", sku), 0), moved.get(("escrow", sku), 0))
            row = db.execute("SELECT on_hand, held, escrow FROM stock WHERE item_id = ?", (sku,)).fetchone()
            if not level == summed == Level(*row):
                raise Violation(f"L1: {sku}: in memory {level}, in the ledger {summed}, in the table {row}")
            if self._world.hq.stock[sku] != level.on_hand:
                raise Violation(f"L6: {sku}: {level.on_hand} in the store, {self._world.hq.stock[sku]} at HQ")

    def _evidence_holds(self) -> None:
        check, database = Check(), self._world.disk
        while not check.done:
            check.step(database, 1_000)
        if check.trouble:
            raise Violation(f"evidence: {check.trouble[:3]}")


def _not_above(shown: Shown, quantity: int, charged_minor: int, member: bool, what: str) -> None:
    for curve in shown.promises(member=member):
        if charged_minor > curve.cost_minor(quantity):
            who = "a member" if member else "a customer"
            raise Violation(f"{what} {shown}; {who} is charged {charged_minor} for {quantity}")


def _next_end(entries: Iterable[MayEntry], now_ms: int) -> int:
    """When the next of the dwells ends that these bound for."""
    ends = [entry.gone_ms + entry.dwell_ms for entry in entries if entry.state is MayState.GONE]
    ends += [entry.release.at_ms + entry.release.dwell_ms for entry in entries if entry.release is not None]
    return min((end_ms for end_ms in ends if end_ms > now_ms), default=1 << 62)


def _amount(row: dict[str, Any]) -> int:
    return int(row["amount_minor"] if "amount_minor" in row else row["curve"][0][1])
