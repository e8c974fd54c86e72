"""A label's picture drawn again, years later perhaps, from what the attempt's row kept."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from edge import render_worker
from edge.store.rows import json_text
from render.errors import RenderError
from render.fields import SHIPPED, ItemFields, LabelFields

MILK = LabelFields(
    template="shelf",
    panel="oepl-01",
    label_id="AABBCCDD00000001",
    locale="de-DE",
    currency="EUR",
    items=(ItemFields(name="Vollmilch 3,5 %", sku="milk", price_minor=129, gtin="4006381333931", multi_buy=(2, 199)),),
)


def stored(fields: LabelFields) -> str:
    return json_text(fields.as_dict())


def test_the_stored_fields_draw_the_very_picture_that_was_sent() -> None:
    sent = render_worker.draw(MILK, 4711, ("raw2",), SHIPPED)
    picture_hash, png = render_worker.draw_again(stored(MILK), 4711, 2, SHIPPED)
    assert picture_hash == sent.picture_hash
    assert Image.open(io.BytesIO(png)).size == (296 * 2, 128 * 2)


def test_another_attempt_or_another_price_is_another_picture() -> None:
    hashes = {render_worker.draw_again(stored(MILK), number, 1, SHIPPED)[0] for number in (1, 2, 3)}
    forged = stored(MILK).replace("129", "128")
    assert len(hashes | {render_worker.draw_again(forged, 1, 1, SHIPPED)[0]}) == 4


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"template":"shelf"}', '{"template":"gone","panel":"oepl-01","label_id":"x"}', '{"panel":1}']
)
def test_fields_that_draw_nothing_are_an_error_that_says_so(text: str) -> None:
    with pytest.raises((RenderError, ValueError)):
        render_worker.draw_again(text, 1, 1, SHIPPED)
