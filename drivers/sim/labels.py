"""Simulated OpenEPaperLink labels: they sleep, check in, fetch, verify, refresh, and can be told to lie. Pure: told virtual time.

The panel holds what a customer sees: `(data type, payload bytes)`. During a refresh it counts as still showing the old picture.
A label measures its battery when it makes a full check-in, so what it refuses by is what it has reported.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from drivers.sim.module import SimModule, block_size
from drivers.sim.world import World
from protocols.oepl_light import COMMAND_LIGHT
from protocols.oepl_types import LabelType
from protocols.oepl_wire import (
    DATA_TYPES,
    TYPE_COMMAND,
    TYPE_NONE,
    TYPE_SETTINGS,
    WAKE_BUTTON,
    WAKE_FIRST_BOOT,
    WAKE_TIMER,
    DataVer,
    LabelReport,
    Mac,
    PendingData,
    block_count,
    block_from_wire,
    data_version,
    printed,
)

CHECK_IN_MS = 40_000  # the firmware's floor where the access point names no time
CHECK_IN_JITTER_MS = 150  # cheap oscillators: two labels do not collide for ever
FULL_CHECK_IN_MS = 300_000  # of sleep, at most, between two full check-ins
FAST_CHECK_IN_MS = 100  # after a button
BOOT_MIN_MS, BOOT_MAX_MS = 1_000, 4_000
REFRESH_MIN_MS, REFRESH_MAX_MS = 12_000, 25_000
BLOCK_TRIES_MAX = 5
REQUEST_GAP_MS = 12
LISTEN_MS = 1_500  # for a block; then the radio is off and the try has failed
RADIO_REPEAT_MS = 9  # a block request whose answer was not heard is repeated
FLASH_SLOTS = 15
HEALTHY_MV = 2600  # the most that these boards can measure
WEAK_MV = 2300
SLEEP_SECONDS_BIT = 0x8000


class Lie(StrEnum):
    """What a label can be told to do wrong."""

    XFC_WITHOUT_REFRESH = "xfc_without_refresh"  # "complete" with no block asked for, nothing drawn
    SLOT_OVERFLOW = "slot_overflow"  # its slot is smaller than its type says: "complete", nothing drawn
    LOW_BATTERY = "low_battery"  # stores and says so, refuses to refresh, reports too few millivolts until the battery is swapped
    CACHED_REDRAW = "cached_redraw"  # "complete", and draws the last picture it stored
    RESET_MID_TRANSFER = "reset_mid_transfer"
    RESET_BEFORE_REFRESH = "reset_before_refresh"  # stores, says so, restarts: the picture is not drawn
    NEVER_REFRESHES = "never_refreshes"  # does everything right but the panel is dead: no wire evidence can tell


@dataclass(frozen=True, slots=True)
class Shown:
    """What a panel holds."""

    data_type: int
    payload: bytes

    def as_json(self) -> dict[str, object]:
        """For the simulator's diary."""
        md5 = hashlib.md5(self.payload, usedforsecurity=False).hexdigest()
        return {"data_type": self.data_type, "payload_b64": base64.b64encode(self.payload).decode("ascii"), "md5": md5}


class _State(Enum):
    ASLEEP = auto()
    AWAKE = auto()  # fetching
    REFRESHING = auto()


@dataclass(slots=True)
class _Download:
    data_ver: DataVer
    data_type: int
    size_bytes: int
    blocks: list[bytes] = field(default_factory=list)
    tries: int = 0


class SimLabel:
    """One label. It talks to its home module, or to another that answers."""

    def __init__(
        self,
        world: World,
        modules: list[SimModule],
        mac: Mac,
        label_type: LabelType,
        firmware: int,
        *,
        home: int = 0,
        interval_ms: int = CHECK_IN_MS,
        first_wake_ms: float | None = None,
    ) -> None:
        """Boots within one interval of `world.now_ms`, or at `first_wake_ms`."""
        self._world, self._modules, self._home = world, modules, home
        self.mac = mac
        self.name = printed(mac)
        self._type, self._firmware = label_type, firmware
        self._accepts = {DATA_TYPES[codec] for codec in label_type.codecs(firmware)}
        self.interval_ms = interval_ms
        self.shown: Shown | None = None
        self.blinks = 0  # how often it was told to
        self.lie: Lie | None = None
        self._lie_once = False
        self._weak = False  # as measured at the last full check-in
        self._state = _State.ASLEEP
        self._generation = 0
        self._wake_reason = WAKE_FIRST_BOOT
        self._full_in = 0  # a full check-in is owed after so many more
        self._full_at_ms = -float(FULL_CHECK_IN_MS)
        self._measure = False
        self._dead = False
        self._button = False
        self._fast = False
        self._screen_ver: DataVer | None = None
        self._flash: OrderedDict[DataVer, Shown] = OrderedDict()
        self._download: _Download | None = None
        self._asked = 0
        self._module = modules[home]
        first_ms = world.now_ms + world.rng.uniform(0, interval_ms) if first_wake_ms is None else first_wake_ms
        world.wake_at(first_ms, self, self._generation)

    # ------------------------------------------------------------ for the shell
    @property
    def fetching(self) -> bool:
        """In the middle of a transfer."""
        return self._state is _State.AWAKE

    @property
    def idle(self) -> bool:
        """Asleep until its timer."""
        return self._state is _State.ASLEEP

    def set_lie(self, lie: Lie | None, *, once: bool = False) -> None:
        """Switch a lie on (until switched off, or until it was told once) or off. A weak battery stays weak until swapped."""
        self.lie, self._lie_once = lie, once
        self._measure = True

    def press_button(self, at_ms: float) -> None:
        """Wakes it, now or after a transfer; while it refreshes it checks in at once. A label that is booting does not notice."""
        if self._dead:
            return
        if self._state is _State.ASLEEP and self._wake_reason == WAKE_TIMER:
            self._wake_reason = WAKE_BUTTON
            self._wake_after(at_ms, 0)
        elif self._state is _State.REFRESHING and self._module.up:
            self._module.check_in(self.mac, self._report(WAKE_BUTTON, at_ms), at_ms)
        elif self._state is _State.AWAKE:
            self._button = True

    def swap_battery(self, at_ms: float) -> None:
        """New cells: it boots. The panel keeps its picture."""
        if self.lie is Lie.LOW_BATTERY:
            self.lie = None
        self._weak = False
        self._dead = False
        self._reset(at_ms)

    def remove_battery(self) -> None:
        """Dead, with whatever picture the panel holds, until `swap_battery`."""
        self._dead = True
        self._download = None
        self._state = _State.ASLEEP
        self._generation += 1  # no timer of before wakes it

    # ------------------------------------------------------------ waking
    def wake(self, at_ms: float, generation: int) -> None:
        """Its timer fired: check in, and do what it is told."""
        if generation != self._generation:
            return
        reason, self._wake_reason = self._wake_reason, WAKE_TIMER
        module = self._reachable()
        if module is None:
            self._wake_reason = reason
            self._sleep(at_ms)
            return
        self._module = module
        entry = module.check_in(self.mac, self._report(reason, at_ms), at_ms)
        self._world.tell(at_ms, "checkin", module=module.name, label=self.name, detail={"wake_reason": reason})
        if entry is None or entry.data_type == TYPE_NONE:
            self._sleep(at_ms, 0 if entry is None else entry.next_check_in)
        else:
            self._handle(entry, at_ms)

    def overslept(self, at_ms: float, until_ms: float, generation: int) -> None:
        """Keep the phase of its check-ins over a step of the clock; a special wake is put off instead."""
        if generation != self._generation:
            return
        if self._wake_reason != WAKE_TIMER:
            self._world.wake_at(until_ms + at_ms % self.interval_ms, self, generation)
            return
        missed = (until_ms - at_ms) // self.interval_ms + 1
        self._world.wake_at(at_ms + missed * self.interval_ms, self, generation)

    def _reachable(self) -> SimModule | None:
        for module in (self._modules[self._home], *self._modules):
            if module.up:
                return module
        return None

    def _report(self, reason: int, at_ms: float) -> LabelReport | None:
        """The body of a full check-in where one is due, else None."""
        due = reason != WAKE_TIMER or self._measure or at_ms - self._full_at_ms >= FULL_CHECK_IN_MS
        if reason != WAKE_TIMER:
            self._full_in = 2
        elif self._full_in:
            self._full_in -= 1
            due = due or self._full_in == 0
        if not due:
            return None
        self._full_at_ms = at_ms
        self._measure = False
        self._weak = self._weak or self.lie is Lie.LOW_BATTERY
        rng = self._world.rng
        self._fast = reason == WAKE_BUTTON
        return LabelReport(
            lqi=rng.randint(140, 220),
            rssi_dbm=rng.randint(-80, -45),
            temperature_c=21,
            battery_mv=WEAK_MV if self._weak else HEALTHY_MV,
            hw_type=self._type.hw_type,
            wake_reason=reason,
            capabilities=0,
            firmware=self._firmware,
            channel=11,
        )

    def _sleep(self, at_ms: float, next_check_in: int = 0) -> None:
        self._state = _State.ASLEEP
        if self._button:
            self._button = False
            self._wake_reason = WAKE_BUTTON
            self._wake_after(at_ms, FAST_CHECK_IN_MS)
        elif self._fast:
            self._fast = False
            self._wake_after(at_ms, FAST_CHECK_IN_MS)
        elif next_check_in & SLEEP_SECONDS_BIT:
            self._wake_after(at_ms, (next_check_in & ~SLEEP_SECONDS_BIT) * 1000)
        elif next_check_in:
            self._wake_after(at_ms, next_check_in * 60_000)
        else:
            jitter_ms = self._world.rng.uniform(-CHECK_IN_JITTER_MS, CHECK_IN_JITTER_MS)
            self._wake_after(at_ms, self.interval_ms + jitter_ms)

    def _wake_after(self, at_ms: float, duration_ms: float) -> None:
        self._generation += 1
        self._world.wake_at(at_ms + duration_ms, self, self._generation)

    # ------------------------------------------------------------ being offered something
    def _handle(self, entry: PendingData, at_ms: float) -> None:
        if entry.data_type == TYPE_COMMAND:
            self._complete(at_ms)
            if entry.argument == COMMAND_LIGHT:
                self.blinks += 1
                self._world.tell(at_ms, "blink", label=self.name)
            self._sleep(at_ms)
        elif entry.data_type == TYPE_SETTINGS:
            self._fetch(entry, at_ms)
        elif entry.data_type not in self._accepts:
            self._sleep(at_ms, entry.next_check_in)  # silently: the offer stays until it expires
        elif self._lie_at_offer(at_ms):
            pass
        elif entry.data_ver == self._screen_ver or entry.size_bytes > self._type.slot_bytes:
            self._complete(at_ms)  # already on screen, or no room for it: the wire shows no difference
            self._sleep(at_ms)
        elif entry.data_ver in self._flash:
            self._complete(at_ms)
            self._draw(entry.data_ver, at_ms)
        else:
            self._fetch(entry, at_ms)

    def _lie_at_offer(self, at_ms: float) -> bool:
        if self.lie not in (Lie.XFC_WITHOUT_REFRESH, Lie.SLOT_OVERFLOW, Lie.CACHED_REDRAW):
            return False
        redraw = next(reversed(self._flash), None) if self.lie is Lie.CACHED_REDRAW else None
        self._told()
        self._complete(at_ms)
        if redraw is None:
            self._sleep(at_ms)
        else:
            self._draw(redraw, at_ms)
        return True

    def _told(self) -> None:
        if self._lie_once:
            self.lie = None

    def _complete(self, at_ms: float) -> None:
        self._module.transfer_complete(self.mac, at_ms)

    # ------------------------------------------------------------ fetching
    def _fetch(self, entry: PendingData, at_ms: float) -> None:
        known = self._download
        if known is None or (known.data_ver, known.data_type, known.size_bytes) != (entry.data_ver, entry.data_type, entry.size_bytes):
            self._download = _Download(entry.data_ver, entry.data_type, entry.size_bytes)
        else:
            known.tries = 0  # goes on where it gave up: what it has is not asked for again
        self._state = _State.AWAKE
        self._generation += 1
        self._world.at(at_ms + REQUEST_GAP_MS, self._request, self._generation)

    def _request(self, at_ms: float, generation: int) -> None:
        download = self._download
        if generation != self._generation or download is None:
            return
        self._ask(download, at_ms, full=True)
        if self._world.rng.random() < self._world.air_loss and self._state is _State.AWAKE and generation == self._generation:
            self._world.at(at_ms + RADIO_REPEAT_MS, self._repeat, generation)

    def _repeat(self, at_ms: float, generation: int) -> None:
        if generation == self._generation and self._download is not None:
            self._ask(self._download, at_ms, full=True)

    def _ask(self, download: _Download, at_ms: float, *, full: bool) -> None:
        block = len(download.blocks)
        size_bytes = block_size(download.size_bytes, block)
        self._asked += 1
        asked = self._asked
        heard_ms = self._module.block_request(self, download.data_ver, block, size_bytes, full=full, at_ms=at_ms)
        self._world.at(heard_ms + LISTEN_MS, self._unanswered, asked)

    def cancelled(self, at_ms: float) -> None:
        """The module will not serve it now: try at the next check-in."""
        self._asked += 1
        self._sleep(at_ms)

    def _unanswered(self, at_ms: float, asked: int) -> None:
        if asked == self._asked and self._state is _State.AWAKE:
            self.parts(at_ms, None)

    def parts(self, at_ms: float, block: bytes | None) -> None:
        """The frames of a block came in."""
        download = self._download
        if download is None or self._state is not _State.AWAKE:
            return
        self._asked += 1
        if block is not None and self._world.rng.random() < self._world.air_loss:
            self._world.at(at_ms + REQUEST_GAP_MS, self._request_missing, self._generation)
            return
        data = None if block is None else block_from_wire(block)
        if data is None or len(data) != block_size(download.size_bytes, len(download.blocks)):
            download.tries += 1
            if download.tries >= BLOCK_TRIES_MAX:
                self._sleep(at_ms)
            else:
                self._world.at(at_ms + REQUEST_GAP_MS, self._request, self._generation)
            return
        download.tries = 0
        download.blocks.append(data)
        if self.lie is Lie.RESET_MID_TRANSFER:
            self._told()
            self._reset(at_ms)
        elif len(download.blocks) < block_count(download.size_bytes):
            self._world.at(at_ms + REQUEST_GAP_MS, self._request, self._generation)
        else:
            self._fetched(download, at_ms)

    def _request_missing(self, at_ms: float, generation: int) -> None:
        if generation == self._generation and self._download is not None:
            self._ask(self._download, at_ms, full=False)

    def _fetched(self, download: _Download, at_ms: float) -> None:
        self._download = None
        payload = b"".join(download.blocks)
        if data_version(payload) != download.data_ver:
            self._sleep(at_ms)  # rejected; it starts from scratch at the next check-in and never says why
            return
        self._complete(at_ms)
        if download.data_type == TYPE_SETTINGS:
            self._sleep(at_ms)
            return
        self._flash[download.data_ver] = Shown(download.data_type, payload)
        while len(self._flash) > FLASH_SLOTS:
            self._flash.popitem(last=False)
        self._draw(download.data_ver, at_ms)

    # ------------------------------------------------------------ the panel
    def _draw(self, data_ver: DataVer, at_ms: float) -> None:
        if self.lie is Lie.RESET_BEFORE_REFRESH:
            self._told()
            self._reset(at_ms)
            return
        if self._weak:
            self._sleep(at_ms)
            return
        self._state = _State.REFRESHING
        self._generation += 1
        self._world.tell(at_ms, "refresh_begins", label=self.name, detail={"data_ver": data_ver.hex()})
        self._screen_ver = data_ver
        self._world.at(at_ms + self._world.rng.uniform(REFRESH_MIN_MS, REFRESH_MAX_MS), self._drawn, self._generation)

    def _drawn(self, at_ms: float, generation: int) -> None:
        if generation != self._generation or self._screen_ver is None:
            return
        if self.lie is Lie.NEVER_REFRESHES:
            self._told()
        else:
            self.shown = self._flash[self._screen_ver]
            if self._world.on_happening is not None:
                self._world.tell(at_ms, "display", label=self.name, detail=self.shown.as_json())
        self._sleep(at_ms)

    def _reset(self, at_ms: float) -> None:
        """Lose the RAM: the download, what is on screen, the sleep counters. Flash and panel keep theirs."""
        self._download = None
        self._screen_ver = None
        self._fast = self._button = False
        self._state = _State.ASLEEP
        self._wake_reason = WAKE_FIRST_BOOT
        self._world.tell(at_ms, "label_reset", label=self.name)
        self._wake_after(at_ms, self._world.rng.uniform(BOOT_MIN_MS, BOOT_MAX_MS))


def label_macs(seed: int, count: int) -> list[Mac]:
    """Label addresses, always the same for the same seed: two zero bytes on top, as real ones have."""
    rng = random.Random(f"labels:{seed}")
    macs: dict[Mac, None] = {}
    while len(macs) < count:
        macs[Mac(rng.randbytes(6) + bytes(2))] = None
    return list(macs)


def module_mac(seed: int, number: int) -> Mac:
    """A module's own address."""
    return Mac(random.Random(f"module:{seed}:{number}").randbytes(6) + bytes(2))
