"""The daemon as a process without HQ: catalogue and bindings from files, over the control socket as the command line uses it."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from drivers.mqtt import MqttAddress, MqttLink
from edge.cli import DRAWN_TIMEOUT_S
from edge.demo.broker import RunningBroker, start_broker
from edge.lane_client import LaneClient
from protocols.pos import CommitParams, LookupParams, QuoteLine, QuoteParams, RpcError, Tender
from tests.edge.test_daemon import CONFIG, PATIENCE_S, start_daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

ITEMS = """sku,name,price,gtin,net_content,net_unit,stock
oats,Bio Haferflocken,1.49,4006381333931,500,g,20
milk,Frische Vollmilch,1.19,,1000,ml,50
"""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass
class Shop:
    directory: Path
    sensors: RunningBroker

    async def control(self, method: str, **params: object) -> dict[str, Any]:
        patience_s = DRAWN_TIMEOUT_S if method == "render" else PATIENCE_S
        async with await LaneClient.connect(self.directory / "control.sock", timeout_s=patience_s) as client:
            answer: dict[str, Any] = await client.call(method, params, dict)
            return answer

    async def refused(self, method: str, **params: object) -> RpcError:
        with pytest.raises(RpcError) as refusal:
            await self.control(method, **params)
        return refusal.value

    async def price(self, item_id: str) -> int:
        async with await LaneClient.connect(self.directory / "lane.sock", timeout_s=PATIENCE_S) as lane:
            await lane.hello("1")
            return (await lane.lookup(LookupParams(item_id=item_id))).price.amount_minor

    async def label(self, label_id: str) -> dict[str, Any]:
        (found,) = (each for each in (await self.control("label.list"))["labels"] if each["label"] == label_id)
        return dict(found)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shop() -> AsyncIterator[Shop]:
    """A store with two items from a file, and a broker of its own for its sensors."""
    with tempfile.TemporaryDirectory(prefix="sd-") as name, start_broker(Path(name)) as sensors:
        directory = Path(name)
        text = CONFIG.format(dir=directory).replace('price_source = "hq"', 'price_source = "file"') + '[hq]\nmode = "none"\n'
        text += f'[sensors]\nbroker = "{sensors.host}:{sensors.port}"\n'
        (directory / "config.toml").write_text(text)
        daemon = await start_daemon(directory)
        found = Shop(directory, sensors)
        brought = await found.control("import", source_name="items.csv", csv=ITEMS)
        assert (brought["state"], brought["new"]) == ("done", 2)
        yield found
        await daemon.stop()


async def test_a_file_puts_items_and_prices_in_force(shop: Shop) -> None:
    assert (await shop.price("oats"), await shop.price("milk")) == (149, 119)


async def test_one_bad_line_refuses_the_whole_file_and_names_line_and_column(shop: Shop) -> None:
    answer = await shop.control("import", source_name="bad.csv", csv="sku,name,price\nmilk,Milk,1.09\noats,Oats,1.499\n")
    (mistake,) = answer["mistakes"]
    assert (answer["state"], mistake["line"], mistake["column"], mistake["found"]) == ("rejected", 3, "price", "1.499")
    assert await shop.price("milk") == 119


async def test_hq_is_refused_where_a_file_writes_prices(shop: Shop) -> None:
    assert 'hq.mode = "none"' in (await shop.refused("enrol", store="t1")).detail


async def test_a_label_is_bound_by_item_or_code_and_unbound_again(shop: Shop) -> None:
    await shop.control("label.bind", label="00000000000000A1", items=["4006381333931"], by="ann", place={"aisle": "3", "bay": "2"})
    bound = await shop.label("00000000000000A1")
    assert (bound["items"], bound["template"], bound["place"], bound["state"]) == ("oats", "shelf", "3/2", "unknown display")
    await shop.control("label.unbind", label="00000000000000A1", by="ann")
    assert (await shop.label("00000000000000A1"))["items"] == ""


async def test_a_label_is_not_bound_to_what_is_not_sold(shop: Shop) -> None:
    assert (await shop.refused("label.bind", label="00000000000000A2", items=["caviar"], by="ann")).detail == "no item caviar"
    assert all(each["label"] != "00000000000000A2" for each in (await shop.control("label.list"))["labels"])


async def test_a_binding_file_binds_all_or_none(shop: Shop) -> None:
    refusal = await shop.control("import", kind="labels", csv="label,items\n00000000000000B1,oats\n00000000000000B2,caviar\n")
    assert [mistake["found"] for mistake in refusal["mistakes"]] == ["caviar"]
    assert all(each["label"] != "00000000000000B1" for each in (await shop.control("label.list"))["labels"])
    bound = await shop.control("import", kind="labels", csv="label,items\n00000000000000B3,oats\n00000000000000B4,milk\n")
    assert (bound["state"], bound["new"]) == ("done", 2)


async def test_an_item_is_drawn_as_its_panel_shows_it(shop: Shop) -> None:
    png = base64.b64decode((await shop.control("render", item_id="oats", scale=2))["png_b64"])
    assert png.startswith(PNG_SIGNATURE)
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (592, 256)


async def test_an_unknown_parameter_is_named(shop: Shop) -> None:
    refusal = await shop.refused("label.unbind", label="00000000000000B3", by="ann", colour="red")
    assert refusal.code == "invalid_params"
    assert "colour" in refusal.detail


async def test_sales_go_to_a_dated_file_and_leave_the_outbox(shop: Shop) -> None:
    async with await LaneClient.connect(shop.directory / "lane.sock", timeout_s=PATIENCE_S) as lane:
        await lane.hello("1")
        quote = await lane.quote(QuoteParams(basket_id="b1", lines=(QuoteLine(line_id="1", quantity=2, item_id="milk"),)))
        paid = (Tender(type="cash", amount_minor=quote.total_minor),)
        await lane.commit(CommitParams(sale_id="file-1", quote_id=quote.quote_id, tenders=paid))
    while (await shop.control("status"))["outbox"]["waiting"]:
        pass
    (file,) = (shop.directory / "state").rglob("events-*.jsonl")
    assert '"sale_id":"file-1"' in file.read_text()


async def test_a_sensor_of_the_store_casts_doubt_and_changes_no_books(shop: Shop) -> None:
    row = {"source": "shelf-3", "kind": "shelf", "sku": "oats", "quantity": 11}
    number = 0
    async with MqttLink(MqttAddress(shop.sensors.host, shop.sensors.port), "shelf-3").connect() as sensor:
        while not (found := (await shop.control("stock.differences"))["differences"]):
            number += 1  # until the daemon has subscribed, and has written it
            seen = row | {"id": f"o{number:06d}", "seen_at": "2100-01-01T00:00:00Z"}  # a clock that is ahead: read as now
            await sensor.publish("shelfd/sensors/3", json.dumps({"observations": [seen]}).encode())
    assert [(each["item"], each["source"], each["observed"], each["expected"]) for each in found] == [("oats", "shelf-3", 11, 20)]
    async with await LaneClient.connect(shop.directory / "lane.sock", timeout_s=PATIENCE_S) as lane:
        await lane.hello("1")
        assert (await lane.call("stock.get", {"item_id": "oats"}, dict))["on_hand"] == 20


async def ticket_after(shop: Shop, attempt: int) -> dict[str, Any]:
    """The label's ticket, once it is written down."""
    while True:
        try:
            ticket = await shop.control("label.ticket", label="tea-ticket")
        except RpcError:  # no ticket yet
            continue
        if ticket["attempt"] > attempt:
            return ticket


async def test_a_paper_label_from_its_binding_to_a_rise_that_binds(shop: Shop) -> None:
    """And every other way that people end a hold, over the real socket."""
    await shop.control("import", source_name="tea.csv", csv="sku,name,price\ntea,Tea,2.00\n")
    await shop.control("label.bind", label="tea-ticket", items=["tea"], by="ann", paper=True)
    first = await ticket_after(shop, 0)
    await shop.control("label.confirm", label="tea-ticket", person="Ann", shows=["2.00"])
    assert (await shop.label("tea-ticket"))["grade"] == "person"
    await shop.control("import", source_name="tea.csv", csv="sku,name,price\ntea,Tea,2.50\n")
    assert await shop.price("tea") == 200
    held = {row["item_id"]: row for row in (await shop.control("price.held"))["held"]}
    assert (held["tea"]["label"], held["tea"]["target_minor"], held["tea"]["held_minor"]) == ("tea-ticket", 250, 200)
    ticket = await ticket_after(shop, first["attempt"])
    assert base64.b64decode(ticket["png_b64"]).startswith(PNG_SIGNATURE)
    why = await shop.control("price.why", item_id="tea")
    assert [bound["holds"] for bound in why["bounds"]] == [True, False]
    assert why["target"]["source"] == "file tea.csv"
    done = await shop.control("label.confirm", label="tea-ticket", person="Ann", attempt=ticket["attempt"])
    assert done["cannot_show_any_more"] == [first["attempt"]] == [held["tea"]["attempt"]]
    assert [row["reason"] for row in (await shop.control("price.held"))["held"] if row["item_id"] == "tea"] == ["dwell"]
    await shop.control("label.retire", label="tea-ticket", reason="removed", person="Ann")
    assert (await shop.label("tea-ticket"))["state"] == "retired: removed"
    assert (await shop.control("label.restore", label="tea-ticket", person="Ann"))["pictures_put_back"] == 1
    status = await shop.control("status")
    assert status["guard"]["rise_binds_at"]["paper"] == "person"
