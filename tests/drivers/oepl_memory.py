"""A radio and a simulated store joined in memory under one fake clock: no port, no thread, no waiting."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from drivers.base import Delivery, DriverEvent, LabelId, Picture
from drivers.oepl_radio import OeplRadio
from drivers.sim.labels import Shown, SimLabel, label_macs, module_mac
from drivers.sim.module import SimModule
from drivers.sim.world import World
from protocols.oepl_types import LABEL_TYPES
from protocols.oepl_wire import DATA_TYPES, Mac

START_MS = 60_000


class MemoryStore:
    """One module, some labels, one radio. Virtual time and link time are the same number of milliseconds."""

    def __init__(
        self,
        *,
        seed: int = 0,
        labels: int = 1,
        hw_type: int = 0x01,
        firmware: int = 0x29,
        fast: bool = False,
        sub_ghz: bool = False,
        fast_ok: bool = True,
        lost_bytes: float = 0.0,
        chatter: float = 0.0,
        one_byte_at_a_time: bool = False,
        host_delay_ms: float = 0.0,
        expected_mac: Mac | None = None,
    ) -> None:
        self.world = World(seed=seed, start_ms=START_MS)
        self.module = SimModule(self.world, module_mac(seed, 0), lost_bytes=lost_bytes, chatter=chatter, sub_ghz=sub_ghz, fast_ok=fast_ok)
        self.labels = {
            LabelId(label.name): label
            for label in (SimLabel(self.world, [self.module], mac, LABEL_TYPES[hw_type], firmware) for mac in label_macs(seed, labels))
        }
        self.radio = OeplRadio(fast=fast, expected_mac=expected_mac)
        self.seen: list[tuple[float, DriverEvent]] = []
        self.on_event: Callable[[DriverEvent], None] | None = None
        self.from_host = bytearray()
        self._slow = one_byte_at_a_time
        self._host_delay_ms = host_delay_ms
        self._attempts = itertools.count(1)
        self._plugged = False
        self.plug()

    @property
    def now_ms(self) -> float:
        return self.world.now_ms

    @property
    def label(self) -> SimLabel:
        return next(iter(self.labels.values()))

    def plug(self) -> None:
        self._plugged = True
        self.module.take_output()
        self.radio.opened(int(self.now_ms))
        self.settle()

    def unplug(self, reason: str = "unplugged") -> None:
        self._plugged = False
        self.radio.closed(reason)
        self._collect()

    def deliver(self, label_id: LabelId, data: bytes, codec: str = "raw1") -> int:
        attempt_id = next(self._attempts)
        self.radio.deliver(Delivery(attempt_id, label_id, Picture(codec, data)), int(self.now_ms), int(self.now_ms))
        self.settle()
        return attempt_id

    def withdraw(self, label_id: LabelId) -> None:
        self.radio.withdraw(label_id, int(self.now_ms))
        self.settle()

    def flash(self, label_id: LabelId) -> str | None:
        said = self.radio.flash(label_id, int(self.now_ms))
        self.settle()
        return said

    def shows(self, label_id: LabelId, data: bytes, codec: str = "raw1") -> bool:
        return self.labels[label_id].shown == Shown(DATA_TYPES[codec], data)

    def settle(self) -> None:
        """Pass bytes to and fro until both sides are silent at this instant."""
        while True:
            data = self.module.take_output()
            if data and self._plugged:
                now_ms = int(self.now_ms)
                for piece in [data[n : n + 1] for n in range(len(data))] if self._slow else [data]:
                    self.radio.receive(piece, now_ms, now_ms)
            out = self.radio.bytes_to_send() if self._plugged else b""
            self._collect()
            if out:
                self.from_host += out
                if self._host_delay_ms:
                    self.world.at(self.now_ms + self._host_delay_ms, lambda at_ms, _, out=out: self._write(out, at_ms))  # type: ignore[misc]
                else:
                    self._write(out, self.now_ms)
            elif not data:
                return

    def run(self, duration_ms: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass, event by event; whether `until` became true."""
        end_ms = self.now_ms + duration_ms
        while until is None or not until():
            deadline_ms = self.radio.deadline_ms if self._plugged else None
            world_ms = self.world.next_ms
            next_ms = min(end_ms, *(time for time in (deadline_ms, world_ms) if time is not None))
            if next_ms >= end_ms:
                self.world.advance(end_ms)
                self.settle()
                return until is not None and until()
            self.world.advance(max(next_ms, self.now_ms))
            self.settle()
            if deadline_ms is not None and self.now_ms >= deadline_ms:
                self.radio.handle_timer(int(self.now_ms), int(self.now_ms))
                self.settle()
        return True

    def events(self, *kinds: type[DriverEvent]) -> list[DriverEvent]:
        return [event for _, event in self.seen if isinstance(event, kinds)]

    def _write(self, data: bytes, at_ms: float) -> None:
        self.module.host_bytes(data, at_ms, self.radio.baud)

    def _collect(self) -> None:
        for event in self.radio.events():
            self.seen.append((self.now_ms, event))
            if self.on_event is not None:
                self.on_event(event)
