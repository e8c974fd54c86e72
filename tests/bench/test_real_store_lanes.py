"""A till that loses the daemon in the middle of a sale, and the books that are compared at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.real_books import book_problems, booked_right, stock_difference
from bench.real_data import Change, ShelfPrice
from bench.real_lanes import Journal, Till
from bench.real_probe import Moment, Transition
from edge.clock import SystemClock
from edge.demo.hq_books import HqBooks
from edge.demo.judge import Charge

HEAD = {"revision": 1, "as_of": "2017-01-02T05:00:00.000Z", "stale_s": 0}


class DyingDaemon:
    """Speaks enough of the lane wire. It goes away at the first commit, before or after it has recorded the sale."""

    def __init__(self, *, records_before_dying: bool) -> None:
        self.commits: list[dict[str, Any]] = []
        self.recorded: dict[str, dict[str, Any]] = {}
        self._records_before_dying = records_before_dying
        self._serving: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._answer(reader, writer)))

    async def ended(self) -> None:
        await asyncio.gather(*self._serving)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            call = json.loads(line)
            if call["method"] == "sale.commit":
                self.commits.append(call["params"])
                if len(self.commits) > 1 or self._records_before_dying:
                    self._record(call["params"]["sale_id"])
                if len(self.commits) == 1:
                    break
            answer = {"jsonrpc": "2.0", "id": call["id"], "result": HEAD | self._result(call["method"], call["params"])}
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()
        await writer.wait_closed()

    def _record(self, sale_id: str) -> None:
        self.recorded.setdefault(sale_id, HEAD | {"sale_id": sale_id, "up_seq": 40 + len(self.recorded)})

    def _result(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "hello":
                store = {"server": "x", "version": "1", "store_id": "s", "currency": "USD", "exponent": 2}
                return store | {"tax_mode": "exclusive", "lane": params["lane"], "ready": True}
            case "basket.quote":
                shown = {
                    "item_id": "7",
                    "name": "n",
                    "total_minor": 200,
                    "price": {"amount_minor": 100, "price_quantity": 1, "unit": "each"},
                }
                lines = [shown | {"line_id": line["line_id"], "quantity": line["quantity"]} for line in params["lines"]]
                return {"quote_id": "q", "basket_id": "b", "lines": lines, "total_minor": 200, "currency": "USD", "valid_s": 900}
            case "sale.status":
                known = self.recorded.get(params["sale_id"])
                return {"sale_id": params["sale_id"], "state": "unknown" if known is None else "recorded", "answer": known}
            case _:
                return self.recorded[params["sale_id"]]


@asynccontextmanager
async def till_of(daemon: DyingDaemon, path: Path) -> AsyncIterator[tuple[Till, Journal, list[Charge]]]:
    journal, charges = Journal(), list[Charge]()
    till = Till("lane-1", "lane-1", path, SystemClock(), journal, charges.append, {"7": "2000000000077"})
    async with await asyncio.start_unix_server(daemon.serve, path):
        yield till, journal, charges
        await till.close()
        await daemon.ended()


@pytest.mark.parametrize("records_before_dying", [True, False])
async def test_a_sale_is_sent_again_with_the_same_id_and_body(tmp_path: Path, records_before_dying: bool) -> None:
    daemon = DyingDaemon(records_before_dying=records_before_dying)
    async with till_of(daemon, tmp_path / "lane.sock") as (till, journal, charges):
        await till.sell([("7", 2)])
        assert await till.recorded("lane-1-1")
    first, second = daemon.commits
    assert first == second
    assert first["sale_id"] == "lane-1-1"
    assert journal.found_recorded == int(records_before_dying)
    assert journal.sent == {"lane-1-1": (("7", 2),)}
    assert journal.changed_answers == []
    assert [(charge.sku, charge.quantity, charge.total_minor) for charge in charges] == [("7", 2, 200)]


async def test_another_answer_to_a_repeated_sale_is_noticed(tmp_path: Path) -> None:
    daemon = DyingDaemon(records_before_dying=True)
    async with till_of(daemon, tmp_path / "lane.sock") as (till, journal, _):
        await till.sell([("7", 2)])
        daemon.recorded["lane-1-1"]["up_seq"] += 1
        await till.recorded("lane-1-1")
    assert journal.changed_answers == ["lane-1-1"]


def test_every_unit_that_either_book_is_wrong_by_counts() -> None:
    journal = Journal(sent={"a": (("7", 2), ("8", 1)), "b": (("7", 1),)})
    opening = {"7": 10, "8": 10}
    assert stock_difference(opening, journal, {"7": 7, "8": 9}, {"7": 7, "8": 9}) == 0
    assert stock_difference(opening, journal, {"7": 8, "8": 9}, {"7": 7, "8": 9}) == 1
    assert stock_difference(opening, journal, {"7": 8, "8": 9}, {"7": 6, "8": 9, "9": -1}) == 3


def test_a_sale_that_head_office_booked_otherwise_is_not_booked_right() -> None:
    books = HqBooks("s", None, "00")  # type: ignore[arg-type]  # nothing is signed here
    journal = Journal(sent={"a": (("7", 2),), "b": (("7", 1),)}, totals={"a": 400, "b": 200})
    books.sales["a"] = {"lines": [{"sku": "7", "quantity": 2}], "total_minor": 400}
    assert booked_right(books, journal, "a")
    assert not booked_right(books, journal, "b")
    assert book_problems(books, journal) == ["1 sales at head office, 2 sent"]
    books.sales["b"] = {"lines": [{"sku": "7", "quantity": 1}], "total_minor": 201}
    assert not booked_right(books, journal, "b")
    assert book_problems(books, journal) == []


def test_a_probe_counts_for_the_moment_in_which_it_asked() -> None:
    transition = Transition(Change("7", 2, ShelfPrice(100), ShelfPrice(120)), "L", 1_000)
    transition.moments += [(1_200, Moment.OFFERED), (1_300, Moment.TRANSFER), (1_300, Moment.STORED)]
    moments = [transition.moment_at(at_ms) for at_ms in (1_000, 1_200, 1_299, 1_300, 9_999)]
    assert moments == [Moment.DUE, Moment.OFFERED, Moment.OFFERED, Moment.STORED, Moment.STORED]
