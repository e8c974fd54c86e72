"""The words that labels are written with, by language: a table, nothing else.

Facts: unit signs and percent patterns of CLDR; the trade words are what supermarkets of the language print.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NBSP: Final = "\u00a0"  # between what belongs together, so that a line never breaks there


@dataclass(frozen=True, slots=True)
class Words:
    """Words of one language. `each` is one piece, `pieces` several. Patterns take {price}, {quantity}, {count} with {pieces}, {date} or
    {percent}. `units`: kilogram, gram, litre, millilitre, metre, millimetre."""

    each: str
    pieces: str
    multi_buy: str
    deposit: str
    until: str
    saving: str
    member: str
    was: str
    out_of_stock: str
    reduced: str
    offer: str
    unit_price: str = "{quantity} = {price}"
    per: str = "/ {quantity}"
    multiple: str = "/ {count} {pieces}"
    percent: str = "-{percent}%"
    units: tuple[str, str, str, str, str, str] = ("kg", "g", "l", "ml", "m", "mm")


def words(language: str) -> Words:
    return WORDS.get(language, WORDS["en"])


_PERCENT_APART: Final = f"-{{percent}}{NBSP}%"

WORDS: Final = {
    "en": Words(
        each="item",
        pieces="items",
        multi_buy="{count} for {price}",
        deposit="plus {price} deposit",
        until="until {date}",
        saving="save {price}",
        member="Member price",
        was="was",
        out_of_stock="Out of stock",
        reduced="Reduced",
        offer="Offer",
        unit_price="{price} per {quantity}",
        per="per {quantity}",
        multiple="for {count}",
        units=("kg", "g", "L", "ml", "m", "mm"),
    ),
    "de": Words(
        each="Stück",
        pieces="Stück",
        multi_buy="{count} für {price}",
        deposit="+ {price} Pfand",
        until="bis {date}",
        saving="Sie sparen {price}",
        member="Mitgliederpreis",
        was="statt",
        out_of_stock="Nicht vorrätig",
        reduced="Reduziert",
        offer="Angebot",
        per="je {quantity}",
        multiple="für {count} {pieces}",
        percent=_PERCENT_APART,
    ),
    "fr": Words(
        each="pièce",
        pieces="pièces",
        multi_buy="{count} pour {price}",
        deposit="+ {price} de consigne",
        until="jusqu’au {date}",
        saving="{price} d’économie",
        member="Prix fidélité",
        was="au lieu de",
        out_of_stock="Rupture de stock",
        reduced="Prix réduit",
        offer="Offre",
        percent=_PERCENT_APART,
    ),
    "it": Words(
        each="pz",
        pieces="pz",
        multi_buy="{count} {pieces} a {price}",
        deposit="+ cauzione {price}",
        until="fino al {date}",
        saving="risparmi {price}",
        member="Prezzo soci",
        was="anziché",
        out_of_stock="Esaurito",
        reduced="Ribassato",
        offer="Offerta",
    ),
    "es": Words(
        each="ud.",
        pieces="uds.",
        multi_buy="{count} por {price}",
        deposit="+ {price} de depósito",
        until="hasta el {date}",
        saving="ahorra {price}",
        member="Precio socio",
        was="antes",
        out_of_stock="Agotado",
        reduced="Rebajado",
        offer="Oferta",
        percent=_PERCENT_APART,
    ),
    "pt": Words(
        each="un.",
        pieces="un.",
        multi_buy="{count} por {price}",
        deposit="+ {price} de depósito",
        until="até {date}",
        saving="poupe {price}",
        member="Preço membro",
        was="antes",
        out_of_stock="Esgotado",
        reduced="Reduzido",
        offer="Promoção",
    ),
    "nl": Words(
        each="stuk",
        pieces="stuks",
        multi_buy="{count} voor {price}",
        deposit="+ {price} statiegeld",
        until="t/m {date}",
        saving="u bespaart {price}",
        member="Ledenprijs",
        was="was",
        out_of_stock="Uitverkocht",
        reduced="Afgeprijsd",
        offer="Aanbieding",
        per="per {quantity}",
    ),
    "pl": Words(
        each="szt.",
        pieces="szt.",
        multi_buy="{count} za {price}",
        deposit="+ {price} kaucji",
        until="do {date}",
        saving="oszczędzasz {price}",
        member="Cena klubowa",
        was="zamiast",
        out_of_stock="Brak towaru",
        reduced="Obniżka",
        offer="Promocja",
    ),
    "cs": Words(
        each="ks",
        pieces="ks",
        multi_buy="{count} za {price}",
        deposit="+ záloha {price}",
        until="do {date}",
        saving="ušetříte {price}",
        member="Klubová cena",
        was="původně",
        out_of_stock="Vyprodáno",
        reduced="Zlevněno",
        offer="Akce",
        percent=_PERCENT_APART,
    ),
    "da": Words(
        each="stk.",
        pieces="stk.",
        multi_buy="{count} for {price}",
        deposit="+ pant {price}",
        until="t.o.m. {date}",
        saving="spar {price}",
        member="Medlemspris",
        was="før",
        out_of_stock="Udsolgt",
        reduced="Nedsat",
        offer="Tilbud",
        percent=_PERCENT_APART,
    ),
    "sv": Words(
        each="st",
        pieces="st",
        multi_buy="{count} för {price}",
        deposit="+ pant {price}",
        until="t.o.m. {date}",
        saving="spara {price}",
        member="Medlemspris",
        was="tidigare",
        out_of_stock="Slutsåld",
        reduced="Nedsatt",
        offer="Erbjudande",
        percent=_PERCENT_APART,
    ),
    "fi": Words(
        each="kpl",
        pieces="kpl",
        multi_buy="{count} {pieces} {price}",
        deposit="+ pantti {price}",
        until="{date} asti",
        saving="säästät {price}",
        member="Jäsenhinta",
        was="ennen",
        out_of_stock="Tuote loppunut",
        reduced="Alennettu",
        offer="Tarjous",
        percent=_PERCENT_APART,
    ),
    "el": Words(
        each="τεμ.",
        pieces="τεμ.",
        multi_buy="{count} με {price}",
        deposit="+ {price} εγγύηση",
        until="έως {date}",
        saving="κέρδος {price}",
        member="Τιμή μέλους",
        was="από",
        out_of_stock="Εξαντλήθηκε",
        reduced="Μειωμένη τιμή",
        offer="Προσφορά",
    ),
    "bg": Words(
        each="бр.",
        pieces="бр.",
        multi_buy="{count} за {price}",
        deposit="+ депозит {price}",
        until="до {date}",
        saving="спестявате {price}",
        member="Клубна цена",
        was="вместо",
        out_of_stock="Изчерпано",
        reduced="Намалено",
        offer="Оферта",
        units=("кг", "г", "л", "мл", "м", "мм"),
    ),
    "sq": Words(
        each="copë",
        pieces="copë",
        multi_buy="{count} për {price}",
        deposit="+ {price} depozitë",
        until="deri më {date}",
        saving="kurseni {price}",
        member="Çmim anëtari",
        was="ishte",
        out_of_stock="Pa gjendje",
        reduced="Ulje",
        offer="Ofertë",
    ),
    # no vowel or doubling marks: the fonts draw composed letters only
    "he": Words(
        each="יח׳",
        pieces="יח׳",
        multi_buy="{count} ב-{price}",
        deposit="+ פיקדון {price}",
        until="עד {date}",
        saving="חיסכון {price}",
        member="מחיר מועדון",
        was="במקום",
        out_of_stock="אזל מהמלאי",
        reduced="מחיר מוזל",
        offer="מבצע",
        per="ל-{quantity}",
        multiple="ל-{count} {pieces}",
        percent="{percent}% הנחה",
        units=("ק״ג", "גרם", "ליטר", "מ״ל", "מ׳", "מ״מ"),
    ),
    "ar": Words(
        each="حبة",
        pieces="حبة",
        multi_buy="{count} مقابل {price}",
        deposit="+ {price} تأمين",
        until="حتى {date}",
        saving="وفر {price}",
        member="سعر الأعضاء",
        was="بدلا من",
        out_of_stock="غير متوفر",
        reduced="سعر مخفض",
        offer="عرض",
        per="لكل {quantity}",
        multiple="لكل {count} {pieces}",
        percent="خصم \u200e{percent}%\u200e",  # else the sign would change sides
        units=("كغم", "غ", "ل", "مل", "م", "مم"),
    ),
}
