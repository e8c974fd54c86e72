"""From a panel's picture to the price that a shopper reads on it, by the demo's own means: it draws what head office ordered and
compares pixels, the attempt number's pixels apart. The daemon's books are not asked.

`digest_of_fields` and `digest_of_payload` run in a process of their own, so that numpy never keeps a lane waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from edge.demo.catalogue import CURRENCY, EXPONENT, LOCALE, Article, Priced
from edge.render_worker import NICE
from protocols.oepl_wire import DATA_TYPES
from render.errors import RenderError
from render.fields import ItemFields, LabelFields
from render.panels import attempt_strip, panel

if TYPE_CHECKING:
    from render.api import Bytes

PANEL = "oepl-01"
TEMPLATE = "shelf"

_CODECS = {number: codec for codec, number in DATA_TYPES.items()}


class PictureReader:
    """Reads pictures. `expect` says what may come, before it comes; `read` answers in the order of the calls."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(NICE,))
        # started with Ctrl-C blocked, which it inherits: the terminal sends that to the whole group, and we still have pictures to read
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._pool.submit(os.getpid)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._prices: dict[str, dict[str, int | None]] = {}  # label -> digest of a picture -> the price on it, None: no price
        self._known: dict[tuple[str, Priced], None] = {}

    async def expect(self, label: str, article: Article, priced: Priced) -> None:
        """This label may come to show this price (from now on, and for as long as the demo runs)."""
        if (label, priced) not in self._known:
            self._known[label, priced] = None
            digest = await self._run(digest_of_fields, price_picture(label, article, priced))
            self._prices.setdefault(label, {})[digest] = priced.price_minor

    async def read(self, label: str, data_type: int, payload: bytes) -> int | None:
        """The price in minor units on a label that shows this payload; None for a picture without a price.

        Raises UnreadPicture for a picture that nobody ordered.
        """
        digest = await self._run(digest_of_payload, data_type, payload)
        known = self._prices.setdefault(label, {})
        if digest not in known:
            blank = LabelFields(template="unassigned", panel=PANEL, label_id=label, locale=LOCALE)
            known[await self._run(digest_of_fields, blank)] = None
        if digest not in known:
            raise UnreadPicture(f"label {label} shows a picture that nobody ordered")
        return known[digest]

    def close(self) -> None:
        """End the process without waiting for what it draws."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Callable[..., str], *args: object) -> str:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        except RenderError as error:
            raise UnreadPicture(f"a picture cannot be read: {error}") from error
        except BrokenProcessPool as error:
            raise UnreadPicture("the process that reads pictures died") from error


class UnreadPicture(Exception):
    """A panel shows what no order explains. What it promises is not known, so the run proves nothing."""


def price_picture(label: str, article: Article, priced: Priced) -> LabelFields:
    """What head office ordered to be on the label."""
    item = ItemFields(
        name=article.name,
        brand=article.brand,
        price_minor=priced.price_minor,
        was_price_minor=None if priced.promo_minor is None else priced.base_minor,
        reduced=priced.promo_minor is not None,
        net_content=article.net_content,
        net_unit=article.net_unit,
        unit_price_base=article.per,
        gtin=article.gtin,
    )
    return LabelFields(
        template=TEMPLATE,
        panel=PANEL,
        label_id=label,
        locale=LOCALE,
        currency=CURRENCY,
        currency_exponent=EXPONENT,
        items=(item,),
    )


def digest_of_fields(fields: LabelFields) -> str:
    """Of the picture that these fields draw."""
    from render import api

    return _digest(api.picture(fields))


def digest_of_payload(data_type: int, payload: bytes) -> str:
    """Of the picture that a panel shows after downloading this. Raises render's PayloadError for a payload that is no picture."""
    from render import api

    return _digest(api.payload_to_indices(panel(PANEL), _CODECS[data_type], payload))


def _digest(indices: Bytes) -> str:
    height, width = indices.shape
    strip = attempt_strip(width, height)
    masked = indices.copy()
    masked[strip.y, strip.x : strip.right] = 0
    return hashlib.sha256(masked.tobytes()).hexdigest()
