"""Lanes on the LAN: TLS 1.3, a certificate for each till, and nothing for anybody else. Real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge import lane_tls, rpc_tls
from edge.lane_tls import AUTHORITY, LANES, LISTENER, CertificateTrouble, LaneFiles, add_lane, client_context, fingerprint, server_context
from edge.pos import LaneServer
from edge.rpc import ConnectionLimiter, Drop, ListenError, RpcHooks
from edge.rpc_tls import TlsListen, TlsServer
from protocols.jsonrpc import encode_request
from tests.edge.test_pos_server import PEN, Desk

HERE = "127.0.0.1"


@dataclass
class Store:
    folder: Path
    files: dict[str, LaneFiles]
    desk: Desk = field(default_factory=Desk)
    drops: list[Drop] = field(default_factory=list)
    fatal: list[BaseException] = field(default_factory=list)
    dropped: asyncio.Event = field(default_factory=asyncio.Event)
    server: LaneServer = field(init=False)

    async def start(self) -> None:
        known = {fingerprint(self.folder, lane): lane for lane in self.files}
        listen = TlsListen(HERE, 0, server_context(self.folder), known)
        hooks = RpcHooks(self.fatal.append, on_drop=self._drop)
        self.server = LaneServer(self.desk, (), limiter=ConnectionLimiter(), hooks=hooks, clock=lambda: 0.0, tls=[listen])
        await self.server.start()

    def _drop(self, listener: str, why: Drop) -> None:
        self.drops.append(why)
        self.dropped.set()

    @property
    def port(self) -> int:
        (server,) = self.server._servers
        assert isinstance(server, TlsServer)
        return server.port

    async def till(self, lane: str) -> Till:
        return Till(*await asyncio.open_connection(HERE, self.port, ssl=client_context(self.files[lane])))


@dataclass
class Till:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.writer.write(encode_request(1, method, params))
        answer: dict[str, Any] = json.loads(await self.reader.readline())
        return answer

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, LaneFiles]]:
    """An authority with two lanes. Making keys takes a moment, so they are made once."""
    folder = tmp_path_factory.mktemp("tls")
    return folder, {lane: add_lane(folder, lane, "367", [HERE]) for lane in ("1", "2")}


@pytest.fixture
async def store(made: tuple[Path, dict[str, LaneFiles]]) -> AsyncIterator[Store]:
    store = Store(*made)
    await store.start()
    yield store
    await store.server.close(grace_s=0)
    assert store.fatal == []


async def test_the_certificate_says_which_lane_asks(store: Store) -> None:
    for lane in ("2", "1"):
        till = await store.till(lane)
        assert (await till.call("hello", lane=lane))["result"]["lane"] == lane
        assert (await till.call("item.lookup", code=PEN))["result"]["item_id"] == PEN
        assert store.server.connections == {"1": int(lane == "1"), "2": int(lane == "2")}
        tls: ssl.SSLObject = till.writer.get_extra_info("ssl_object")
        assert tls.version() == "TLSv1.3"
        await till.close()
        await _until(lambda: not any(store.server.connections.values()))
    assert store.desk.asked_by == ["2", "1"]


async def test_a_till_cannot_call_itself_another_lane(store: Store) -> None:
    till = await store.till("1")
    assert (await till.call("hello", lane="2"))["error"]["message"] == "lane_mismatch"
    assert (await till.call("item.lookup", code=PEN))["error"]["message"] == "hello_required"
    await till.close()


async def test_a_basket_of_500_lines_crosses_in_one_piece(store: Store) -> None:
    till = await store.till("1")
    await till.call("hello", lane="1")
    lines = [{"line_id": f"line-{n}", "code": PEN, "quantity": 3} for n in range(500)]
    till.writer.write(encode_request(2, "basket.quote", {"basket_id": "b", "lines": lines}))
    answer = json.loads(await _line(till.reader))
    assert len(answer["result"]["lines"]) == 500
    await till.close()


async def test_one_byte_at_a_time_is_a_call_like_any_other(store: Store) -> None:
    till = await store.till("1")
    for byte in encode_request(1, "hello", {"lane": "1"}):
        till.writer.write(bytes([byte]))
        await till.writer.drain()
    assert json.loads(await till.reader.readline())["result"]["lane"] == "1"
    await till.close()


async def test_a_fifth_connection_of_a_lane_is_refused_and_other_lanes_are_not(store: Store) -> None:
    tills = [await store.till("1") for _ in range(4)]
    for till in tills:
        await till.call("hello", lane="1")
    fifth = await store.till("1")
    assert json.loads(await fifth.reader.readline())["error"]["message"] == "busy"
    other = await store.till("2")
    assert "result" in await other.call("hello", lane="2")
    for till in (*tills, fifth, other):
        await till.close()


async def test_who_has_no_certificate_of_the_store_gets_nothing(store: Store, tmp_path: Path) -> None:
    stranger = add_lane(tmp_path, "1", "367", [HERE])
    naked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    naked.load_verify_locations(store.folder / f"{AUTHORITY}.crt")
    foreign = client_context(stranger)
    foreign.load_verify_locations(store.folder / f"{AUTHORITY}.crt")
    for context in (naked, foreign):
        store.dropped.clear()
        with contextlib.suppress(OSError, ssl.SSLError):  # TLS 1.3: the client may hear of it only when it reads
            till = Till(*await asyncio.open_connection(HERE, store.port, ssl=context))
            try:
                till.writer.write(encode_request(1, "hello", {"lane": "1"}))
                assert await till.reader.read() == b""
            finally:
                await till.close()
        await store.dropped.wait()
    assert set(store.drops) == {Drop.FORBIDDEN}
    assert not any(store.server.connections.values())


async def test_a_certificate_that_was_replaced_is_forbidden(tmp_path: Path) -> None:
    old = add_lane(tmp_path, "1", "367", [HERE])
    kept = LaneFiles(tmp_path / "old.crt", tmp_path / "old.key", old.authority)
    kept.certificate.write_bytes(old.certificate.read_bytes())
    kept.key.write_bytes(old.key.read_bytes())
    new = add_lane(tmp_path, "1", "367", [HERE], replace=True)
    store = Store(tmp_path, {"1": new})
    await store.start()
    replaced = Till(*await asyncio.open_connection(HERE, store.port, ssl=client_context(kept)))
    assert json.loads(await replaced.reader.readline())["error"]["message"] == "forbidden"
    await replaced.close()
    till = await store.till("1")
    assert "result" in await till.call("hello", lane="1")
    await till.close()
    await store.server.close(grace_s=0)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b'{"jsonrpc":"2.0","id":1,"method":"hello"}\n', b"\x16\x03\x01\xff\xff"])
async def test_what_is_no_tls_is_dropped(store: Store, noise: bytes) -> None:
    till = Till(*await asyncio.open_connection(HERE, store.port))
    till.writer.write(noise)
    till.writer.write_eof()
    with contextlib.suppress(ConnectionResetError):
        await till.reader.read()
    await store.dropped.wait()
    await till.close()


async def test_an_older_tls_is_refused(store: Store) -> None:
    context = client_context(store.files["1"])
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection(HERE, store.port, ssl=context)


async def test_strangers_that_say_nothing_are_few(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_tls, "HANDSHAKES_MAX", 2)
    silent = [socket.create_connection((HERE, store.port)) for _ in range(3)]
    await store.dropped.wait()
    assert store.drops == [Drop.BUSY]
    for each in silent:
        each.close()


async def test_an_address_that_is_not_ours_is_an_error_at_the_start(made: tuple[Path, dict[str, LaneFiles]]) -> None:
    listen = TlsListen("192.0.2.1", 7443, server_context(made[0]), {})
    server = LaneServer(Desk(), (), limiter=ConnectionLimiter(), hooks=RpcHooks(print), clock=lambda: 0.0, tls=[listen])
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:7443"):
        await server.start()


async def test_the_close_of_a_server_ends_its_connections(store: Store) -> None:
    till = await store.till("1")
    await till.call("hello", lane="1")
    await store.server.close()
    assert await till.reader.read() == b""
    await till.close()


# -- certificates ----------------------------------------------------------------------------------------------------------


def test_keys_are_their_owners_only(made: tuple[Path, dict[str, LaneFiles]]) -> None:
    folder, files = made
    for key in (folder / f"{AUTHORITY}.key", folder / f"{LISTENER}.key", files["1"].key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_second_certificate_for_a_lane_must_be_asked_for(tmp_path: Path) -> None:
    add_lane(tmp_path, "1", "367", [HERE])
    first = fingerprint(tmp_path, "1")
    with pytest.raises(CertificateTrouble, match="--replace"):
        add_lane(tmp_path, "1", "367", [HERE])
    authority = (tmp_path / f"{AUTHORITY}.crt").read_bytes()
    add_lane(tmp_path, "1", "367", [HERE], replace=True)
    assert fingerprint(tmp_path, "1") != first
    assert (tmp_path / f"{AUTHORITY}.crt").read_bytes() == authority


def test_the_listeners_certificate_is_made_anew_only_for_a_new_address(tmp_path: Path) -> None:
    add_lane(tmp_path, "1", "367", [HERE, "::1"])
    first = (tmp_path / f"{LISTENER}.crt").read_bytes()
    add_lane(tmp_path, "2", "367", ["::1"])
    assert (tmp_path / f"{LISTENER}.crt").read_bytes() == first
    add_lane(tmp_path, "3", "367", [HERE, "10.0.0.5"])
    assert (tmp_path / f"{LISTENER}.crt").read_bytes() != first


def test_the_listeners_certificate_is_made_anew_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tills get new certificates every two years; the listener's must not end behind everybody's back."""
    monkeypatch.setattr(lane_tls, "CERTIFICATE_DAYS", 30)
    add_lane(tmp_path, "1", "367", [HERE])
    first = (tmp_path / f"{LISTENER}.crt").read_bytes()
    monkeypatch.undo()
    add_lane(tmp_path, "1", "367", [HERE], replace=True)
    assert (tmp_path / f"{LISTENER}.crt").read_bytes() != first
    (tmp_path / f"{LISTENER}.crt").write_text("spoilt")
    with pytest.raises(CertificateTrouble, match="not the listener's certificate"):
        add_lane(tmp_path, "2", "367", [HERE])


@pytest.mark.parametrize("missing", [f"{AUTHORITY}.key", f"{AUTHORITY}.crt"])
def test_half_an_authority_is_said_so(tmp_path: Path, missing: str) -> None:
    add_lane(tmp_path, "1", "367", [HERE])
    (tmp_path / missing).unlink()
    with pytest.raises(CertificateTrouble, match="only one is there"):
        add_lane(tmp_path, "2", "367", [HERE])


def test_missing_or_spoilt_files_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(CertificateTrouble, match="shelfd lane add"):
        server_context(tmp_path)
    with pytest.raises(CertificateTrouble, match="shelfd lane add 7"):
        fingerprint(tmp_path, "7")
    (tmp_path / LANES).mkdir()
    (tmp_path / LANES / "7.crt").write_text("spoilt")
    with pytest.raises(CertificateTrouble):
        fingerprint(tmp_path, "7")
    for name in (f"{LISTENER}.crt", f"{LISTENER}.key", f"{AUTHORITY}.crt", f"{AUTHORITY}.key"):
        (tmp_path / name).write_text("spoilt")
    with pytest.raises(CertificateTrouble):
        server_context(tmp_path)
    with pytest.raises(CertificateTrouble):
        add_lane(tmp_path, "8", "367", [HERE])


async def _line(reader: asyncio.StreamReader) -> bytes:
    """A line longer than the reader's own limit."""
    found = b""
    while not found.endswith(b"\n"):
        found += await reader.read(65536)
    return found


async def _until(happened: Any) -> None:
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not happen")
