"""The demo reads a panel's price by comparing pixels with what HQ ordered, whichever attempt and container brought them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from edge.demo.catalogue import ARTICLES, Article, Priced
from edge.demo.pictures import PANEL, PictureReader, UnreadPicture, digest_of_fields, digest_of_payload, price_picture
from protocols.oepl_wire import DATA_TYPES
from render import api
from render.fields import LabelFields

LABEL = "00000142F368AA4E"
BUTTER = ARTICLES[0]
PLAIN, REDUCED = Priced(279), Priced(279, 199)


def payload(priced: Priced, attempt: int, codec: str = "g5", article: Article = BUTTER) -> tuple[int, bytes]:
    rendered = api.render(price_picture(LABEL, article, priced), attempt, (codec,))
    return DATA_TYPES[rendered.codec], rendered.data


@pytest.fixture(scope="module")
def reader() -> Iterator[PictureReader]:
    """Its process takes seconds to start, so one serves all tests."""
    one = PictureReader()
    for priced in (PLAIN, REDUCED):
        asyncio.run(one.expect(LABEL, BUTTER, priced))
    yield one
    one.close()


@pytest.mark.parametrize("codec", ["g5", "raw2"])
@pytest.mark.parametrize("attempt", [0, 1, 0xFFFFFFFF])
def test_the_attempt_number_and_the_container_make_no_difference(codec: str, attempt: int) -> None:
    assert digest_of_payload(*payload(PLAIN, attempt, codec)) == digest_of_fields(price_picture(LABEL, BUTTER, PLAIN))


def test_a_cent_a_badge_and_another_article_make_a_difference() -> None:
    pictures = [(PLAIN, BUTTER), (Priced(280), BUTTER), (Priced(349, 279), BUTTER), (PLAIN, ARTICLES[1])]
    assert len({digest_of_payload(*payload(priced, 7, article=article)) for priced, article in pictures}) == len(pictures)


async def test_what_hq_ordered_is_read(reader: PictureReader) -> None:
    assert await reader.read(LABEL, *payload(REDUCED, 5)) == 199
    assert await reader.read(LABEL, *payload(PLAIN, 6)) == 279


async def test_a_picture_without_a_price_promises_none(reader: PictureReader) -> None:
    blank = api.render(LabelFields(template="unassigned", panel=PANEL, label_id=LABEL, locale="en-IE"), 3, ("g5",))
    assert await reader.read(LABEL, DATA_TYPES[blank.codec], blank.data) is None


async def test_a_price_that_nobody_ordered_is_not_passed_over(reader: PictureReader) -> None:
    with pytest.raises(UnreadPicture, match="nobody ordered"):
        await reader.read(LABEL, *payload(Priced(289), 5))


async def test_damaged_bytes_are_not_passed_over(reader: PictureReader) -> None:
    data_type, data = payload(PLAIN, 5)
    with pytest.raises(UnreadPicture, match="cannot be read"):
        await reader.read(LABEL, data_type, data[: len(data) // 2])
