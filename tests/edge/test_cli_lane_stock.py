"""`shelfd lane` makes certificates, `shelfd stock` books and lists: what is sent, what is printed, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.cli import main
from edge.config import load
from edge.control_stock import StockControl
from edge.lane_tls import fingerprint, server_context
from edge.model import ItemId
from protocols.jsonrpc import RpcError
from tests.edge.shop import MILK, Shop
from tests.edge.test_cli import STORE
from tests.edge.test_store_stock import books_balance, observe, place, told

Output = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "shop.toml"
    lanes = '[[lane]]\nid = "lane-1"\nlisten = "127.0.0.1:7443"\n[[lane]]\nid = "lane-2"\nsocket = "/tmp/lane-2"\n'
    file.write_text(f'price_source = "hq"\n{STORE}[daemon]\nlane_certificates = "{tmp_path}/lanes"\n{lanes}')
    return file


# -- lane ------------------------------------------------------------------------------------------------------------------


def test_a_lanes_certificate_is_made_where_the_daemon_looks_for_it(config: Path, tmp_path: Path, capsys: Output) -> None:
    assert main(["--config", str(config), "lane", "add", "lane-1"]) == 0
    said = capsys.readouterr().out
    for name in ("lane-1.crt", "lane-1.key", "authority.crt"):
        assert name in said
    folder = load(config).daemon.lane_certificates
    assert len(fingerprint(folder, "lane-1")) == 64
    server_context(folder)
    assert main(["--config", str(config), "lane", "add", "lane-1"]) == 1
    assert "--replace" in capsys.readouterr().err
    assert main(["--config", str(config), "lane", "add", "lane-1", "--replace", "--host", "10.0.0.5"]) == 0
    assert main(["--config", str(config), "lane", "add", "lane-1", "--dir", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / "lanes" / "lane-1.crt").exists()


@pytest.mark.parametrize("words", [["lane-2"], ["nobody"], ["lane-1", "--host", "till.example"]])
def test_a_lane_that_nobody_listens_for_gets_no_certificate(config: Path, capsys: Output, words: list[str]) -> None:
    assert main(["--config", str(config), "lane", "add", *words]) == 2
    assert capsys.readouterr().err.startswith("shelfd: ")


# -- stock -----------------------------------------------------------------------------------------------------------------


class Booking:
    """The control socket's methods on a real store."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.control = StockControl(shop.store, self._item)

    def _item(self, text: str) -> ItemId:
        return ItemId(text)

    async def __call__(self, method: str, **params: Any) -> Any:
        return await self.control.methods[method]("uid 0", params)


async def test_staff_book_what_came_what_is_lost_and_what_they_counted(stocked: Shop) -> None:
    book = Booking(stocked)
    assert (await book("stock.receive", item="milk", units=24, by="ann"))["on_hand"] == 24
    assert (await book("stock.shrink", item="milk", units=2, by="ann", reason="broken"))["on_hand"] == 22
    assert (await book("stock.count", item="milk", units=20, by="bob"))["on_hand"] == 20
    assert stocked.store.view.stock[MILK] == 20
    assert [(event["event"], event["delta"], event["by"]) for event in told(stocked)] == [
        ("stock.adjusted", 24, "ann (uid 0)"),
        ("stock.adjusted", -2, "ann (uid 0): broken"),
        ("stock.counted", -2, "bob (uid 0)"),
    ]
    assert stocked.rows("SELECT cause, delta FROM ledger ORDER BY entry_id") == [("receipt", 24), ("shrink", -2), ("count", -2)]
    assert books_balance(stocked)


async def test_a_booking_that_is_sent_again_counts_once(stocked: Shop) -> None:
    book = Booking(stocked)
    for _ in range(2):
        assert (await book("stock.receive", item="milk", units=24, by="ann", id="d-1"))["on_hand"] == 24


@pytest.mark.parametrize(
    "method, params",
    [
        ("stock.receive", {"item": "milk", "units": 0, "by": "ann"}),
        ("stock.receive", {"item": "milk", "units": 1}),
        ("stock.count", {"item": "milk", "units": -1, "by": "ann"}),
        ("stock.holds", {"page": 1}),
    ],
)
async def test_a_booking_of_another_shape_is_refused(stocked: Shop, method: str, params: dict[str, Any]) -> None:
    with pytest.raises(RpcError, match="invalid_params"):
        await Booking(stocked)(method, **params)


async def test_a_count_of_an_event_that_is_to_come_is_refused(stocked: Shop) -> None:
    with pytest.raises(RpcError, match="refused"):
        await Booking(stocked)("stock.count", item="milk", units=3, by="ann", as_of_seq=10_000)


async def test_holds_and_doubts_are_listed(stocked: Shop) -> None:
    book = Booking(stocked)
    await book("stock.receive", item="milk", units=5, by="ann")
    await place(stocked, "h1", 2)
    await observe(stocked, 3)
    (hold,) = (await book("stock.holds"))["holds"]
    assert (hold["hold"], hold["quantity"], hold["order"], hold["state"]) == ("h1", 2, "o1", "placed")
    (doubt,) = (await book("stock.differences"))["differences"]
    assert (doubt["item"], doubt["observed"], doubt["expected"]) == ("milk", 3, 5)
