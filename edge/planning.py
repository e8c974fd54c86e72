"""What a label should show, and what to do about it. Pure: compares what is wanted with what may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge.model import InForce, Item, ItemId, LabelState, MayEntry, MayKind, MayState, Offer, PriceKind
from edge.view import View
from render.fields import LabelFields, content_hash

UNASSIGNED: Final = "unassigned"
SEE_STAFF: Final = "see_staff"


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What every picture of the store has in common."""

    locale: str
    currency: str
    currency_exponent: int
    codes: Mapping[ItemId, str]  # the code to print, per item


@dataclass(frozen=True, slots=True)
class Wanted:
    """The picture a label should show, what it promises, and the hash that says whether the label has it already."""

    fields: LabelFields
    content_hash: str
    offers: tuple[Offer, ...]


def wanted_picture(view: View, label: LabelState, facts: PictureFacts) -> Wanted:
    """The picture for a label as bound now. Raises render's FieldError or UnknownTemplate where it cannot be drawn.

    No binding: "unassigned". An item that left the catalogue, or has no price: "see staff", which promises nothing.
    """
    binding = view.bindings.get(label.label_id)
    if binding is None or not binding.items:
        return _picture(LabelFields(template=UNASSIGNED, panel=label.panel, label_id=label.label_id, locale=facts.locale), ())
    item = view.items.get(binding.items[0])
    in_force = view.in_force.get(binding.items[0])
    if item is None or item.removed or in_force is None:
        return see_staff(label, item.name if item is not None else binding.items[0], facts)
    fields = priced_fields(view, item, in_force, binding.template, label.panel, label.label_id, facts)
    return _picture(fields, (Offer(item.item_id, in_force.row.curve, row_id=in_force.row.row_id),))


def see_staff(label: LabelState, name: str, facts: PictureFacts) -> Wanted:
    """The picture that promises nothing, for an item that cannot be sold or drawn. Raises render's FieldError for an odd name."""
    return _picture(LabelFields(template=SEE_STAFF, panel=label.panel, label_id=label.label_id, locale=facts.locale, name=name), ())


def priced_fields(view: View, item: Item, in_force: InForce, template: str, panel: str, label_id: str, facts: PictureFacts) -> LabelFields:
    """The fields that draw an item at the price in force."""
    quantity, price_minor = in_force.row.curve.points[0]
    reduced = in_force.row.kind in (PriceKind.PROMO, PriceKind.MARKDOWN)
    was_minor = _base_minor(view, item.item_id, in_force, quantity) if reduced else None
    code = facts.codes.get(item.item_id)
    return LabelFields(
        template=template,
        panel=panel,
        label_id=label_id,
        locale=facts.locale,
        currency=facts.currency,
        currency_exponent=facts.currency_exponent,
        name=item.name,
        brand=item.brand,
        price_minor=price_minor,
        price_quantity=quantity,
        price_unit=str(item.unit),
        was_price_minor=was_minor if was_minor is not None and was_minor > price_minor else None,
        reduced=reduced,
        net_content=item.net_content,
        net_unit=item.net_unit,
        unit_price_base=item.unit_price_base,
        gtin=printed_code(code) if code else None,
        attributes=dict(item.attributes),
    )


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


def _picture(fields: LabelFields, offers: tuple[Offer, ...]) -> Wanted:
    return Wanted(fields, content_hash(fields), offers)


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
