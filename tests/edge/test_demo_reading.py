"""Reading a panel's picture as a shopper does: whatever price and code a label is drawn with, the pixels say it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from edge.demo.reading import Reading, Unreadable, read, read_payload
from protocols.oepl_wire import DATA_TYPES
from render.api import panel, picture, render
from render.fields import ItemFields, LabelFields
from render.symbols.linear import check_digit

PANEL = panel("oepl-01")
NAMES = ("BREAD WHITE 16 OZ", "2% MILK 1 GAL 100", "CEREAL 20 OZ 999 FAMILY SIZE", "A", "7UP 12 PK 144 OZ")


def gtin(rng: random.Random) -> str:
    digits = f"20{rng.randrange(10**10):010d}"
    return digits + str(check_digit(digits))


def label(price_minor: int, code: str, rng: random.Random, *, reduced: bool) -> LabelFields:
    locale, currency = rng.choice(("en-US", "en-IE", "de-DE")), rng.choice(("USD", "EUR"))
    item = ItemFields(
        name=rng.choice(NAMES),
        brand="Number 88",
        price_minor=price_minor,
        price_quantity=1,
        price_unit="each",
        was_price_minor=price_minor + rng.randrange(1, 300) if reduced else None,
        reduced=reduced,
        net_content=500,
        net_unit="g",
        gtin=code,
    )
    return LabelFields(
        template="shelf", panel=PANEL.name, label_id="L", locale=locale, currency=currency, currency_exponent=2, items=(item,)
    )


@pytest.mark.parametrize("reduced", [False, True])
def test_every_price_and_code_is_read_from_the_pixels(reduced: bool) -> None:
    rng = random.Random(int(reduced))
    for price_minor in (
        1,
        9,
        99,
        100,
        111,
        *(rng.randrange(1, 1_500) for _ in range(60)),
        *(rng.randrange(1_500, 90_000) for _ in range(30)),
    ):
        code = gtin(rng)
        drawn = picture(label(price_minor, code, rng, reduced=reduced), attempt=rng.randrange(2**32))
        assert read(drawn, PANEL.white) == Reading(code, price_minor)


def test_what_the_label_downloaded_is_what_is_read() -> None:
    rng = random.Random(3)
    code = gtin(rng)
    sent = render(label(1_299, code, rng, reduced=False), 77, ("g5",))
    assert read_payload(PANEL.name, DATA_TYPES[sent.codec], sent.data) == Reading(code, 1_299)


@pytest.mark.parametrize("template", ["unassigned", "see_staff"])
def test_a_picture_without_a_price_promises_none(template: str) -> None:
    fields = LabelFields(
        template=template, panel=PANEL.name, label_id="0000A1B2C3D4E5F6", locale="en-US", items=(ItemFields(name="7UP 100"),)
    )
    assert read(picture(fields, 5), PANEL.white) == Reading(None, None)


def test_a_price_with_a_digit_wiped_out_is_not_read_as_another_price() -> None:
    rng = random.Random(4)
    drawn = picture(label(1_234, gtin(rng), rng, reduced=False))
    cents = np.argwhere(drawn[60:92, 240:] != PANEL.white)
    drawn[60:92, 240 + int(cents[:, 1].max()) - 8 :] = PANEL.white
    with pytest.raises(Unreadable):
        read(drawn, PANEL.white)


def test_a_bar_code_with_a_wrong_check_digit_is_none() -> None:
    rng = random.Random(5)
    drawn = picture(label(500, gtin(rng), rng, reduced=False))
    drawn[90:, 20:30] = PANEL.white
    assert read(drawn, PANEL.white).gtin is None
