"""What a label should show, and what to do about it. Pure: compares what is wanted with what may be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final

from edge.model import InForce, Item, ItemId, LabelState, MayEntry, MayKind, MayState, Offer, PriceKind, PriceRow, Unit
from edge.view import View
from render import panels, templates
from render.errors import UnknownTemplate
from render.fields import SHIPPED, ItemFields, LabelFields, SecondCurrency, TemplateSource, content_hash
from render.template_elements import items_shown, mentioned

UNASSIGNED: Final = "unassigned"
SEE_STAFF: Final = "see_staff"
PAGE: Final = 0  # the page that a label shows by itself
_STOCK_FIELDS: Final = frozenset({"stock", "in_stock", "low_stock", "out_of_stock"})
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
class Wanted:
    """The picture a label should show, what it promises, and the hash that says whether the label has it already."""

    fields: LabelFields
    content_hash: str
    offers: tuple[Offer, ...]


def wanted_picture(view: View, label: LabelState, facts: PictureFacts) -> Wanted:
    """The picture for a label as bound now. Raises render's FieldError or UnknownTemplate where it cannot be drawn.

    No binding: "unassigned". An item that left the catalogue, or has no price, is left out; a label without any shows "see staff", which
    promises nothing.
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
    fields = priced_fields(view, priced, binding.template, label.panel, label.label_id, facts)
    offers = tuple(Offer(item.item_id, in_force.row.curve, row_id=in_force.row.row_id) for item, in_force in priced)
    return _picture(fields, offers, facts)


def see_staff(label: LabelState, name: str, facts: PictureFacts) -> Wanted:
    """The picture that promises nothing, for an item that cannot be sold or drawn. Raises render's FieldError for an odd name."""
    fields = LabelFields(
        template=SEE_STAFF, panel=label.panel, label_id=label.label_id, locale=facts.locale, items=(ItemFields(name=name),)
    )
    return _picture(fields, (), facts)


def priced_fields(
    view: View, priced: Sequence[tuple[Item, InForce]], template: str, panel: str, label_id: str, facts: PictureFacts
) -> LabelFields:
    """The fields that draw items at the prices in force. Raises UnknownTemplate, or BadTemplate for a file of the store's own."""
    reads = _reads(template, facts.templates)
    shown = items_shown(templates.load(template, facts.templates).layout(panels.panel(panel), PAGE))
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
        items=tuple(_item_fields(view, item, in_force, reads, facts) for item, in_force in priced),
    )


@lru_cache(maxsize=64)  # templates of one store
def _reads(template: str, source: TemplateSource) -> Set[str]:
    return mentioned(templates.load(template, source), PAGE)


def _item_fields(view: View, item: Item, in_force: InForce, reads: Set[str], facts: PictureFacts) -> ItemFields:
    """What a template that reads these fields may show of an item. What changes often is left out where it is not read: the hash covers
    all fields, and a label must not be sent again for a star or a sold piece that it does not show."""
    row = in_force.row
    quantity, price_minor = row.curve.points[0]
    reduced = row.kind in (PriceKind.PROMO, PriceKind.MARKDOWN)
    was_minor = _base_minor(view, item.item_id, in_force, quantity) if reduced else None
    code = facts.codes.get(item.item_id)
    rated = not reads.isdisjoint(_RATING_FIELDS)
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
        multi_buy=_multi_buy(row, item.unit),
        offer_ends=_last_day(row.effective_to_ms, facts.timezone) if row.effective_to_ms is not None and reduced else None,
        net_content=item.net_content,
        net_unit=item.net_unit,
        drained_weight=item.drained_weight if item.net_unit is not None else None,
        unit_price_base=item.unit_price_base,
        gtin=printed_code(code) if code else None,
        deposit_minor=item.deposit_minor or None,
        stock=max(0, view.stock.get(item.item_id, 0)) if not reads.isdisjoint(_STOCK_FIELDS) else None,
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


def _base_minor(view: View, item_id: ItemId, in_force: InForce, quantity: int) -> int | None:
    """The base price that a reduced label strikes through: the base row that would be asked for without the reduction."""
    bases = [
        row
        for row in view.rows.get(item_id, ())
        if row.kind is PriceKind.BASE and not row.cancelled and row.effective_from_ms <= in_force.latched_through_ms
    ]
    if not bases:
        return None
    return max(bases, key=lambda row: (row.effective_from_ms, row.price_id)).curve.cost_minor(quantity)


def _picture(fields: LabelFields, offers: tuple[Offer, ...], facts: PictureFacts) -> Wanted:
    return Wanted(fields, content_hash(fields, facts.templates), offers)


def may_still_show(entries: Mapping[int, MayEntry]) -> list[MayEntry]:
    """The members of a may-set that may be on the panel or may come, oldest first."""
    return [entries[attempt_id] for attempt_id in sorted(entries) if entries[attempt_id].state is not MayState.GONE]


def is_settled(entries: Mapping[int, MayEntry], wanted_hash: str) -> bool:
    """Nothing need be sent: exactly one attempt may be shown, it is proven, and it is the wanted picture."""
    may = may_still_show(entries)
    return len(may) == 1 and may[0].state is MayState.PROVEN and may[0].kind is MayKind.PICTURE and may[0].content_hash == wanted_hash


def waits_for_person(entries: Mapping[int, MayEntry], wanted_hash: str) -> bool:
    """The wanted picture is proven, but by a grade that does not bind here: sending it again would change nothing."""
    may = may_still_show(entries)
    return len(may) > 1 and may[-1].state is MayState.PROVEN and may[-1].content_hash == wanted_hash


def backoff_ms(failures: int, first_ms: int, max_ms: int) -> int:
    """Pause before the next attempt after `failures` in a row: doubling, bounded."""
    return min(max_ms, first_ms << min(max(failures, 1) - 1, 30))
