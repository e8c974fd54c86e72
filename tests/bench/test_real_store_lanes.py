"""A till that loses the daemon in the middle of a sale, and the books that are compared at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.real_after import expected_stock
from bench.real_books import book_problems, booked_right, money_at_hq, money_at_store, money_in_journal, stock_difference, table_problems
from bench.real_data import Change, ShelfPrice
from bench.real_lanes import Back, Journal, SoldLine, Till, refund_of
from bench.real_probe import Moment, Prober, Transition
from edge.clock import SystemClock
from edge.demo.hq_books import HqBooks
from edge.demo.judge import Charge
from edge.demo.world import SimEvent
from protocols.pos import SaleLineView, StatusResult
from protocols.pos_base import Guard
from protocols.pos_prices import MirroredPrice
from protocols.pos_returns import Condition, ReturnLine

HEAD = {"revision": 1, "as_of": "2017-01-02T05:00:00.000Z", "stale_s": 0}


class DyingDaemon:
    """Speaks enough of the lane wire. It goes away at the first commit, before or after it has recorded the sale."""

    def __init__(self, *, records_before_dying: bool) -> None:
        self.commits: list[dict[str, Any]] = []
        self.recorded: dict[str, dict[str, Any]] = {}
        self.refund_minor = 200
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
            case "sale.void":
                return {"void_id": params["void_id"], "sale_id": params["sale_id"], "up_seq": 50, "refund_minor": self.refund_minor}
            case "return.commit":
                lines = [{"line_id": "1", "item_id": "7", "quantity": 1, "refund_minor": self.refund_minor, "left": 1}]
                return {"return_id": params["return_id"], "up_seq": 51, "lines": lines, "refund_minor": self.refund_minor}
            case _:
                return self.recorded[params["sale_id"]]


@asynccontextmanager
async def till_of(daemon: DyingDaemon, path: Path) -> AsyncIterator[tuple[Till, Journal, list[tuple[Charge, int]]]]:
    journal, charges = Journal(), list[tuple[Charge, int]]()

    def charged(charge: Charge, paid_ms: int) -> None:
        charges.append((charge, paid_ms))

    till = Till("lane-1", "lane-1", path, SystemClock(), journal, charged, {"7": "2000000000077"})
    async with await asyncio.start_unix_server(daemon.serve, path):
        yield till, journal, charges
        await till.close()
        await daemon.ended()


@pytest.mark.parametrize("records_before_dying", [True, False])
async def test_a_sale_is_sent_again_with_the_same_id_and_body(tmp_path: Path, records_before_dying: bool) -> None:
    daemon = DyingDaemon(records_before_dying=records_before_dying)
    async with till_of(daemon, tmp_path / "lane.sock") as (till, journal, charges):
        await till.sell([("7", 2)])
        assert (await till.status("lane-1-1")).state == "recorded"
    first, second = daemon.commits
    assert first == second
    assert first["sale_id"] == "lane-1-1"
    assert journal.found_recorded == int(records_before_dying)
    assert journal.lines == {"lane-1-1": (SoldLine("7", 2, 200),)}
    assert journal.recorded == ["lane-1-1"]
    assert journal.problems == []
    assert [(charge.sku, charge.quantity, charge.total_minor) for charge, _ in charges] == [("7", 2, 200)]
    assert all(charge.asked_ms <= charge.answered_ms <= paid_ms for charge, paid_ms in charges)


async def test_another_answer_to_a_repeated_sale_is_noticed(tmp_path: Path) -> None:
    daemon = DyingDaemon(records_before_dying=True)
    async with till_of(daemon, tmp_path / "lane.sock") as (till, journal, _):
        await till.sell([("7", 2)])
        daemon.recorded["lane-1-1"]["up_seq"] += 1
        await till.status("lane-1-1")
    assert [problem.split(":")[0] for problem in journal.problems] == ["sale lane-1-1"]


async def test_a_void_gives_back_what_was_paid_and_puts_everything_back(tmp_path: Path) -> None:
    daemon = DyingDaemon(records_before_dying=True)
    async with till_of(daemon, tmp_path / "lane.sock") as (till, journal, _):
        await till.sell([("7", 2)])
        await till.void("v", "lane-1-1", twice=True)
    assert journal.came_back == {"v": Back("lane-1-1", (("7", 2),), 200)}
    assert journal.undone == {"lane-1-1": "v"}
    assert journal.problems == []


@pytest.mark.parametrize(("condition", "restocked"), [(Condition.GOOD, 1), (Condition.DAMAGED, 0)])
async def test_a_return_that_gives_back_another_sum_than_ours_is_noticed(tmp_path: Path, condition: Condition, restocked: int) -> None:
    daemon = DyingDaemon(records_before_dying=True)
    async with till_of(daemon, tmp_path / "lane.sock") as (till, journal, _):
        await till.sell([("7", 2)])
        daemon.refund_minor = 100
        await till.take_back("r", "lane-1-1", ReturnLine("1", 1, "1", condition), twice=False)
        assert journal.problems == []
        daemon.refund_minor = 101
        await till.take_back("s", "lane-1-1", ReturnLine("1", 1, "1", condition), twice=False)
    assert journal.came_back["r"] == Back("lane-1-1", (("7", restocked),), 100)
    assert [problem.split(":")[0] for problem in journal.problems] == ["s"]


def test_a_share_of_a_line_is_rounded_half_up() -> None:
    assert [refund_of(SoldLine("7", 3, 500), units) for units in (1, 2, 3)] == [167, 333, 500]
    assert [refund_of(SoldLine("7", 2, 5), units) for units in (1, 2)] == [3, 5]


def test_every_unit_that_either_book_is_wrong_by_counts() -> None:
    journal = Journal(lines={"a": (SoldLine("7", 2, 400), SoldLine("8", 1, 100)), "b": (SoldLine("7", 1, 200),)})
    journal.came_back["v"] = Back("b", (("7", 1),), 200)
    journal.moved += [("8", 24), ("8", -1)]
    expected = expected_stock({"7": 10, "8": 10}, journal)
    assert expected == {"7": 8, "8": 32}
    assert stock_difference(expected, {"7": 8, "8": 32}, {"7": 8, "8": 32}) == 0
    assert stock_difference(expected, {"7": 9, "8": 32}, {"7": 8, "8": 32}) == 1
    assert stock_difference(expected, {"7": 9, "8": 32}, {"7": 7, "8": 32, "9": -1}) == 3


def test_a_sale_that_head_office_booked_otherwise_is_not_booked_right() -> None:
    books = HqBooks("s", None, "00")  # type: ignore[arg-type]  # nothing is signed here
    journal = Journal(lines={"a": (SoldLine("7", 2, 400),), "b": (SoldLine("7", 1, 200),)}, totals={"a": 400, "b": 200})
    books.sales["a"] = {"lines": [{"sku": "7", "quantity": 2, "total_minor": 400}], "total_minor": 400}
    assert booked_right(books, journal, "a")
    assert not booked_right(books, journal, "b")
    assert book_problems(books, journal) == ["1 sales at head office, 2 sent"]
    books.sales["b"] = {"lines": [{"sku": "7", "quantity": 1, "total_minor": 200}], "total_minor": 201}
    assert not booked_right(books, journal, "b")
    assert book_problems(books, journal) == []
    journal.came_back["v"] = Back("a", (("7", 2),), 400)
    assert book_problems(books, journal) == ["0 voids and returns at head office, 1 sent"]


def test_money_is_what_was_paid_less_what_was_given_back_in_all_three_books() -> None:
    journal = Journal(totals={"a": 400, "b": 200, "c": 50}, undone={"a": "v", "b": "r"})
    journal.came_back |= {"v": Back("a", (), 400), "r": Back("b", (), 67)}
    books = HqBooks("s", None, "00")  # type: ignore[arg-type]  # nothing is signed here
    books.sales |= {sale_id: {"total_minor": total_minor} for sale_id, total_minor in journal.totals.items()}
    books.came_back |= {"void_id v": {"sale_id": "a", "refund_minor": 400}, "return_id r": {"sale_id": "b", "refund_minor": 66}}
    assert money_in_journal(journal) == {"a": 0, "b": 133, "c": 50}
    assert money_at_hq(books) == {"a": 0, "b": 134, "c": 50}

    def kept(sale_id: str, voided: str | None = None, refunded_minor: int = 0) -> int:
        line = SaleLineView(line_id="1", item_id="7", quantity=3, paid_minor=200, refunded_minor=refunded_minor)
        return money_at_store(StatusResult(sale_id=sale_id, state="recorded", lines=(line, line), voided=voided, **HEAD), journal)  # type: ignore[arg-type]

    assert kept("b") == 400
    assert kept("b", refunded_minor=67) == 266
    assert kept("a", voided="v") == 0
    assert kept("a", voided="somebody's") == 400


def test_a_price_table_that_says_anything_else_than_head_office_is_noticed() -> None:
    def price(sku: str, *minor: int, guard: Guard | None = None) -> MirroredPrice:
        return MirroredPrice(item_id=sku, unit="each", curves=tuple(((1, each),) for each in minor), guard=guard)

    asked = {"7": 100, "8": 200}
    right = {"7": price("7", 100), "8": price("8", 200)}
    assert table_problems(right, asked) == []
    for wrong in (price("8", 201), price("8", 199), price("8"), price("8", 200, 100), price("8", 200, guard=Guard.SHELF_LOWER)):
        assert len(table_problems(right | {"8": wrong}, asked)) == 1
    assert len(table_problems({"7": price("7", 100)}, asked)) == 1
    assert len(table_problems(right | {"9": price("9", 1)}, asked)) == 1


def test_a_probe_counts_for_the_moment_in_which_it_asked() -> None:
    transition = Transition(Change("7", 2, ShelfPrice(100), ShelfPrice(120)), "L", 1_000)
    transition.moments += [(1_200, Moment.OFFERED), (1_300, Moment.TRANSFER), (1_300, Moment.STORED)]
    moments = [transition.moment_at(at_ms) for at_ms in (1_000, 1_200, 1_299, 1_300, 9_999)]
    assert moments == [Moment.DUE, Moment.OFFERED, Moment.OFFERED, Moment.STORED, Moment.STORED]


def test_what_a_label_does_before_its_price_is_known_to_be_due_counts() -> None:
    """On a busy machine a label has its picture before the prober hears that the instant has come."""

    async def no_labels() -> dict[str, dict[str, Any]]:
        return {}

    transition = Transition(Change("7", 2, ShelfPrice(100), ShelfPrice(120)), "L", 1_000)
    prober = Prober(SystemClock(), 0, no_labels, lambda sku, at_ms: None, lambda: None)
    prober.expect([transition])
    prober.on_event(SimEvent("xfc", 1_300, "L", {}))
    prober.on_event(SimEvent("xfc", 1_300, "another", {}))
    prober.begin()
    assert transition.stored
    assert transition.moments == [(1_300, Moment.STORED)]
