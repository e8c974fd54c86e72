"""The MQTT link against real brokers: what is acknowledged, what is redelivered, and what a refusal looks like."""

from __future__ import annotations

import asyncio
import datetime
import gc
import ipaddress
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from bench import brokers
from bench.brokers import Kind
from drivers import mqtt
from drivers.mqtt import Connection, LateAck, LinkLost, LinkRefused, MqttAddress, MqttLink, MqttVersion, PublishRefused, Received, Will
from edge.demo.broker import BrokerKind, RunningBroker, free_port, start_broker

WAIT_S = 10.0  # only a failing test waits this long
EVERY = pytest.mark.parametrize("kind", list(Kind))

StartBroker = Callable[..., RunningBroker]
Start = Callable[[Kind], MqttAddress]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[StartBroker]:
    with ExitStack() as stack:

        def start(kind: BrokerKind = BrokerKind.MOSQUITTO, port: int = 0, extra_config: str = "") -> RunningBroker:
            running: AbstractContextManager[RunningBroker] = start_broker(tmp_path, port, kind=kind, extra_config=extra_config)
            return stack.enter_context(running)

        yield start


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Start]:
    """Starts a broker of a kind: where it speaks MQTT."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(brokers.broker(kind, tmp_path / kind))


def _address(running: RunningBroker | MqttAddress) -> MqttAddress:
    return MqttAddress(running.host, running.port)


async def _next(connection: Connection) -> Received:
    async with asyncio.timeout(WAIT_S):
        return await connection.receive()


async def _publish(running: RunningBroker | MqttAddress, topic: str, *payloads: bytes) -> None:
    async with MqttLink(_address(running), "publisher").connect() as connection:
        for payload in payloads:
            await connection.publish(topic, payload)


async def test_aiomqtt_still_has_the_paho_client_where_the_adapter_looks() -> None:
    inner = mqtt.inner_client(aiomqtt.Client("127.0.0.1"))
    for name in ("manual_ack_set", "ack", "publish", "on_publish", "on_message"):
        assert hasattr(inner, name), name


def test_a_client_without_the_private_attribute_is_refused_loudly() -> None:
    with pytest.raises(RuntimeError, match="cannot delay a PUBACK"):
        mqtt.inner_client(object())  # type: ignore[arg-type]


@EVERY
async def test_what_was_not_acknowledged_comes_again_and_its_late_ack_is_refused(at: Start, kind: Kind) -> None:
    running = at(kind)
    link = MqttLink(_address(running), "store-hq")
    async with link.connect() as first:
        await first.subscribe("t/#")
        await _publish(running, "t/1", b"a", b"b", b"c")
        old = [await _next(first) for _ in range(3)]
        first.ack(old[0])
    with pytest.raises(LateAck):
        first.ack(old[1])
    async with link.connect() as second:
        again = await _next(second)
        assert (again.payload, again.connection) == (b"b", 2)
        with pytest.raises(LateAck):
            second.ack(old[1])
        second.ack(again)
        second.ack(await _next(second))
    async with link.connect() as third:
        await _publish(running, "t/1", b"d")
        assert (await _next(third)).payload == b"d"


@EVERY
async def test_a_process_that_is_killed_before_its_ack_gets_the_message_again(at: Start, kind: Kind) -> None:
    running = at(kind)
    program = (
        "import asyncio\n"
        "from drivers.mqtt import MqttAddress, MqttLink\n"
        "async def main():\n"
        f"    async with MqttLink(MqttAddress('{running.host}', {running.port}), 'store-hq').connect() as connection:\n"
        "        await connection.subscribe('t/#')\n"
        "        print('ready', flush=True)\n"
        "        print((await connection.receive()).payload, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen(  # noqa: ASYNC220 - the test waits for it to start anyway
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"ready\n"
        await _publish(running, "t/1", b"precious")
        assert said.readline() == b"b'precious'\n"
        process.kill()
        process.wait()
    async with MqttLink(_address(running), "store-hq").connect() as connection:
        assert (await _next(connection)).payload == b"precious"


@EVERY
async def test_a_session_takes_messages_while_its_client_is_away(at: Start, kind: Kind) -> None:
    running = at(kind)
    async with MqttLink(_address(running), "store-hq").connect() as connection:
        await connection.subscribe("t/#")
    await _publish(running, "t/1", *(b"%d" % number for number in range(50)))
    async with MqttLink(_address(running), "store-hq").connect() as connection:
        for number in range(50):
            received = await _next(connection)
            assert received.payload == b"%d" % number
            connection.ack(received)


@EVERY
async def test_the_will_of_a_client_that_vanishes_is_retained(at: Start, kind: Kind) -> None:
    running = at(kind)
    async with MqttLink(_address(running), "hq").connect() as watcher:
        await watcher.subscribe("t/state")
        link = MqttLink(_address(running), "store-hq")
        async with link.connect(Will("t/state", b"gone", delay_s=0)) as connection:
            sock = mqtt.inner_client(connection._client).socket()
            assert isinstance(sock, socket.socket)
            sock.shutdown(socket.SHUT_RDWR)
            with pytest.raises(LinkLost):
                await _next(connection)
        assert (await _next(watcher)).payload == b"gone"


@EVERY
async def test_the_version_is_asked_for_once_and_remembered(at: Start, kind: Kind) -> None:
    link = MqttLink(at(kind), "store-hq")
    spoken = MqttVersion.V311 if kind is Kind.NATS else MqttVersion.V5
    for number in (1, 2):
        async with link.connect() as connection:
            await connection.publish("t/1", b"x")
        assert (connection.number, link.version) == (number, spoken)


@EVERY
async def test_every_broker_speaks_3_1_1_where_the_address_says_so(at: Start, kind: Kind) -> None:
    running = at(kind)
    link = MqttLink(MqttAddress(running.host, running.port, version=MqttVersion.V311), "store-hq")
    if kind is Kind.RUMQTTD:  # its listener is for version 5 alone
        with pytest.raises(LinkLost):
            async with link.connect():
                pass
        return
    async with link.connect() as connection:
        await connection.subscribe("t/#")
    await _publish(running, "t/1", b"while it was away")
    async with link.connect() as connection:
        assert (await _next(connection)).payload == b"while it was away"


async def test_a_named_version_is_not_left(at: Start) -> None:
    running = at(Kind.NATS)
    link = MqttLink(MqttAddress(running.host, running.port, version=MqttVersion.V5), "store-hq")
    with pytest.raises(LinkRefused, match="Unsupported protocol version"):
        async with link.connect():
            pass


async def test_what_nats_sends_again_after_its_pause_is_acknowledged_in_arrival_order(tmp_path: Path) -> None:
    with brokers.nats(tmp_path, ack_wait_s=1) as cluster:
        link = MqttLink(cluster.address, "store-hq")
        async with link.connect() as connection:
            await connection.subscribe("t/#")
            await _publish(cluster.address, "t/1", b"a", b"b")
            received = [await _next(connection) for _ in range(4)]  # each twice: nobody acknowledged within the second
            assert sorted(each.payload for each in received) == [b"a", b"a", b"b", b"b"]
            for each in received:
                connection.ack(each)
            await _publish(cluster.address, "t/1", b"c")
            assert (await _next(connection)).payload == b"c"


async def test_acks_out_of_arrival_order_are_our_own_bug(broker: StartBroker) -> None:
    running = broker()
    async with MqttLink(_address(running), "store-hq").connect() as connection:
        await connection.subscribe("t/#")
        await _publish(running, "t/1", b"a", b"b")
        received = [await _next(connection) for _ in range(2)]
        with pytest.raises(ValueError, match="arrival order"):
            connection.ack(received[1])


async def test_a_cancellation_that_the_library_swallows_while_subscribing_still_ends_the_task(
    broker: StartBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def swallowing(self: aiomqtt.Client, *args: object, **more: object) -> tuple[int, ...]:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass  # as `wait_for` of Python 3.11 does when the answer is there at the same moment
        return (1,)

    asked = asyncio.Event()
    monkeypatch.setattr(aiomqtt.Client, "subscribe", swallowing)
    async with MqttLink(_address(broker()), "store-hq").connect() as connection:
        task = asyncio.create_task(connection.subscribe("a/#"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_denied_topic_is_a_refused_publish(broker: StartBroker, tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite #\ntopic deny t/secret\n")
    rules.chmod(0o600)
    running = broker(extra_config=f"acl_file {rules}\n")
    async with MqttLink(_address(running), "store-hq").connect() as connection:
        await connection.publish("t/open", b"x")
        with pytest.raises(PublishRefused, match=r"t/secret: Not authorized \(0x87\)") as caught:
            await connection.publish("t/secret", b"x")
        assert caught.value.code == 0x87


async def test_a_refused_connection_is_one_clear_line(broker: StartBroker, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    running = broker(extra_config=f"allow_anonymous false\npassword_file {passwords}\n")
    address = MqttAddress(running.host, running.port, username="berlin-7", password="wrong")
    with pytest.raises(LinkRefused, match=rf"broker {running.host}:{running.port} refused the connection: Not authorized"):
        async with MqttLink(address, "store-hq").connect():
            pass


async def test_nobody_listening_is_a_lost_link(broker: StartBroker) -> None:
    port = free_port()
    with pytest.raises(LinkLost, match=rf"broker 127.0.0.1:{port}: .*refused"):
        async with MqttLink(MqttAddress("127.0.0.1", port), "store-hq").connect():
            pass


async def test_a_broker_that_goes_away_ends_everything_that_waits(broker: StartBroker) -> None:
    running = broker()
    async with MqttLink(_address(running), "store-hq").connect() as connection:
        await connection.publish("t/1", b"x")
        waiting = connection.send("t/1", b"y")
        running.process.kill()
        with pytest.raises(LinkLost, match=rf"broker 127.0.0.1:{running.port}: connection lost"):
            await _next(connection)
        with pytest.raises(LinkLost):
            await connection.publish("t/1", b"z")
    assert waiting.done()


def test_a_broker_that_says_why_it_leaves_is_quoted() -> None:
    code = ReasonCode(PacketTypes.DISCONNECT, identifier=0x8B)
    assert mqtt._why(aiomqtt.MqttCodeError(code)) == "the broker ended the connection: Server shutting down"


async def test_a_sender_that_ignores_our_window_is_cut_off(broker: StartBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "UNACKED_MAX_BYTES", 3 * 1100)
    running = broker()
    async with MqttLink(_address(running), "store-hq").connect() as connection:
        await connection.subscribe("t/#")
        await _publish(running, "t/1", *(b"x" for _ in range(4)))
        for _ in range(3):
            await _next(connection)
        with pytest.raises(LinkLost, match="without waiting for acknowledgements"):
            await _next(connection)


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")  # paho leaves a failed handshake's socket to the collector
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_tls_trusts_only_the_configured_authority(broker: StartBroker, tmp_path: Path) -> None:
    for name in ("right", "wrong"):
        _certificate(tmp_path, name)
    port = free_port()
    running = broker(port=free_port(), extra_config=_tls_listener(port, tmp_path))
    for name in ("right", "wrong"):
        link = MqttLink(MqttAddress(running.host, port, tls=True, ca=str(tmp_path / f"{name}.pem")), "store-hq")
        if name == "right":
            async with link.connect() as connection:
                await connection.publish("t/1", b"x")
        else:
            with pytest.raises(LinkLost, match="CERTIFICATE_VERIFY_FAILED") as refused:
                async with link.connect():
                    pass
            del refused, link
            gc.collect()  # here, where its warning is expected


async def test_a_missing_ca_file_is_named() -> None:
    with pytest.raises(LinkRefused, match=r"CA file /nowhere/ca\.pem: .*No such file"):
        async with MqttLink(MqttAddress("127.0.0.1", 1, tls=True, ca="/nowhere/ca.pem"), "store-hq").connect():
            pass


def _tls_listener(port: int, directory: Path) -> str:
    lines = (f"listener {port} 127.0.0.1", f"certfile {directory / 'right.pem'}", f"keyfile {directory / 'right.key'}")
    return "\n".join((*lines, "allow_anonymous true", ""))


def _certificate(directory: Path, name: str) -> None:
    """A self-signed certificate for 127.0.0.1, valid for long enough that no clock matters."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / f"{name}.key").write_bytes(private)
