"""The MQTT link: one adapter around aiomqtt with the acknowledgement in our hands, for brokers of version 5 and of 3.1.1.

What aiomqtt leaves open and this closes: an incoming message is acknowledged only by `Connection.ack`, after its row is committed
(paho's manual mode, set before connecting); each connection has a new client object, so that packet ids of an older connection are
never acknowledged on a newer one; a PUBACK or SUBACK reason code of 0x80 and above is an error.

Version 5 is a set of hints: how long a session lives, how much may be on its way, when a will may wait, why something was refused. A
broker of 3.1.1 (NATS, RabbitMQ) has its own settings for the first two, sends a will at once, and takes a publish that it denies
without a word: there only HQ's own acknowledgement shows it. `connect` asks for 5 and, told that the broker does not speak it, for
3.1.1 from then on, unless the address says which.

The inner paho client is a private attribute of aiomqtt 2.5; a test fails when it disappears. Quality of service is 1 everywhere.
"""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

KEEPALIVE_S: Final = 30  # a dead link is noticed after twice this, measured with a frozen broker
SESSION_EXPIRY_S: Final = 7 * 24 * 3600  # the broker queues for a store that is away this long; after that only a resend helps
WILL_DELAY_S: Final = 30  # a short reconnect is not an outage
ANSWER_TIMEOUT_S: Final = 10  # CONNACK, SUBACK, PUBACK: a broker that takes longer is gone
RECEIVE_MAX: Final = 100  # asked of the broker; mosquitto 2.0.11 and rumqttd do not keep to it
PACKET_MAX_BYTES: Final = 1024 * 1024  # the broker drops what is larger; our contract allows 128 KiB
UNACKED_MAX_BYTES: Final = 32 * 1024 * 1024  # delivered and not acknowledged; 100 messages of 128 KiB fit twice
_MESSAGE_COST_BYTES: Final = 1024  # what an empty message costs in memory, roughly
_QOS: Final = 1
_FIRST_ERROR_CODE: Final = 0x80  # MQTT 5.0, 2.4: reason codes from here on are failures
_UNSUPPORTED_VERSION: Final = 0x84  # MQTT 5.0, 3.2.2.2; paho gives the 0x01 of a 3.1.1 broker this number, too


class LinkLost(Exception):
    """There is no connection (any more). Connect again after a pause; the text is one line for people."""


class LinkRefused(LinkLost):
    """The broker answered and said no, or our own TLS settings are unusable. Trying again helps only when somebody changes something."""


class PublishRefused(Exception):
    """The broker did not take a message. The connection may be up still; the same message will be refused again."""

    def __init__(self, topic: str, code: int, name: str) -> None:
        super().__init__(f"broker refused {topic}: {name} (0x{code:02x})")
        self.topic = topic
        self.code = code


class LateAck(Exception):
    """The message came on an older connection: its packet id may belong to another message by now. Wait for the redelivery."""


class MqttVersion(StrEnum):
    """What the broker speaks."""

    V5 = "5"
    V311 = "3.1.1"


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where the broker is and how to be let in.

    `ca`, `certificate` and `key` are paths of PEM files: `ca` None means the system's authorities, `certificate` None that we show none.
    `version` None: 5, or 3.1.1 where the broker says so.
    """

    host: str
    port: int
    tls: bool = False
    ca: str | None = None
    username: str | None = None
    password: str | None = None
    certificate: str | None = None
    key: str | None = None
    version: MqttVersion | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the client goes silent. `delay_s` counts with version 5 only: others publish at once."""

    topic: str
    payload: bytes
    delay_s: int = WILL_DELAY_S


@dataclass(frozen=True, slots=True)
class Received:
    """An incoming message and where it must be acknowledged."""

    topic: str
    payload: bytes
    retained: bool
    connection: int
    mid: int
    qos: int


class Connection:
    """One connection, made by `MqttLink.connect`."""

    def __init__(self, number: int, address: MqttAddress, client: aiomqtt.Client) -> None:
        self.number = number
        self._address = address
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._inner = inner_client(client)
        self._inner.manual_ack_set(True)
        self._inner.on_publish = self._on_publish
        self._take: Callable[..., Any] = self._inner.on_message  # type: ignore[assignment]
        self._inner.on_message = self._on_message
        self._inner.on_socket_register_write = self._want_write
        self._messages = client.messages
        self._waiting: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._unacked: deque[tuple[int, int]] = deque()  # (packet id, cost in bytes), in arrival order
        self._unacked_bytes = 0
        self._fault: str | None = None
        self._open = True

    async def subscribe(self, topic_filter: str) -> None:
        """Raises `LinkRefused` when the broker does not grant it, `LinkLost`."""
        try:
            codes = await self._client.subscribe(topic_filter, qos=_QOS, timeout=ANSWER_TIMEOUT_S)
        except aiomqtt.MqttError as error:
            raise LinkLost(f"broker {self._address}: subscribing to {topic_filter}: {_why(error)}") from error
        stop_if_cancelled()  # aiomqtt waits with `wait_for`, which before Python 3.12 loses a cancellation that comes with the answer
        for code in codes:
            value = code.value if isinstance(code, ReasonCode) else code
            if value >= _FIRST_ERROR_CODE:
                raise LinkRefused(f"broker refused to subscribe {topic_filter}: {code} (0x{value:02x})")

    async def receive(self) -> Received:
        """The next message. Raises `LinkLost`."""
        try:
            message = await anext(self._messages)
        except aiomqtt.MqttError as error:
            raise LinkLost(f"broker {self._address}: {self._fault or _why(error.__cause__)}") from error
        return Received(message.topic.value, message.payload, message.retain, self.number, message.mid, message.qos)

    def ack(self, message: Received) -> None:
        """Tell the broker to forget the message. Raises `LateAck` for a message of another connection, or after this one ended.

        Messages are acknowledged in arrival order; ValueError for another order (our bug).
        """
        if message.connection != self.number or not self._open:
            raise LateAck(f"message of connection {message.connection} acknowledged on connection {self.number}")
        if message.qos == 0:
            return
        if not self._unacked or self._unacked[0][0] != message.mid:
            raise ValueError("acknowledged out of arrival order")
        self._unacked_bytes -= self._unacked.popleft()[1]
        self._inner.ack(message.mid, message.qos)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[None]:
        """Hand a message over, in order; the future ends at its PUBACK or with `PublishRefused` or `LinkLost`."""
        future: asyncio.Future[None] = self._loop.create_future()
        info = self._inner.publish(topic, payload, _QOS, retain)
        if info.rc != paho.MQTT_ERR_SUCCESS or not self._open:
            future.set_exception(LinkLost(f"broker {self._address}: {self._fault or paho.error_string(info.rc)}"))
        else:
            self._waiting[info.mid] = (topic, future)
        return future

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send and wait for the PUBACK. Raises `PublishRefused`, `LinkLost`."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self.send(topic, payload, retain=retain)
        except TimeoutError as error:
            raise LinkLost(f"broker {self._address}: no PUBACK within {ANSWER_TIMEOUT_S} s") from error

    async def room(self, window: int) -> None:
        """Wait until fewer than `window` messages are without PUBACK. Raises `LinkLost`."""
        while len(self._waiting) >= window:
            futures = [future for _, future in self._waiting.values()]
            done, _ = await asyncio.wait(futures, timeout=ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise LinkLost(f"broker {self._address}: no PUBACK within {ANSWER_TIMEOUT_S} s")

    def close(self, reason: str) -> None:
        """End the futures of everything that was not acknowledged; called when the connection ends."""
        self._open = False
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(LinkLost(reason))
                future.exception()  # seen: not everybody waits for its PUBACK
        self._waiting.clear()

    def _on_publish(self, _client: object, _userdata: object, mid: int, code: ReasonCode, _properties: object) -> None:
        topic, future = self._waiting.pop(mid, ("", None))
        if future is None or future.done():
            return
        if code.value >= _FIRST_ERROR_CODE:
            future.set_exception(PublishRefused(topic, code.value, str(code)))
        else:
            future.set_result(None)

    def _on_message(self, client: object, userdata: object, message: paho.MQTTMessage) -> None:
        if message.qos > 0:
            cost = len(message.payload) + _MESSAGE_COST_BYTES
            if self._unacked_bytes + cost > UNACKED_MAX_BYTES:
                self._fault = f"broker sent more than {UNACKED_MAX_BYTES} bytes without waiting for acknowledgements"
                self._inner.disconnect()
                return
            self._unacked.append((message.mid, cost))
            self._unacked_bytes += cost
        self._take(client, userdata, message)

    def _want_write(self, _client: object, _userdata: object, sock: Any) -> None:
        """In place of aiomqtt's: that one registers a descriptor which the loop may find closed, or given to somebody else."""
        self._loop.call_soon_threadsafe(self._register_write, sock)

    def _register_write(self, sock: Any) -> None:
        if (descriptor := sock.fileno()) >= 0:
            self._loop.add_writer(descriptor, self._write)

    def _write(self) -> None:
        try:
            self._inner.loop_write()
        except OSError as error:
            self._fault = str(error)  # the reading side notices the end


class MqttLink:
    """A client identity at a broker: fixed client id, kept session. One connection at a time, each with its own number."""

    def __init__(self, address: MqttAddress, client_id: str, *, keepalive_s: int = KEEPALIVE_S) -> None:
        self.address = address
        self.client_id = client_id
        self.version = address.version or MqttVersion.V5  # what the last connection spoke, or the next one asks for
        self._keepalive_s = keepalive_s
        self._connections = 0

    @asynccontextmanager
    async def connect(self, will: Will | None = None) -> AsyncIterator[Connection]:
        """A connection for the time of the block. Raises `LinkLost`, `LinkRefused`. The session outlives it."""
        self._connections += 1
        client, connection = await self._connected(will)
        try:
            yield connection
        finally:
            connection.close("connection closed")
            with suppress(aiomqtt.MqttError):  # it was gone already: nothing is left to close
                await client.__aexit__(None, None, None)

    async def _connected(self, will: Will | None) -> tuple[aiomqtt.Client, Connection]:
        client = self._new_client(will)
        connection = Connection(self._connections, self.address, client)
        try:
            await _entered(client)
        except aiomqtt.MqttCodeError as error:
            if _unsupported_version(error) and self.address.version is None and self.version is MqttVersion.V5:
                self.version = MqttVersion.V311
                return await self._connected(will)
            raise LinkRefused(f"broker {self.address} refused the connection: {error.rc}") from error
        except aiomqtt.MqttError as error:
            raise LinkLost(f"broker {self.address}: {_why(error)}") from error
        return client, connection

    def _new_client(self, will: Will | None) -> aiomqtt.Client:
        return aiomqtt.Client(
            self.address.host,
            self.address.port,
            username=self.address.username,
            password=self.address.password,
            identifier=self.client_id,
            will=None if will is None else _will(will, self.version),
            keepalive=self._keepalive_s,
            timeout=ANSWER_TIMEOUT_S,
            tls_context=self._tls_context(),
            **_session(self.version),
        )

    def _tls_context(self) -> ssl.SSLContext | None:
        if not self.address.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.address.ca)
        except (OSError, ssl.SSLError) as error:
            raise LinkRefused(f"CA file {self.address.ca}: {error}") from error
        if self.address.certificate is not None:
            try:
                context.load_cert_chain(self.address.certificate, self.address.key)
            except (OSError, ssl.SSLError) as error:
                raise LinkRefused(f"certificate {self.address.certificate} with key {self.address.key}: {error}") from error
        return context


async def _entered(client: aiomqtt.Client) -> None:
    """Connect. A cancellation waits for the attempt to end (at most the answer time-out) and closes what it opened.

    aiomqtt cut off in the middle leaves a paho client that goes on connecting by itself.
    """
    connecting = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(connecting)
    except aiomqtt.MqttError as error:
        cause: BaseException | None = error
        while cause is not None:  # paho leaves the socket of a failed handshake in a frame: closed now, not at some collection
            traceback.clear_frames(cause.__traceback__)
            cause = cause.__cause__ or cause.__context__
        raise
    except asyncio.CancelledError:
        with suppress(aiomqtt.MqttError):
            await connecting
            await client.__aexit__(None, None, None)
        raise


def stop_if_cancelled() -> None:
    """Raise the CancelledError that was lost: by `wait_for` because the answer came at the same moment, by a TaskGroup because one of
    its tasks failed then.

    To be called after `except* LinkLost` in a loop that would connect again. The group's body must be waiting when a task fails: a
    failure that meets Python 3.11's TaskGroup on its way out leaves a cancellation counted that nobody asked for.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def inner_client(client: aiomqtt.Client) -> paho.Client:
    """The paho client inside. Raises RuntimeError when aiomqtt no longer has it there."""
    inner = getattr(client, "_client", None)
    if not isinstance(inner, paho.Client):
        raise RuntimeError("aiomqtt has no paho client in Client._client: this version cannot delay a PUBACK")
    return inner


def _session(version: MqttVersion) -> dict[str, Any]:
    """A kept session, in the words of the version."""
    if version is MqttVersion.V311:
        return {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": False}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = RECEIVE_MAX
    properties.MaximumPacketSize = PACKET_MAX_BYTES
    return {"protocol": aiomqtt.ProtocolVersion.V5, "clean_start": False, "properties": properties}


def _unsupported_version(error: aiomqtt.MqttCodeError) -> bool:
    return isinstance(error.rc, ReasonCode) and error.rc.value == _UNSUPPORTED_VERSION


def _will(will: Will, version: MqttVersion) -> aiomqtt.Will:
    if version is MqttVersion.V311:
        return aiomqtt.Will(will.topic, will.payload, qos=_QOS, retain=True)
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    properties.WillDelayInterval = will.delay_s
    return aiomqtt.Will(will.topic, will.payload, qos=_QOS, retain=True, properties=properties)


def _why(error: BaseException | None) -> str:
    """One line for people. paho calls every end without a word from the broker "Unspecified error"."""
    code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
    if isinstance(code, ReasonCode) and code.value != _FIRST_ERROR_CODE:
        return f"the broker ended the connection: {code}"
    if error is None or code is not None:
        return "connection lost"
    return " ".join(str(error).split()) or type(error).__name__
