"""Follows the simulated world: notes how far changes got on the air, and tells the judge which price each panel shows.

Reading a picture takes some milliseconds, and the first one waits for the kernels, so pictures have a queue of their own: the diary is
always drained, or else the simulator would stand still.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from edge.demo.catalogue import Article, Priced
from edge.demo.judge import Judge
from edge.demo.ledger import Changes, Stage
from edge.demo.pictures import PictureReader

_STAGES = {"sda": Stage.RENDERED, "transfer_begins": Stage.ON_AIR}


@dataclass(frozen=True, slots=True)
class _Order:
    """HQ ordered this price for a label: what its picture may look like from now on."""

    label: str
    article: Article
    priced: Priced


@dataclass(frozen=True, slots=True)
class _Display:
    label: str
    at_ms: int
    data_type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Told:
    """The diary has come this far."""

    at_ms: int


class Witness:
    """One per run. `follow` and `read_pictures` run side by side; both end with the diary."""

    def __init__(self, judge: Judge, changes: Changes) -> None:
        self._judge = judge
        self._changes = changes
        self._reader = PictureReader()
        self._queue: asyncio.Queue[_Order | _Display | _Told | None] = asyncio.Queue()
        self._kernels_ready = asyncio.Event()

    def expect(self, label: str, article: Article, priced: Priced) -> None:
        """HQ is about to order this."""
        self._queue.put_nowait(_Order(label, article, priced))

    async def follow(self, diary: AsyncIterator[dict[str, Any]]) -> None:
        """Until the diary ends."""
        async for told in diary:
            kind, at_ms = told["event"], int(told["t"])
            if kind in _STAGES:
                self._kernels_ready.set()  # the daemon has drawn: what it compiled is in the cache that we share
                change = self._changes.of_label(told["label"])
                if change is not None and at_ms >= change.sent_ms:
                    self._changes.reach(change, _STAGES[kind], at_ms)
            elif kind == "display":
                self._queue.put_nowait(_Display(told["label"], at_ms, told["data_type"], base64.b64decode(told["payload_b64"])))
            self._queue.put_nowait(_Told(at_ms))
        self._kernels_ready.set()
        self._queue.put_nowait(None)

    async def read_pictures(self) -> None:
        """Until the diary is read. Raises UnreadPicture."""
        await self._kernels_ready.wait()
        while (entry := await self._queue.get()) is not None:
            match entry:
                case _Order():
                    await self._reader.expect(entry.label, entry.article, entry.priced)
                case _Display():
                    price_minor = await self._reader.read(entry.label, entry.data_type, entry.payload)
                    self._judge.displays(entry.label, price_minor, entry.at_ms)
                case _Told():
                    self._judge.told(entry.at_ms)

    def close(self) -> None:
        """End the process that reads."""
        self._reader.close()
