"""`shelfd hq init` and what it hands out: keys, certificates and rights, held against real brokers with the very files that it writes."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.brokers import HOST, Process, nats_path, wait_for_port
from drivers import mqtt
from drivers.mqtt import Connection, LinkLost, MqttAddress, MqttLink, PublishRefused
from edge.cli import main
from edge.demo.broker import free_port, mosquitto_path
from edge.head_office.broker_files import nats_users
from edge.head_office.folder import BROKER_FOLDER, STORE_FOLDER
from edge.hq import broker_address
from protocols.hq import partition_of
from protocols.hq_enrol import parse_enrolment

WAIT_S = 10.0  # only a failing test waits this long
STORES = ("berlin-7", "hamburg-2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A head office with two stores."""
    made = tmp_path / "hq"
    assert main(["hq", "init", str(made), "--broker", "127.0.0.1", "--broker", "localhost"]) == 0
    for store in STORES:
        assert main(["hq", "store", "add", store, "--dir", str(made)]) == 0
    return made


def test_secrets_are_for_their_owner_alone(folder: Path) -> None:
    secret = [*folder.rglob("*.key"), *folder.rglob("key.pem"), *folder.rglob("enrolment.json"), folder / "hq.toml"]
    assert len(secret) == 4 + 2 + 2 + 1
    for path in secret:
        assert path.stat().st_mode & 0o077 == 0, path


def test_what_is_there_is_not_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.startswith("hq.db")}
    assert main(["hq", "init", str(folder), "--broker", "127.0.0.1"]) == 2
    assert main(["hq", "store", "add", STORES[0], "--dir", str(folder)]) == 2
    assert main(["hq", "key", "add", "hq-1", "--dir", str(folder)]) == 2
    assert capsys.readouterr().err.count("is there already") == 3
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("name", ["hq", "zone", "a/b", "a b", "#", "x" * 33])
def test_a_store_whose_name_would_bend_the_topics_is_refused(folder: Path, name: str) -> None:
    assert main(["hq", "store", "add", name, "--dir", str(folder)]) == 2


def test_an_enrolment_names_what_lies_beside_it_and_every_key(folder: Path) -> None:
    assert main(["hq", "key", "add", "hq-2", "--dir", str(folder)]) == 0
    assert main(["hq", "store", "add", STORES[0], "--replace", "--dir", str(folder)]) == 0
    made = folder / "stores" / STORES[0]
    enrolment = parse_enrolment((made / "enrolment.json").read_bytes())
    for path in (enrolment.broker.ca, enrolment.broker.certificate, enrolment.broker.key):
        assert path is not None
        assert (made / Path(path).relative_to(STORE_FOLDER)).exists()
    assert list(enrolment.keys) == ["hq-1", "hq-2"]
    assert (enrolment.store, enrolment.topics.partition) == (STORES[0], partition_of(STORES[0]))


def test_a_folder_that_was_never_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hq", "status", "--dir", str(tmp_path)]) == 2
    assert "see: shelfd hq init" in capsys.readouterr().err


def test_a_bad_setting_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = folder / "hq.toml"
    settings.write_text(settings.read_text().replace("[hq]\n", '[hq]\ncolour = "red"\n'))
    assert main(["hq", "status", "--dir", str(folder)]) == 2
    assert "colour" in capsys.readouterr().err


def test_publishing_says_where_it_went_and_what_is_wrong_with_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items, prices, bad = folder / "items.csv", folder / "prices.csv", folder / "bad.json"
    items.write_text("sku,name,price\n1,Milk,1.09\n")
    prices.write_text("sku,price\n1,0.99\n")
    bad.write_text('{"type": "price.batch.v1", "data": {"rows": [{}]}}')
    capsys.readouterr()
    assert main(["hq", "publish", str(items), "--snapshot", "--dir", str(folder)]) == 0
    assert main(["hq", "publish", str(prices), "--store", STORES[0], "--dir", str(folder)]) == 0
    assert main(["hq", "publish", "--snapshot", "--store", STORES[1], "--dir", str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{STORES[0]} bulk 1-2", f"{STORES[1]} bulk 1-2", f"{STORES[0]} price 1-1", f"{STORES[1]} bulk 3-4"]
    assert main(["hq", "publish", str(bad), "--dir", str(folder)]) == 2
    assert main(["hq", "publish", "--dir", str(folder)]) == 2
    assert main(["hq", "publish", str(prices), "--store", "nobody", "--dir", str(folder)]) == 1
    complaints = capsys.readouterr().err.splitlines()
    assert "bad.json: entry 0: row 0" in complaints[0]
    assert "expected FILE" in complaints[1]
    assert "no store nobody" in complaints[2]


def test_a_restored_database_begins_a_new_log_with_every_catalogue(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = folder / "items.csv"
    items.write_text("sku,name,price\n1,Milk,1.09\n")
    assert main(["hq", "publish", str(items), "--snapshot", "--dir", str(folder)]) == 0
    assert main(["hq", "restored", "--dir", str(folder)]) == 0
    capsys.readouterr()
    assert main(["hq", "status", "--dir", str(folder)]) == 0
    assert main(["hq", "store", "list", "--dir", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "nobody works" in told
    assert STORES[0] in told


# -- rights, at the brokers


@contextmanager
def _mosquitto(folder: Path, work: Path) -> Iterator[int]:
    path = mosquitto_path()
    assert path is not None
    port, config = free_port(), work / "mosquitto.conf"
    text = (folder / "broker" / "mosquitto.conf").read_text().replace(BROKER_FOLDER, str(folder / "broker"))
    config.write_text(
        text.replace("listener 8883", f"listener {port} {HOST}") + f"user root\npersistence_location {work}/\nlog_dest stderr\n"
    )
    with _running(Process([path, "-c", str(config)], work / "log"), port):
        yield port


@contextmanager
def _nats(folder: Path, work: Path, plain_port: int | None = None, node_port: int | None = None) -> Iterator[int]:
    """With `node_port`: as a node of a cluster that nobody else is in."""
    port, config = free_port(), work / "nats.conf"
    text = (folder / "broker" / "nats.conf").read_text().replace(BROKER_FOLDER, str(folder / "broker"))
    if node_port is None:  # one node has nobody to agree with
        text = re.sub(r"cluster \{.*?\n\}\n", "", text, flags=re.DOTALL)
    else:
        text = re.sub(r"hq-[23]:6222", f"{HOST}:1", text).replace("0.0.0.0:6222", f"{HOST}:{node_port}")
    text = text.replace("127.0.0.1:4222", f"{HOST}:{plain_port or free_port()}").replace("0.0.0.0:8883", f"{HOST}:{port}")
    # an included path is relative to the file that includes it
    users = (folder / "broker" / "nats-users.conf").read_text()
    text = re.sub(r'include "[^"]*"', users.replace("\\", "\\\\"), text)
    config.write_text(text.replace("/var/lib/nats", str(work / "data")))
    with _running(Process([nats_path(), "-c", str(config)], work / "log"), node_port or port):
        yield port


@contextmanager
def _running(process: Process, port: int) -> Iterator[None]:
    try:
        process.start()
        wait_for_port(port, process)
        yield
    finally:
        process.stop()


BROKERS = pytest.mark.parametrize("start", [_mosquitto, _nats], ids=["mosquitto", "nats"])
StartBroker = Callable[[Path, Path], object]


def _as_store(folder: Path, store: str, port: int) -> MqttAddress:
    made = folder / "stores" / store
    return MqttAddress(HOST, port, tls=True, ca=f"{made}/ca.pem", certificate=f"{made}/certificate.pem", key=f"{made}/key.pem")


def _as_hq(folder: Path, port: int) -> MqttAddress:
    ca = folder / "ca"
    return MqttAddress(HOST, port, tls=True, ca=f"{ca}/authority.crt", certificate=f"{ca}/hq.crt", key=f"{ca}/hq.key")


async def _next(connection: Connection) -> tuple[str, bytes]:
    async with asyncio.timeout(WAIT_S):
        received = await connection.receive()
        connection.ack(received)
        return received.topic, received.payload


@BROKERS
async def test_a_store_reads_its_own_and_writes_its_own_and_nothing_else(folder: Path, tmp_path: Path, start: StartBroker) -> None:
    own, foreign = (f"rs/1/{partition_of(store)}/{store}" for store in STORES)
    with start(folder, tmp_path) as port:  # type: ignore[attr-defined]
        store = MqttLink(_as_store(folder, STORES[0], port), f"{STORES[0]}-hq")
        async with MqttLink(_as_hq(folder, port), "hq-00").connect() as office, store.connect() as connection:
            await office.subscribe("rs/1/#")
            for topic in (f"{own}/dn/#", "rs/1/zone/north/bulk", "rs/1/hq/state"):
                await connection.subscribe(topic)
            with suppress(LinkLost):
                await connection.subscribe(f"{foreign}/dn/#")  # granted in words by one broker, refused by the other: it brings nothing
            for topic in (f"{foreign}/dn/price", f"{own}/dn/price", "rs/1/zone/north/bulk", "rs/1/hq/state"):
                await office.publish(topic, topic.encode())
                assert (await _next(office))[0] == topic
            heard = [(await _next(connection))[0] for _ in range(3)]
            assert heard == [f"{own}/dn/price", "rs/1/zone/north/bulk", "rs/1/hq/state"]
            await connection.publish(f"{own}/up/sale", b"sold")
            assert await _next(office) == (f"{own}/up/sale", b"sold")
            for topic in (f"{foreign}/up/sale", f"{own}/dn/price", "rs/1/hq/state"):
                with suppress(PublishRefused, LinkLost):
                    await connection.publish(topic, b"forged")
            await office.publish("rs/1/99/end", b"end")
            assert await _next(office) == ("rs/1/99/end", b"end")


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")  # paho leaves a failed handshake's socket to the collector
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@BROKERS
async def test_a_client_without_a_certificate_of_ours_is_not_let_in(
    folder: Path, tmp_path: Path, start: StartBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_TIMEOUT_S", 1)  # TLS 1.3 refuses after the handshake: the client waits for an answer that never comes
    other = tmp_path / "other"
    assert main(["hq", "init", str(other), "--broker", "127.0.0.1"]) == 0
    assert main(["hq", "store", "add", STORES[0], "--dir", str(other)]) == 0
    made = other / "stores" / STORES[0]
    ours = f"{folder}/ca/authority.crt"
    with start(folder, tmp_path) as port:  # type: ignore[attr-defined]
        for address in (
            MqttAddress(HOST, port, tls=True, ca=ours),
            MqttAddress(HOST, port, tls=True, ca=ours, certificate=f"{made}/certificate.pem", key=f"{made}/key.pem"),
        ):
            with pytest.raises(LinkLost):
                async with MqttLink(address, "store-hq").connect() as connection:
                    await connection.publish("rs/1/00/x/up/sale", b"x")
            gc.collect()  # here, where its warning is expected


def _greet(port: int, **who: object) -> str:
    """What NATS says to a client, or to a node, that says who it is without any TLS."""
    with socket.create_connection((HOST, port), WAIT_S) as connection, connection.makefile("rb") as answers:
        assert answers.readline().startswith(b"INFO")
        connection.sendall(b"CONNECT " + json.dumps({"verbose": True, **who}).encode() + b"\r\nPING\r\n")
        return answers.readline().decode()


def test_nobody_on_the_brokers_machine_is_head_office_by_saying_so(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    with _nats(folder, tmp_path, plain_port=port):
        for name in ("CN=hq", f"CN={STORES[0]}"):
            assert _greet(port, user=name, **{"pass": ""}).startswith("-ERR")


def test_a_node_that_does_not_know_the_others_secret_does_not_join(folder: Path, tmp_path: Path) -> None:
    """Whoever joins reads and writes everything."""
    port, path = free_port(), folder / "broker" / "nats.conf"
    secret = re.findall(r'password: "(\w{32})"', path.read_text())[0]
    assert path.stat().st_mode & 0o077 == 0
    with _nats(folder, tmp_path, node_port=port):
        assert "Authorization" in _greet(port, user="node", server_id="X", name="X", cluster="hq", **{"pass": "x"})
        assert "-ERR" not in _greet(port, user="node", server_id="X", name="X", cluster="hq", **{"pass": secret})


def test_a_key_that_everybody_may_read_signs_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "keys" / "hq-1.key").chmod(0o644)
    prices = tmp_path / "prices.csv"
    prices.write_text("sku,price\n1,1.00\n")
    assert main(["hq", "publish", str(prices), "--dir", str(folder)]) == 2
    assert "everybody on this machine may read it" in capsys.readouterr().err
    (folder / "keys" / "hq-1.key").chmod(0o640)
    assert main(["hq", "publish", str(prices), "--dir", str(folder)]) == 0


def test_a_head_office_is_its_owners_alone_and_nothing_is_made_for_a_host_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hq", "init", str(tmp_path / "hq"), "--broker", "br\u00f6ker"]) == 2
    assert "expected a name or an address" in capsys.readouterr().err
    assert main(["hq", "init", str(tmp_path / "hq"), "--broker", "127.0.0.1"]) == 0
    assert (tmp_path / "hq").stat().st_mode & 0o077 == 0


def test_nats_names_topics_as_subjects() -> None:
    text = nats_users("rs/1", {"berlin-7": "20"})
    assert '"rs.1.20.berlin-7.up.>"' in text
    assert '"rs.1.20.berlin-7.dn.>"' in text


def test_the_link_gets_everything_that_an_enrolment_says(folder: Path) -> None:
    path = folder / "stores" / STORES[0] / "enrolment.json"
    wire = json.loads(path.read_text())
    wire["broker"]["mqtt"] = "3.1.1"
    address = broker_address(parse_enrolment(json.dumps(wire).encode()).broker)
    assert (address.host, address.port, address.tls, address.version) == ("127.0.0.1", 8883, True, "3.1.1")
    assert (address.ca, address.certificate, address.key) == tuple(f"{STORE_FOLDER}/{name}.pem" for name in ("ca", "certificate", "key"))
