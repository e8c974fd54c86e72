"""Sample labels for drawing templates without a store: a typical one for each shipped template, and extreme ones that every template has
to survive. Values as `LabelFields.from_dict` takes them, without template, panel and label_id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from render.fields import ItemFields, LabelFields, SecondCurrency

LABEL_ID: Final = "00000218A4C7E19F"
LONG_NAME: Final = "Extra lange Bezeichnung eines Käse-Schinken-Baguettes mit Kräuterbutter und Röstzwiebeln aus dem Steinofen"

# what the shipped templates read besides an item's own fields
ATTRIBUTES: Final = {
    "place": "3 / 2 / 4 / 1",
    "back_on": "30 Nov",
    "plu": "4021",
    "class": "I",
    "order": "R-20451",
    "initials": "M. K.",
    "slot": "B12",
    "bags": "3",
    "collect_by": "18:30",
}
OATS: Final = ItemFields(
    name="Organic rolled oats",
    brand="Millstone",
    sku="4711-0815",
    price_minor=199,
    net_content=500,
    net_unit="g",
    gtin="5012345678900",
    stock=14,
    stock_full=40,
    attributes={"place": ATTRIBUTES["place"]},
)
_TEA: Final = ItemFields(
    name="Green tea, 20 bags", brand="Teacup", price_minor=249, was_price_minor=329, net_content=35, net_unit="g", gtin="96385074"
)
_SALT: Final = ItemFields(name="Sea salt", brand="Salina", price_minor=89, net_content=500, net_unit="g", gtin="4006381333931")
_WATER: Final = ItemFields(
    name="Sparkling water", brand="Highland", price_minor=79, deposit_minor=20, net_content=1000, net_unit="ml", gtin="036000291452"
)
_APPLES: Final = ItemFields(
    name="Braeburn apples",
    origin="Kent",
    price_minor=299,
    price_quantity=1000,
    price_unit="g",
    unit_price_base=100,
    attributes={"plu": "4103", "class": "I"},
)
_CUT: Final = {"price_minor": 149, "was_price_minor": 199, "offer_ends": "2026-11-30"}


def _with(item: ItemFields, **changes: object) -> ItemFields:
    return ItemFields.from_dict({**item.as_dict(), **changes})


_TYPICAL: Final[dict[str, tuple[ItemFields, ...]]] = {
    "shelf": (OATS,),
    "reduced": (_with(OATS, **_CUT),),
    "promotion": (_with(OATS, **_CUT),),
    "multi_buy": (_with(OATS, multi_buy=[3, 500], offer_ends="2026-11-30"),),
    "weighed": (_APPLES,),
    "out_of_stock": (_with(OATS, stock=0, attributes={"back_on": ATTRIBUTES["back_on"]}),),
    "pickup": (ItemFields(attributes={key: ATTRIBUTES[key] for key in ("order", "initials", "slot", "bags", "collect_by")}),),
    "staff": (OATS,),
    "rail": (OATS, _TEA, _SALT, _WATER),
    "see_staff": (ItemFields(name=OATS.name),),
    "unassigned": (),
}

# everything at once, so that a template draws each of its elements
_FULL: Final = ItemFields(
    name="Tea",
    brand="Teacup",
    origin="Peru",
    sku="4711",
    price_minor=1299,
    was_price_minor=1599,
    multi_buy=(3, 3500),
    offer_ends="2026-11-30",
    net_content=500,
    net_unit="g",
    gtin="4006381333931",
    deposit_minor=25,
    stock=0,
    stock_full=40,
    rating_tenths=45,
    rating_count=1234,
    age_limit=18,
    attributes={**ATTRIBUTES, "organic": "yes", "frozen": "yes"},
)
_LONG: Final = _with(
    _FULL, name=LONG_NAME, brand="Feinkostmanufaktur Hintertupfingen", price_minor=123499, was_price_minor=149999, multi_buy=[12, 1234567]
)
_BARE: Final = ItemFields(name="Tap water", price_minor=1, offer_ends="2026-12-24", multi_buy=(2, 1))
_MEMBER: Final = _with(
    ItemFields.from_dict({key: value for key, value in _FULL.as_dict().items() if key != "was_price_minor"}), member_price_minor=999
)
_ALBANIAN: Final = _with(_FULL, name="Djathë i bardhë çiftligu")
_POLISH: Final = _with(_FULL, name="Żółta papryka świeża", price_quantity=1000, price_unit="g")
_FINNISH: Final = _with(_FULL, name="Täysjyväruisleipä", net_content=6, net_unit="each")
_GREEK: Final = _with(_FULL, name="Ελαιόλαδο εξαιρετικό παρθένο", net_content=750, net_unit="ml")
_BULGARIAN: Final = _with(_FULL, name="Кисело мляко 3,6 %", brand="Родопея")
_HEBREW: Final = _with(_FULL, name="חלב טרי 3% שומן", brand="תנובה")
_ARABIC: Final = _with(_FULL, name="أرز بسمتي فاخر", brand="الضحى", price_minor=12345, was_price_minor=22345)
_YEN: Final = _with(_FULL, name="Sencha green tea", price_minor=1234, was_price_minor=1980, multi_buy=[3, 3300])
_LEV: Final = SecondCurrency("BGN", 2, "1.95583")

# name -> locale, currency, its decimals, second currency, item
_EXTREME: Final[dict[str, tuple[str, str, int, SecondCurrency | None, ItemFields]]] = {
    "long texts, largest price": ("de-DE", "EUR", 2, None, _LONG),
    "name and price alone": ("en-US", "USD", 2, None, _BARE),
    "price for members": ("en-GB", "GBP", 2, None, _MEMBER),
    "two currencies": ("bg-BG", "EUR", 2, _LEV, _BULGARIAN),
    "three decimals": ("ar-AE", "KWD", 3, None, _ARABIC),
    "no decimals": ("en-US", "JPY", 0, None, _YEN),
    "Albanian": ("sq-AL", "ALL", 2, None, _ALBANIAN),
    "Polish": ("pl-PL", "PLN", 2, None, _POLISH),
    "Finnish": ("fi-FI", "EUR", 2, None, _FINNISH),
    "Greek": ("el-GR", "EUR", 2, None, _GREEK),
    "Bulgarian": ("bg-BG", "EUR", 2, None, _BULGARIAN),
    "Hebrew": ("he-IL", "ILS", 2, None, _HEBREW),
}
EXTREMES: Final = tuple(_EXTREME)
RAIL_ITEMS: Final = 4  # as many as any shipped template has places for


def typical(template: str, panel: str, page: int = 0) -> LabelFields:
    """What this template is for, in English; for a template that is not shipped, a reduced item with everything."""
    return LabelFields(
        template=template,
        panel=panel,
        label_id=LABEL_ID,
        locale="en-GB",
        currency="GBP",
        items=_TYPICAL.get(template, (_with(_FULL, name=OATS.name, stock=14),) * RAIL_ITEMS),
        page=page,
    )


def extreme(name: str, template: str, panel: str, page: int = 0) -> LabelFields:
    """A sample of EXTREMES; every place for an item shows the same one."""
    locale, currency, exponent, second, item = _EXTREME[name]
    return LabelFields(
        template=template,
        panel=panel,
        label_id=LABEL_ID,
        locale=locale,
        currency=currency,
        currency_exponent=exponent,
        second_currency=second,
        items=(item,) * RAIL_ITEMS,
        page=page,
    )


def from_values(values: Mapping[str, object], template: str, panel: str, page: int) -> LabelFields:
    """The fields of a file: those of a label, or those of one item alone. Raises FieldError."""
    if "items" not in values:
        item_names = set(ItemFields.__dataclass_fields__)
        own = {key: value for key, value in values.items() if key in item_names}
        values = {**{key: value for key, value in values.items() if key not in item_names}, "items": [own] if own else []}
    return LabelFields.from_dict({"label_id": LABEL_ID, **values, "template": template, "panel": panel, "page": page})
