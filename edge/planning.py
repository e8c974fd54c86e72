"""What a label should show, and what to do about it. Pure: compares what is wanted with what may be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from edge import pricing
from edge.model import (
    EVERYBODY,
    MEMBERS,
    Curve,
    InForce,
    Item,
    ItemId,
    LabelState,
    MayEntry,
    MayKind,
    MayState,
    Offer,
    PriceKind,
    PriceRow,
    Unit,
)
from edge.stock import full_shelf
from edge.view import View
from render import panels, templates
from render.errors import UnknownTemplate
from render.fields import SHIPPED, ItemFields, LabelFields, SecondCurrency, TemplateSource, content_hash
from render.template_elements import items_shown, mentioned

UNASSIGNED: Final = "unassigned"
SEE_STAFF: Final = "see_staff"
PAGE: Final = 0  # the page that a label shows by itself
PAPER_PANEL: Final = "oepl-01"  # a ticket is drawn as a 2.9 inch label is, and printed at any scale
_STOCK_FIELDS: Final = frozenset({"stock", "in_stock", "low_stock", "out_of_stock"})
_MEMBER_FIELD: Final = "member_price"
_RATING_FIELDS: Final = frozenset({"rating", "rating_count"})


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What every picture of the store has in common."""

    locale: str
    currency: str
    currency_exponent: int
    codes: Mapping[ItemId, str]  # the code to print, per item
    timezone: tzinfo
    second_currency: SecondCurrency | None = None
    templates: TemplateSource = SHIPPED


@dataclass(frozen=True, slots=True)
class Moment:
    """The instant that a picture is planned for. `wall_ms` 0: what was put in force counts, and no later row."""

    wall_ms: int = 0
    clock_trusted: bool = True


IN_FORCE: Final = Moment()
_NO_MEMBERS: Final[Mapping[ItemId, PriceRow]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The picture a label should show, what it promises, and the hash that says whether the label has it already."""

    fields: LabelFields
    content_hash: str
    offers: tuple[Offer, ...]


def wanted_picture(view: View, label: LabelState, facts: PictureFacts, now: Moment = IN_FORCE) -> Wanted:
    """The picture for a label as bound now. Raises render's FieldError or UnknownTemplate where it cannot be drawn.

    No binding: "unassigned". An item that left the catalogue, or has no price, is left out; a label without any shows "see staff", which
    promises nothing. A template that shows members' prices makes an offer to members beside the one to everybody.
    """
    binding = view.bindings.get(label.label_id)
    if binding is None or not binding.items:
        return _picture(LabelFields(template=UNASSIGNED, panel=label.panel, label_id=label.label_id, locale=facts.locale), (), facts)
    priced = [
        (item, in_force)
        for item_id in binding.items
        if (item := view.items.get(item_id)) is not None and not item.removed and (in_force := view.in_force.get(item_id)) is not None
    ]
    if not priced:
        first = view.items.get(binding.items[0])
        return see_staff(label, first.name if first is not None else binding.items[0], facts)
    members = _member_rows(view, label.label_id, priced, now) if _MEMBER_FIELD in _reads(binding.template, facts.templates) else {}
    fields = priced_fields(view, priced, binding.template, label.panel, label.label_id, facts, members, now)
    offers = [Offer(item.item_id, in_force.row.curve, row_id=in_force.row.row_id) for item, in_force in priced]
    offers += [Offer(item_id, row.curve, audience=MEMBERS, row_id=row.row_id) for item_id, row in members.items()]
    return _picture(fields, tuple(offers), facts)


def _member_rows(view: View, label_id: str, priced: Sequence[tuple[Item, InForce]], now: Moment) -> dict[ItemId, PriceRow]:
    """Members' prices that can be printed beside the price for everybody: active, for the same quantity, and lower.

    A clock that nobody vouches for ends none that the label was last told to show.
    """
    last = max((entry for entry in view.may_of_label(label_id).values() if entry.kind is MayKind.PICTURE), key=_age, default=None)
    told = {offer.item_id: offer.row_id for offer in last.offers if offer.audience == MEMBERS} if last is not None else {}
    found: dict[ItemId, PriceRow] = {}
    for item, in_force in priced:
        rows, public = view.rows.get(item.item_id, ()), in_force.row
        own = pricing.target(rows, _instant(in_force, now), member=True)
        if not now.clock_trusted and item.item_id in told:
            kept = next((row for row in rows if row.row_id == told[item.item_id] and not row.cancelled), None)
            if kept is not None and (own is None or own.curve.is_above(kept.curve)):
                own = kept
        if own is None or own.kind is not PriceKind.MEMBER:
            continue
        (quantity, total_minor), (public_quantity, public_minor) = own.curve.points[0], public.curve.points[0]
        if quantity == public_quantity and 0 < total_minor < public_minor:
            found[item.item_id] = own
    return found


def _age(entry: MayEntry) -> int:
    return entry.attempt_id


def _instant(in_force: InForce, now: Moment) -> int:
    """What the clock says, unless it went back behind what was put in force."""
    return max(now.wall_ms, in_force.latched_through_ms)


def see_staff(label: LabelState, name: str, facts: PictureFacts) -> Wanted:
    """The picture that promises nothing, for an item that cannot be sold or drawn. Raises render's FieldError for an odd name."""
    fields = LabelFields(
        template=SEE_STAFF, panel=label.panel, label_id=label.label_id, locale=facts.locale, items=(ItemFields(name=name),)
    )
    return _picture(fields, (), facts)


def priced_fields(
    view: View,
    priced: Sequence[tuple[Item, InForce]],
    template: str,
    panel: str,
    label_id: str,
    facts: PictureFacts,
    members: Mapping[ItemId, PriceRow] = _NO_MEMBERS,
    now: Moment = IN_FORCE,
) -> LabelFields:
    """The fields that draw items at the prices in force. Raises UnknownTemplate, or BadTemplate for a file of the store's own."""
    reads, shown = _reads(template, facts.templates), _shown(template, panel, facts.templates)
    if len(priced) > shown:
        raise UnknownTemplate(f"template {template!r} shows {shown} of the {len(priced)} items of label {label_id} on {panel}")
    return LabelFields(
        template=template,
        panel=panel,
        label_id=label_id,
        locale=facts.locale,
        currency=facts.currency,
        currency_exponent=facts.currency_exponent,
        second_currency=facts.second_currency,
        items=tuple(_item_fields(view, item, in_force, reads, facts, members.get(item.item_id), now) for item, in_force in priced),
    )


@lru_cache(maxsize=64)  # templates of one store
def _reads(template: str, source: TemplateSource) -> Set[str]:
    return mentioned(templates.load(template, source), PAGE)


@lru_cache(maxsize=1024)  # the templates of a store times its kinds of panel
def _shown(template: str, panel: str, source: TemplateSource) -> int:
    return items_shown(templates.load(template, source).layout(panels.panel(panel), PAGE))


def _item_fields(
    view: View, item: Item, in_force: InForce, reads: Set[str], facts: PictureFacts, member: PriceRow | None, now: Moment
) -> ItemFields:
    """What a template that reads these fields may show of an item. What changes often is left out where it is not read: the hash covers
    all fields, and a label must not be sent again for a star or a sold piece that it does not show."""
    row = in_force.row
    quantity, price_minor = row.curve.points[0]
    reduced = row.kind in (PriceKind.PROMO, PriceKind.MARKDOWN)
    was_minor = _base_minor(view, item.item_id, _instant(in_force, now), quantity) if reduced else None
    code = facts.codes.get(item.item_id)
    rated = not reads.isdisjoint(_RATING_FIELDS)
    on_hand = view.stock.get(item.item_id) if not reads.isdisjoint(_STOCK_FIELDS) else None  # never counted: nothing is said
    return ItemFields(
        name=item.name,
        brand=item.brand,
        origin=item.origin,
        sku=item.item_id,
        price_minor=price_minor,
        price_quantity=quantity,
        price_unit=str(item.unit),
        was_price_minor=was_minor if was_minor is not None and was_minor > price_minor else None,
        reduced=reduced,
        member_price_minor=member.curve.points[0][1] if member is not None else None,
        multi_buy=_multi_buy(row, item.unit),
        offer_ends=_last_day(row.effective_to_ms, facts.timezone) if row.effective_to_ms is not None and reduced else None,
        net_content=item.net_content,
        net_unit=item.net_unit,
        drained_weight=item.drained_weight if item.net_unit is not None else None,
        unit_price_base=item.unit_price_base,
        gtin=printed_code(code) if code else None,
        deposit_minor=item.deposit_minor or None,
        stock=max(0, on_hand) if on_hand is not None else None,
        stock_full=full_shelf(item.attributes) if on_hand is not None else None,
        rating_tenths=item.rating_tenths if rated else None,
        rating_count=item.rating_count if rated else None,
        age_limit=item.age_limit or None,
        attributes=dict(item.attributes),
    )


def _multi_buy(row: PriceRow, unit: Unit) -> tuple[int, int] | None:
    """The offer's first bundle of pieces. It is a point of the curve that the label promises."""
    bundles = [point for point in row.curve.points[1:] if point[0] > 1]
    return bundles[0] if bundles and unit is Unit.EACH and row.curve.points[0][0] == 1 else None


def _last_day(end_ms: int, timezone: tzinfo) -> str:
    """The store's last whole or part day before an instant, as YYYY-MM-DD."""
    return datetime.fromtimestamp((end_ms - 1) / 1000, timezone).date().isoformat()


def printed_code(gtin14: str) -> str:
    """A stored GTIN-14 as a label prints it: GTIN-8 or GTIN-13 where it is one."""
    return gtin14[6:] if gtin14.startswith("000000") else gtin14[1:] if gtin14.startswith("0") else gtin14


def _base_minor(view: View, item_id: ItemId, at_ms: int, quantity: int) -> int | None:
    """The base price that a reduced label strikes through: the base row that would be asked for now without the reduction."""
    base = pricing.target((row for row in view.rows.get(item_id, ()) if row.kind is PriceKind.BASE), at_ms)
    return base.curve.cost_minor(quantity) if base is not None else None


def _picture(fields: LabelFields, offers: tuple[Offer, ...], facts: PictureFacts) -> Wanted:
    return Wanted(fields, content_hash(fields, facts.templates), offers)


def may_still_show(entries: Mapping[int, MayEntry]) -> list[MayEntry]:
    """The members of a may-set that may be on the panel or may come, oldest first."""
    return [entries[attempt_id] for attempt_id in sorted(entries) if entries[attempt_id].state is not MayState.GONE]


def is_settled(entries: Mapping[int, MayEntry], wanted_hash: str) -> bool:
    """Nothing need be sent: exactly one attempt may be shown, it is proven, and it is the wanted picture."""
    may = may_still_show(entries)
    return len(may) == 1 and may[0].state is MayState.PROVEN and may[0].kind is MayKind.PICTURE and may[0].content_hash == wanted_hash


def waits_for_person(entries: Mapping[int, MayEntry], wanted_hash: str, *, ticket: bool = False) -> bool:
    """The wanted picture is there already, and sending it again would change nothing: it is proven by a grade that does not bind here,
    or it is a `ticket` that people print and hang."""
    may = may_still_show(entries)
    if not may or may[-1].content_hash != wanted_hash:
        return False
    return ticket or (len(may) > 1 and may[-1].state is MayState.PROVEN)


def offers_by_audience(offers: Iterable[Offer]) -> tuple[list[tuple[ItemId, Curve]], list[tuple[ItemId, Curve]]]:
    """What a picture promises to everybody, and what to members."""
    found: dict[bool, list[tuple[ItemId, Curve]]] = {True: [], False: []}
    for offer in offers:
        found[offer.audience == EVERYBODY].append((offer.item_id, offer.curve))
    return found[True], found[False]


def backoff_ms(failures: int, first_ms: int, max_ms: int) -> int:
    """Pause before the next attempt after `failures` in a row: doubling, bounded."""
    return min(max_ms, first_ms << min(max(failures, 1) - 1, 30))
