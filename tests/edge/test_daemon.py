"""The daemon as a process, with a real broker, database and sockets: what it answers to bad input, and that it goes on."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from drivers.mqtt import MqttAddress, MqttLink
from edge.clock import SystemClock
from edge.demo.broker import BrokerKind, RunningBroker, start_broker
from edge.demo.children import Child
from edge.demo.hq import MiniHq
from edge.lane_client import DaemonUnreachable, LaneClient
from protocols.hq import Stream, partition_of
from protocols.hq_events import Stage
from protocols.pos import CommitParams, LookupParams, LookupResult, QuoteLine, QuoteParams, RpcError, Tender

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORE = "t1"
PATIENCE_S = 30.0  # a busy machine; nothing here waits that long when it works
ITEMS = 20  # each test takes one of its own, so that none depends on another

CONFIG = """
price_source = "hq"
[store]
id = "t1"
name = "Test"
country = "DE"
locale = "de-DE"
currency = "EUR"
timezone = "Europe/Berlin"
tax_mode = "inclusive"
[daemon]
state_dir = "{dir}/state"
control_socket = "{dir}/control.sock"
metrics_listen = ""
[[lane]]
id = "1"
socket = "{dir}/lane.sock"
[[radio]]
name = "ceiling"
device = "{dir}/no-such-port"
"""

DENIED = f"rs/1/{partition_of(STORE)}/{STORE}/up/label"


class Article(NamedTuple):
    sku: str
    code: str

    def row(self, amount_minor: object, rev: int) -> dict[str, object]:
        return {"sku": self.sku, "kind": "base", "price_id": "base", "rev": rev, "amount_minor": amount_minor, "currency": "EUR"}


def article(number: int) -> Article:
    digits = f"{200_000_000_000 + number}"
    check = -sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10
    return Article(f"sku-{number}", f"{digits}{check}")


@dataclass
class Scene:
    """A running daemon with its HQ."""

    directory: Path
    broker: RunningBroker
    hq: MiniHq
    daemon: Child
    notices: asyncio.Queue[str]
    to_lose: set[tuple[Stream, int]]  # downward messages that never reach the broker when they are sent the first time
    taken: int = 0

    def item(self) -> Article:
        """An item that no other test touches: price 1.99, ten in stock."""
        self.taken += 1
        return article(self.taken)

    async def control(self, method: str, **params: object) -> dict[str, Any]:
        async with await LaneClient.connect(self.directory / "control.sock", timeout_s=PATIENCE_S) as client:
            answer: dict[str, Any] = await client.call(method, params, dict)
            return answer

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[LaneClient]:
        async with await LaneClient.connect(self.directory / "lane.sock", timeout_s=PATIENCE_S) as client:
            await client.hello("1")
            yield client

    async def price(self, item: Article) -> int:
        async with self.lane() as lane:
            found: LookupResult = await lane.lookup(LookupParams(code=item.code))
            return found.price.amount_minor

    async def until(self, fact: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The daemon's status once `fact` holds of it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status = await self.control("status")
                if fact(status):
                    return status

    async def acked(self, stream: Stream, seq: int, stage: Stage) -> str | None:
        """HQ has the staged ack; its reason."""
        async with asyncio.timeout(PATIENCE_S):
            await self.hq.until(lambda: self.hq.books.reached(stream, seq, stage))
        return self.hq.books.acks[stream, seq][stage].reason


async def start_daemon(directory: Path) -> Child:
    as_systemd = ["env", "-u", "WATCHDOG_PID", f"NOTIFY_SOCKET={directory}/notify", "WATCHDOG_USEC=300000"]
    command = [*as_systemd, sys.executable, "-m", "edge", "run", "--config", str(directory / "config.toml")]
    child = await Child.start("the daemon", command, directory / "daemon.log")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            assert child.death() is None, child.death()
            try:
                async with await LaneClient.connect(directory / "control.sock", timeout_s=PATIENCE_S) as client:
                    await client.call("radio.list", {}, dict)
                    return child
            except DaemonUnreachable:
                await asyncio.sleep(0)


@asynccontextmanager
async def opened(*, enrolled: bool) -> AsyncIterator[Scene]:
    """A broker, an HQ and a daemon of their own."""
    notices: asyncio.Queue[str] = asyncio.Queue()
    to_lose: set[tuple[Stream, int]] = set()
    with tempfile.TemporaryDirectory(prefix="sd-") as name:  # a short path: Unix sockets end at 107 bytes
        directory = Path(name)
        (directory / "config.toml").write_text(CONFIG.format(dir=directory))
        rules = directory / "acl"
        rules.write_text(f"topic deny {DENIED}\ntopic readwrite #\n")
        rules.chmod(0o644)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        notify.bind(str(directory / "notify"))
        loop = asyncio.get_running_loop()
        loop.add_reader(notify, lambda: notices.put_nowait(notify.recv(4096).decode()))
        try:
            with start_broker(directory, kind=BrokerKind.MOSQUITTO, extra_config=f"acl_file {rules}\n") as broker:
                hq = MiniHq(MqttAddress(broker.host, broker.port), STORE, SystemClock(), lose=lambda stream, seq: (stream, seq) in to_lose)
                articles = [article(number) for number in range(1, ITEMS + 1)]
                hq.snapshot(
                    [{"sku": each.sku, "name": "Oats", "barcodes": [{"gtin": each.code}]} for each in articles],
                    [each.row(199, 1) for each in articles],
                    [{"sku": each.sku, "on_hand": 10} for each in articles],
                )
                found = Scene(directory, broker, hq, await start_daemon(directory), notices, to_lose)
                running = asyncio.create_task(hq.run())
                if enrolled:
                    await found.control("enrol", **hq.enrolment())
                    await found.until(lambda status: bool(status["ready"]))
                yield found
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await found.daemon.stop()
        finally:
            loop.remove_reader(notify)
            notify.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene() -> AsyncIterator[Scene]:
    """An enrolled store that the tests of this file share; each has its own item."""
    async with opened(enrolled=True) as found:
        yield found


async def test_a_store_that_is_not_enrolled_answers_not_ready_and_never_a_price() -> None:
    async with opened(enrolled=False) as scene, scene.lane() as lane:
        with pytest.raises(RpcError) as refused:
            await lane.lookup(LookupParams(code=scene.item().code))
        assert (refused.value.code, refused.value.retryable) == ("not_ready", True)


async def test_systemd_hears_ready_and_a_proof_of_life() -> None:
    async with opened(enrolled=False) as scene, asyncio.timeout(PATIENCE_S):
        heard: set[str] = set()
        while not {"READY=1", "WATCHDOG=1"} <= heard:
            heard.update((await scene.notices.get()).splitlines())


async def test_an_enrolment_for_another_store_is_refused_with_both_names(scene: Scene) -> None:
    with pytest.raises(RpcError) as refused:
        await scene.control("enrol", **(scene.hq.enrolment() | {"store": "other", "partition": partition_of("other")}))
    assert "'other'" in refused.value.detail
    assert "'t1'" in refused.value.detail


async def test_enrolment_brings_the_catalogue_and_opens_the_lanes(scene: Scene) -> None:
    assert await scene.price(scene.item()) == 199


async def test_an_unknown_item_is_named_and_the_lane_goes_on(scene: Scene) -> None:
    stranger = article(ITEMS + 1)
    async with scene.lane() as lane:
        with pytest.raises(RpcError) as refused:
            await lane.lookup(LookupParams(code=stranger.code))
        assert refused.value.code == "unknown_item"
        assert stranger.code in refused.value.detail
        assert (await lane.lookup(LookupParams(code=scene.item().code))).price.amount_minor == 199


@pytest.mark.parametrize(
    ("line", "code"),
    [(b'{"jsonrpc":"2.0","id":1,"method":\n', b"parse_error"), (b"x" * 10_000_000 + b"\n", b"too_large"), (b"[]\n", b"invalid_request")],
    ids=["malformed", "ten megabytes", "batch"],
)
async def test_an_unreadable_line_gets_one_error_and_the_daemon_goes_on(scene: Scene, line: bytes, code: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(scene.directory / "lane.sock")
    try:
        writer.write(line)
        async with asyncio.timeout(PATIENCE_S):
            assert code in await reader.readline()
    finally:
        writer.transport.abort()
    assert await scene.price(scene.item()) == 199


async def test_a_negative_price_is_rejected_with_its_row_and_nothing_changes(scene: Scene) -> None:
    item = scene.item()
    seq = scene.hq.send_prices([item.row(-1, 2)])
    assert "row 0" in (await scene.acked(Stream.PRICE, seq, Stage.REJECTED) or "")
    assert await scene.price(item) == 199


async def test_one_bad_row_rejects_its_whole_batch(scene: Scene) -> None:
    item = scene.item()
    seq = scene.hq.send_prices([item.row(189, 2), scene.item().row("dear", 2)])
    assert "row 1" in (await scene.acked(Stream.PRICE, seq, Stage.REJECTED) or "")
    assert await scene.price(item) == 199


async def test_a_message_lost_on_the_way_is_asked_for_again_and_order_is_kept(scene: Scene) -> None:
    item = scene.item()
    scene.to_lose.add((Stream.PRICE, scene.hq.books.last_seq(Stream.PRICE) + 1))
    lost = scene.hq.send_prices([item.row(189, 2)])
    behind = scene.hq.send_prices([item.row(179, 3)])
    await scene.acked(Stream.PRICE, behind, Stage.APPLIED)
    await scene.acked(Stream.PRICE, lost, Stage.APPLIED)
    assert await scene.price(item) == 179


async def test_a_message_that_hq_did_not_sign_is_counted_and_changes_nothing(scene: Scene) -> None:
    item = scene.item()
    before = (await scene.control("status"))["hq"]["bad_signature"]
    link = MqttLink(MqttAddress(scene.broker.host, scene.broker.port), "intruder")
    async with link.connect() as connection:
        topic = f"rs/1/{partition_of(STORE)}/{STORE}/dn/price"
        await connection.publish(topic, b"v1 demo-1 " + b"A" * 86 + b'\n{"data":{}}')
    await scene.until(lambda status: status["hq"]["bad_signature"] == before + 1)
    assert await scene.price(item) == 199


async def test_an_implausible_price_waits_for_two_persons(scene: Scene) -> None:
    item = scene.item()
    seq = scene.hq.send_prices([item.row(1, 2)])
    await scene.acked(Stream.PRICE, seq, Stage.HELD)
    assert await scene.price(item) == 199
    (hold,) = (each for each in (await scene.control("hold.list"))["holds"] if each["item_id"] == item.sku)
    assert (await scene.control("hold.release", ids=[hold["id"]], person="ann"))["released"] == 0
    assert await scene.price(item) == 199
    assert (await scene.control("hold.release", ids=[hold["id"]], person="bob"))["released"] == 1
    assert await scene.price(item) == 1


async def test_a_missing_serial_port_is_named_and_the_daemon_goes_on(scene: Scene) -> None:
    (radio,) = (await scene.control("radio.list"))["radios"]
    assert radio["state"] == "down"
    assert str(scene.directory / "no-such-port") in radio["last_error"]
    assert await scene.price(scene.item()) == 199


async def test_a_topic_that_the_broker_denies_is_told_and_sales_still_travel() -> None:
    async with opened(enrolled=True) as scene:
        item = scene.item()
        async with scene.lane() as lane:
            quote = await lane.quote(QuoteParams(basket_id="b1", lines=(QuoteLine(line_id="1", quantity=2, code=item.code),)))
            paid = (Tender(type="cash", amount_minor=quote.total_minor),)
            await lane.commit(CommitParams(sale_id="s1", quote_id=quote.quote_id, tenders=paid))
        await scene.control("label.bind", label="0000000000000001", items=[item.sku], by="ann")  # its event goes to the denied topic
        async with asyncio.timeout(PATIENCE_S):
            await scene.hq.until(lambda: "s1" in scene.hq.books.sales)
        status = await scene.until(lambda status: DENIED in (status["hq"]["last_error"] or ""))
        assert status["hq"]["connected"] is True


async def test_after_kill_9_the_lane_gets_its_stored_answer_and_the_sale_is_booked_once() -> None:
    async with opened(enrolled=True) as scene:
        item = scene.item()
        async with scene.lane() as lane:
            quote = await lane.quote(QuoteParams(basket_id="b2", lines=(QuoteLine(line_id="1", quantity=3, code=item.code),)))
            paid = (Tender(type="cash", amount_minor=quote.total_minor),)
            sale = CommitParams(sale_id="s2", quote_id=quote.quote_id, tenders=paid)
            first = await lane.commit(sale)
        scene.daemon.process.send_signal(signal.SIGKILL)
        await scene.daemon.process.wait()
        scene.daemon = await start_daemon(scene.directory)
        async with scene.lane() as lane:
            again = await lane.commit(sale)
            assert (again.up_seq, again.flags) == (first.up_seq, first.flags)
            assert (await lane.status("s2")).state == "recorded"
        assert (await scene.control("stock.list"))["stock"][item.sku] == 7


async def test_a_broker_that_goes_away_is_told_in_one_line_and_lanes_sell_on_until_sigterm() -> None:
    async with opened(enrolled=True) as scene:
        scene.broker.process.terminate()
        await scene.until(lambda status: not status["hq"]["connected"] and bool(status["hq"]["last_error"]))
        assert await scene.price(scene.item()) == 199
        scene.daemon.process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            assert await scene.daemon.process.wait() == 0


async def test_a_second_daemon_on_the_same_directory_does_not_touch_the_store(scene: Scene, tmp_path: Path) -> None:
    other = (scene.directory / "config.toml").read_text().replace(".sock", "-2.sock")  # its sockets are free, its directory is not
    (tmp_path / "config.toml").write_text(other)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", "run", "--config", str(tmp_path / "config.toml"), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 3
    assert f"{scene.directory}/state: another shelfd runs" in said.decode()
    assert await scene.price(scene.item()) == 199


async def test_an_unknown_key_stops_the_start_with_file_key_and_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(dir=tmp_path).replace("state_dir", "state_dri"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", "run", "--config", str(path), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert str(path) in said.decode()
    assert "state_dri" in said.decode()
    assert "state_dir" in said.decode()
