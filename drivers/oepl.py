"""One OpenEPaperLink radio module on a serial port, as a `LabelDriver`.

The module's own MAC says who it is; the device path only says where to look. A thread of its own runs the port, so that block
requests are answered within the module's patience whatever the event loop does.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

from drivers.base import Clock, Delivery, DriverEvent, Emit, Grade, LabelId, RadioId
from drivers.oepl_attempts import OFFER_LIFETIME_MS
from drivers.oepl_radio import OeplRadio
from drivers.pump import LinkLost, LinkUnavailable, Waker, pump
from drivers.serial import SerialLink
from protocols.oepl_wire import mac_from_text

BACK_OFF_FIRST_MS = 1_000
BACK_OFF_MAX_MS = 60_000  # an unplugged adapter is found again within a minute


class OeplDriver:
    """Implements `drivers.base.LabelDriver` and `CanFlash`. `emit` is called from the event loop's thread only."""

    def __init__(
        self,
        *,
        name: str,
        device: str,
        clock: Clock,
        emit: Emit,
        mac: str | None = None,
        channel: int = 11,
        power: int = 10,
        fast: bool = False,
    ) -> None:
        """`mac` (sixteen hex digits, as printed) makes any other module on `device` an error; `fast` asks for 2 Mbaud.

        Raises ValueError for a MAC that is none and for a channel that no module takes.
        """
        self._name = name
        self._device = device
        self._clock = clock
        self._emit = emit
        self._radio = OeplRadio(channel=channel, power=power, fast=fast, expected_mac=None if mac is None else mac_from_text(mac))
        self._lock = Lock()  # held for the microseconds of one step of the radio's state; never over I/O
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[DriverEvent] = []  # before `run` there is no loop to tell
        self._waker: Waker | None = None

    @property
    def name(self) -> str:
        """The radio's name in the configuration."""
        return self._name

    @property
    def radio_id(self) -> RadioId | None:
        """The module's own MAC; None until it was heard."""
        return self._radio.radio_id

    @property
    def grade(self) -> Grade:
        """The wire can say no more than stored: what is proven is inferred."""
        return Grade.INFERRED

    @property
    def offer_lifetime_ms(self) -> int:
        """The module drops an offer after at most this long, the longest transfer included."""
        return OFFER_LIFETIME_MS

    @property
    def counters(self) -> dict[str, int]:
        """For metrics: damaged messages and module restarts since the start."""
        return {"damaged": self._radio.damaged, "restarts": self._radio.restarts}

    def deliver(self, delivery: Delivery) -> None:
        """See `LabelDriver.deliver`. Raises ValueError when the label id is no MAC."""
        self._step(lambda: self._radio.deliver(delivery, self._clock.link_ms(), self._clock.now_ms()))
        self._wake()

    def withdraw(self, label_id: LabelId) -> None:
        """See `LabelDriver.withdraw`. Raises ValueError when the label id is no MAC."""
        self._step(lambda: self._radio.withdraw(label_id, self._clock.link_ms()))
        self._wake()

    def flash(self, label_id: LabelId) -> str | None:
        """See `CanFlash.flash`: at the label's next check-in. Raises ValueError when the label id is no MAC."""
        said: list[str | None] = []
        self._step(lambda: said.append(self._radio.flash(label_id, self._clock.link_ms())))
        self._wake()
        return said[0]

    async def run(self) -> None:
        """Open the port, serve it, and open it again with jittered back-off, until cancelled."""
        self._loop = asyncio.get_running_loop()
        early, self._early = self._early, []
        for event in early:
            self._emit(event)
        back_off_ms = BACK_OFF_FIRST_MS
        tries = 0
        with ThreadPoolExecutor(1, thread_name_prefix=f"oepl-{self._name}") as port_thread:
            while True:
                waker = self._waker = Waker()
                served = self._loop.run_in_executor(port_thread, self._serve, waker)
                try:
                    reason, was_ready = await asyncio.shield(served)
                finally:
                    self._waker = None
                    waker.stop()
                    port_thread.submit(waker.close)  # behind the pump, in its own thread
                self._step(partial(self._radio.closed, reason))
                back_off_ms = BACK_OFF_FIRST_MS if was_ready else min(2 * back_off_ms, BACK_OFF_MAX_MS)
                tries += 1
                await self._clock.sleep_ms(_jittered(back_off_ms, f"{self._name} {tries}"))

    # ------------------------------------------------------------ in the port's thread
    def _serve(self, waker: Waker) -> tuple[str, bool]:
        """One life of the port: why it ended, and whether a module answered on it."""
        try:
            link = SerialLink(self._device, self._radio.baud)
        except LinkUnavailable as error:
            return str(error), False
        machine = _PortMachine(self._radio, self._clock, self._step)
        try:
            machine.opened()
            pump(machine, link, waker, self._clock.link_ms)
        except LinkLost as error:
            return str(error), machine.was_ready
        finally:
            link.close()
        return f"serial port {self._device} closed", machine.was_ready

    # ------------------------------------------------------------ in both threads
    def _step(self, change: Callable[[], object]) -> None:
        """One change of the radio's state; what it reports reaches the loop in the order of the changes."""
        with self._lock:
            change()
            events = self._radio.events()
            if not events:
                return
            if self._loop is None:
                self._early += events
            else:
                self._loop.call_soon_threadsafe(self._tell, events)

    def _tell(self, events: list[DriverEvent]) -> None:
        for event in events:
            self._emit(event)

    def _wake(self) -> None:
        if self._waker is not None:
            self._waker.wake()


def _jittered(duration_ms: int, salt: str) -> int:
    """Half to all of a duration, spread by name and try: ports that went away together do not come back in step."""
    return duration_ms // 2 + zlib.crc32(salt.encode()) % (duration_ms // 2 + 1)


class _PortMachine:
    """The radio as the pump sees it: adds the world's time and the lock."""

    def __init__(self, radio: OeplRadio, clock: Clock, step: Callable[[Callable[[], object]], None]) -> None:
        self._radio = radio
        self._clock = clock
        self._step = step
        self.was_ready = False

    @property
    def baud(self) -> int:
        return self._radio.baud

    @property
    def stopped(self) -> bool:
        return self._radio.stopped

    @property
    def deadline_ms(self) -> int | None:
        return self._radio.deadline_ms

    def opened(self) -> None:
        self._step(lambda: self._radio.opened(self._clock.link_ms()))

    def receive(self, data: bytes, link_ms: int) -> None:
        self._step(lambda: self._radio.receive(data, link_ms, self._clock.now_ms()))
        self.was_ready = self.was_ready or self._radio.ready

    def handle_timer(self, link_ms: int) -> None:
        self._step(lambda: self._radio.handle_timer(link_ms, self._clock.now_ms()))

    def bytes_to_send(self) -> bytes:
        sent: list[bytes] = []
        self._step(lambda: sent.append(self._radio.bytes_to_send()))
        return sent[0]
