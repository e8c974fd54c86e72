"""REST over real sockets: the lanes' numbers for kiosks, files and rows, tokens, and everything that a peer could stretch."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import rest
from edge.clock import entropy
from edge.config import StoreConfig, TaxMode
from edge.opening_hours import ALWAYS_OPEN
from edge.rest import RestServer
from edge.rest_desk import RestDesk
from edge.rest_rate import Rates
from edge.rest_routes import ROUTES, BadTarget, Found, NoRoute, document, find
from edge.store import tokens
from edge.store.tokens import Scope
from edge.view import Delta
from protocols.pos import LookupParams
from tests.edge.import_bench import bring, desk_of
from tests.edge.shop import L1, MILK, MILK_CODE, Shop, context

CATALOGUE = f"sku,name,price,gtin,stock,brand,attribute:allergens\nmilk,Milk,1.00,{MILK_CODE},5,Acme,Milk\nsoap,Soap,3.00,,,,\n"
POST = b"POST /v1/imports HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer TOKEN\r\n"
STORE = StoreConfig("demo-01", "Corner", "DE", "de-DE", "EUR", 2, None, ZoneInfo("Europe/Berlin"), TaxMode.INCLUSIVE, ALWAYS_OPEN, 240)
PATIENCE_S = 30.0


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A server on a Unix socket and on loopback, with its store and a token of each scope."""

    shop: Shop
    server: RestServer
    socket: Path
    port: int
    clock: list[float] = field(default_factory=lambda: [0.0])
    read: str = ""
    bring: str = ""

    async def open(self, *, tcp: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await (asyncio.open_connection("127.0.0.1", self.port) if tcp else asyncio.open_unix_connection(str(self.socket)))

    async def raw(self, data: bytes, *, tcp: bool = False) -> Reply:
        """Send bytes; one answer."""
        reader, writer = await self.open(tcp=tcp)
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(data)
                return await reply(reader)
        finally:
            writer.close()

    async def ask(self, method: str, target: str, token: str | None = None, body: bytes | None = None, **headers: str) -> Reply:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"Authorization: Bearer {token}"] if token else []
        lines += [f"Content-Length: {len(body)}"] if body is not None else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return await self.raw("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    async def get(self, target: str) -> Reply:
        return await self.ask("GET", target, self.read)

    async def post(self, target: str, body: bytes, media_type: str = "text/csv") -> Reply:
        return await self.ask("POST", target, self.bring, body, Content_Type=media_type)


async def reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    if head[0].split()[1] == "100":
        return Reply(100, headers, b"")
    return Reply(int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    shop = Shop(tmp_path, context_=context(prices_from_hq=False))
    shop.open()
    await bring(shop, CATALOGUE)
    clock = [0.0]
    server = RestServer(RestDesk(shop.store, shop.desk, desk_of(shop), STORE, tmp_path), 20.0, lambda: clock[0])
    path = tmp_path / "rest.sock"
    unix = await asyncio.start_unix_server(server.connected, str(path), limit=rest.READ_BYTES)
    tcp = await asyncio.start_server(server.connected, "127.0.0.1", 0, limit=rest.READ_BYTES)
    found = Site(shop, server, path, tcp.sockets[0].getsockname()[1], clock)
    for name, scope in (("read", Scope.READ), ("bring", Scope.IMPORT)):
        stamp, random = shop.store.stamp(), entropy(tokens.ENTROPY_BYTES)
        add = tokens.add
        text = await shop.store.run(lambda db: (add(db, stamp, name, frozenset({scope}), "t", random), Delta()))  # noqa: B023
        setattr(found, name, text)
    yield found
    for each in (unix, tcp):
        each.close()
    await unix.wait_closed()
    await tcp.wait_closed()
    shop.close()


# -- what it says ----------------------------------------------------------------------------------------------------------


async def test_a_kiosk_gets_the_price_that_the_lane_charges(site: Site) -> None:
    shop = site.shop
    await shop.heard(L1)
    await shop.bind(L1, MILK)
    await shop.shows(L1, MILK, 100)
    await bring(shop, "sku,price\nmilk,1.20\n")
    lane = shop.desk.lookup("lane-1", LookupParams(item_id="milk"))
    for target in ("/v1/items/milk", f"/v1/lookup?code={MILK_CODE}"):
        answer = (await site.get(target)).json()
        assert answer["price"]["amount_minor"] == lane.price.amount_minor == 100
        assert answer["price"]["guard"] == "shelf_lower"
        assert answer["availability"] == {"state": "in", "on_hand": 5, "available": 5, "unit": "each"}
        assert (answer["name"], answer["brand"], answer["code"]) == ("Milk", "Acme", MILK_CODE.zfill(14))
        assert answer["attributes"] == {"allergens": "Milk"}
    assert (await site.get("/v1/items/milk?quantity=3")).json()["price"]["amount_minor"] == 300
    assert (await site.get("/v1/items/milk?quantity=3&member=true")).status == 400
    store = (await site.get("/v1/store")).json()
    assert (store["store"], store["currency"], store["ready"]) == ("demo-01", "EUR", True)


async def test_an_item_without_a_price_has_none_and_what_is_not_sold_is_not_there(site: Site) -> None:
    await bring(site.shop, "sku,name\nnews,News\n")
    assert (await site.get("/v1/items/news")).json()["price"] is None
    for target in ("/v1/items/nope", "/v1/lookup?code=4002359001116", "/v1/imports/x", "/v2/items/milk", "/v1/items"):
        token = site.bring if "imports" in target else site.read
        answer = await site.ask("GET", target, token)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_files_and_rows_come_over_rest_as_by_command(site: Site) -> None:
    done = await site.post("/v1/imports?name=a.csv", b"sku,price\nmilk,1.10\n")
    assert (done.status, done.json()["state"], done.json()["changed"]) == (200, "done", 1)
    assert (await site.post("/v1/imports?name=b.csv", b"sku,price\nmilk,1.10\n")).json()["state"] == "same"
    rows = json.dumps([{"sku": "milk", "price": 1.15}]).encode()
    assert (await site.post("/v1/imports", rows, "application/json")).json()["state"] == "done"
    assert site.shop.charge(MILK) == 115
    again = (await site.ask("GET", f"/v1/imports/{done.json()['import_id']}", site.bring)).json()
    assert (again["state"], again["name"]) == ("done", "a.csv")
    assert site.shop.value("SELECT actor FROM audit WHERE what = 'file.imported' ORDER BY entry_id DESC") == "token bring"
    bad = await site.post("/v1/imports", b"sku,price\nmilk,x\ncaviar,1\n")
    assert (bad.status, [each["line"] for each in bad.json()["mistakes"]]) == (422, [2, 3])
    assert (await site.post("/v1/imports?dry_run=true", b"sku,price\nmilk,9\n")).json()["state"] == "checked"
    assert (await site.post("/v1/imports?feed=nope", b"x")).status == 409


async def test_a_held_file_is_answered_202(site: Site) -> None:
    await bring(site.shop, "sku,name,price\n" + "".join(f"i{n},N,1.00\n" for n in range(50)))
    held = await site.post("/v1/imports?mode=full", b"sku\nmilk\n")
    assert (held.status, held.json()["state"], held.json()["persons_needed"]) == (202, "held", 1)


async def test_several_requests_go_over_one_connection_and_a_body_in_chunks_is_read(site: Site) -> None:
    reader, writer = await site.open(tcp=True)
    head = f"GET /v1/items/milk HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nAuthorization: bearer {site.read}\r\n\r\n"
    writer.write(head.encode() * 3)
    for _ in range(3):
        assert (await reply(reader)).status == 200
    chunked = f"POST /v1/imports HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.bring}\r\nContent-Type: text/csv\r\n"
    writer.write(f"{chunked}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode())
    assert (await reply(reader)).status == 100
    writer.write(b"a\r\nsku,price\n\r\na\r\nmilk,1.11\n\r\n0\r\n\r\n")
    assert (await reply(reader)).json()["state"] == "done"
    writer.close()


# -- who may ---------------------------------------------------------------------------------------------------------------


async def test_without_a_token_that_is_in_use_nothing_is_said(site: Site) -> None:
    for token in (None, "x", site.read[:-1] + "_", "shelfd_00000000_" + "A" * 43):
        answer = await site.ask("GET", "/v1/items/milk", token)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="shelfd"')
    stamp = site.shop.store.stamp()
    await site.shop.store.run(lambda db: (tokens.revoke(db, stamp, "read", "t"), Delta()))
    assert (await site.get("/v1/items/milk")).status == 401


async def test_a_token_does_what_its_scope_says_and_no_more(site: Site) -> None:
    assert (await site.ask("GET", "/v1/items/milk", site.bring)).status == 403
    assert (await site.ask("POST", "/v1/imports", site.read, b"sku\n", Content_Type="text/csv")).status == 403
    assert site.shop.value("SELECT count(*) FROM import_file") == 1


async def test_each_token_has_its_rate_and_strangers_share_one(site: Site) -> None:
    statuses = [(await site.get("/v1/store")).status for _ in range(101)]
    assert statuses == [200] * 100 + [429]
    assert (await site.ask("GET", f"/v1/imports/{'x' * 9}", site.bring)).status == 404
    strangers = [(await site.ask("GET", "/v1/store")).status for _ in range(101)]
    assert strangers == [401] * 100 + [429]
    site.clock[0] += 0.05
    assert (await site.get("/v1/store")).status == 200


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 2)), max_size=200))
def test_no_key_gets_more_than_its_rate_and_its_burst(asks: list[tuple[str, float]]) -> None:
    clock = [0.0]
    rates, taken = Rates(10.0, lambda: clock[0]), {"a": 0, "b": 0}
    for key, pause_s in asks:
        clock[0] += pause_s
        taken[key] += rates.take(key)
    assert all(count <= 50 + clock[0] * 10 + 1e-6 for count in taken.values())


async def test_another_host_and_a_browsers_preflight_are_refused_on_tcp(site: Site) -> None:
    head = f"GET /v1/store HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {site.read}\r\n\r\n".encode()
    assert (await site.raw(head, tcp=True)).status == 421
    preflight = b"OPTIONS /v1/store HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n"
    answer = await site.raw(preflight, tcp=True)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert not any(name.startswith("access-control") for name in answer.headers)


# -- bounds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/items/%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /v1/lookup HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /v1/store?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (POST + b"Content-Type: text/csv\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (POST + b"Content-Type: text/html\r\nContent-Length: 1\r\n\r\n1", 415),
        (b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1", 413),
    ],
)
async def test_what_is_too_much_or_no_http_gets_a_problem(site: Site, data: bytes, status: int) -> None:
    answer = await site.raw(data.replace(b"TOKEN", site.bring.encode()))
    problem = answer.json()
    assert (answer.status, problem["status"], problem["type"]) == (status, status, f"urn:shelfd:problem:{problem['code']}")


async def test_a_body_that_grows_past_its_bound_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "FILE_BYTES_MAX", 1000)
    head = f"POST /v1/imports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.bring}\r\nContent-Type: text/csv\r\n"
    body = b"3e8\r\n" + b"a" * 1000 + b"\r\n1\r\na\r\n"
    assert (await site.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body)).status == 413


async def test_a_peer_that_sends_nothing_or_slowly_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "HEAD_DEADLINE_S", 0.05)
    monkeypatch.setattr(rest, "BODY_SILENCE_S", 0.05)
    reader, writer = await site.open()
    writer.write(b"GET /v1/store HTTP/1.1\r\nHost: ")
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""
    writer.close()
    slow = POST.replace(b"TOKEN", site.bring.encode()) + b"Content-Type: text/csv\r\nContent-Length: 9\r\n\r\nsku"
    assert (await site.raw(slow)).status == 408
    assert site.shop.value("SELECT count(*) FROM import_file") == 1


async def test_connections_are_bounded_and_one_that_ends_makes_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "CONNECTIONS_MAX", 2)
    held = [await site.open() for _ in range(2)]
    for reader, writer in held:
        writer.write(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reply(reader)).status == 200
    assert (await site.raw(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")).status == 503
    held[0][1].close()
    while site.server._open > 1:  # noqa: ASYNC110 - the server's turns are waited for, not time
        await asyncio.sleep(0)
    assert (await site.raw(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
    held[1][1].close()


@given(st.sampled_from(["GET", "POST", "PUT", ""]), st.text(max_size=60))
def test_any_target_is_found_or_refused_in_words(method: str, target: str) -> None:
    for text in (target, f"/v1/items/{target}", f"/v1/lookup?code={target}", f"/v1/imports?{target}"):
        try:
            found: Found | None = find(method, text)
        except (BadTarget, NoRoute):
            found = None
        assert found is None or found.route.method == method


async def test_a_head_request_is_answered_without_a_body(site: Site) -> None:
    reader, writer = await site.open()
    writer.write(b"HEAD /v1/store HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        text = await reader.read()
    writer.close()
    assert text.startswith(b"HTTP/1.1 405 ")
    assert text.endswith(b"\r\n\r\n")


async def test_a_body_that_the_disk_does_not_take_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(site.server.desk, "spool", Full)
    answer = await site.post("/v1/imports", b"sku,price\nmilk,1.20\n")
    assert (answer.status, answer.json()["code"], site.shop.charge(MILK)) == (507, "no_room", 100)


# -- the document ----------------------------------------------------------------------------------------------------------


def test_the_document_that_is_committed_is_made_from_the_routes_and_types(project_root: Path) -> None:
    kept = json.loads((project_root / "docs" / "reference" / "rest" / "openapi.json").read_text())
    assert kept == json.loads(msgspec.json.encode(document())), "run tests/edge/make_openapi.py"


async def test_what_is_answered_keeps_to_the_document(site: Site) -> None:
    kept = (await site.ask("GET", "/v1/openapi.json")).json()
    assert kept["openapi"] == "3.1.0"
    assert {(path, method.upper()) for path, methods in kept["paths"].items() for method in methods} == {
        (route.path, route.method) for route in ROUTES
    }
    asked = {
        ("/v1/store", "get"): site.get("/v1/store"),
        ("/v1/items/{item_id}", "get"): site.get("/v1/items/milk"),
        ("/v1/lookup", "get"): site.get(f"/v1/lookup?code={MILK_CODE}"),
        ("/v1/imports", "post"): site.post("/v1/imports", b"sku,price\nmilk,x\n"),
        ("/v1/imports/{import_id}", "get"): site.ask("GET", "/v1/imports/nope", site.bring),
    }
    for (path, method), asking in asked.items():
        answer = await asking
        content = kept["paths"][path][method]["responses"][str(answer.status)]["content"][answer.headers["content-type"]]
        schema = content["schema"] | {"components": kept["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


@pytest.mark.parametrize(
    ("path", "target", "more", "status"),
    [
        ("/v1/imports", "/v1/imports?feed=nope", b"Content-Type: text/csv\r\nContent-Length: 1\r\n\r\nx", 409),
        ("/v1/imports", "/v1/imports", b"Content-Type: text/csv\r\nTransfer-Encoding: gzip\r\n\r\nx", 501),
        ("/v1/imports", "/v1/imports", b"Content-Type: text/html\r\nContent-Length: 1\r\n\r\nx", 415),
        ("/v1/store", "/v1/store", b"Content-Length: 1\r\n\r\nx", 413),
        ("/v1/store", "/v1/store?x=1", b"\r\n", 400),
    ],
)
async def test_every_refusal_is_one_that_the_document_has(site: Site, path: str, target: str, more: bytes, status: int) -> None:
    method, token = ("post", site.bring) if path == "/v1/imports" else ("get", site.read)
    head = f"{method.upper()} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    assert (await site.raw(head.encode() + more)).status == status
    assert str(status) in document()["paths"][path][method]["responses"]
