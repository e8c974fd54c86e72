"""The simulated module writes the recorded module bytes when it reads the recorded host bytes."""

from __future__ import annotations

import pytest

from drivers.sim.module import SimModule, block_size
from drivers.sim.world import World
from protocols.oepl_wire import TYPE_COMMAND, LabelReport, Mac, PendingData, block_count, block_from_wire, mac_from_text
from tests.oepl_transcripts import SCENARIOS, Transcript, transcript

MODULE = mac_from_text("0000665544332211")
BOOT = LabelReport(200, -55, 21, 2987, 0x33, 0xFC, 0, 0x2A, 11)


class RecordedLabel:
    """The label of the recordings: a full check-in, what it was offered, a short check-in."""

    def __init__(self, world: World, module: SimModule, mac: Mac) -> None:
        self._world, self._module, self._mac = world, module, mac
        self._entry: PendingData | None = None
        self._blocks: list[bytes] = []

    @property
    def mac(self) -> Mac:
        return self._mac

    def check_in(self, at_ms: float, number: int) -> None:
        self._entry = self._module.check_in(self._mac, None if number else BOOT, at_ms)
        if self._entry is None or number:
            return
        if self._entry.data_type == TYPE_COMMAND:
            self._module.transfer_complete(self._mac, at_ms)
        else:
            self._request(at_ms)

    def _request(self, at_ms: float) -> None:
        assert self._entry is not None
        size_bytes = block_size(self._entry.size_bytes, len(self._blocks))
        self._module.block_request(self, self._entry.data_ver, len(self._blocks), size_bytes, full=True, at_ms=at_ms)

    def parts(self, at_ms: float, block: bytes | None) -> None:
        assert self._entry is not None
        assert block is not None
        data = block_from_wire(block)
        assert data is not None
        self._blocks.append(data)
        if len(self._blocks) < block_count(self._entry.size_bytes):
            self._request(at_ms)
        else:
            self._module.transfer_complete(self._mac, at_ms)

    def cancelled(self, at_ms: float) -> None:
        raise AssertionError("the recorded module cancels nothing")


def play(recorded: Transcript, slice_bytes: int) -> bytes:
    """Write what the host wrote, each line as soon as the module has said what it had said before that line in the recording."""
    world = World(seed=1, start_ms=0)
    module = SimModule(world, MODULE, fixed_ack_ms=20)
    label = RecordedLabel(world, module, recorded.offer.mac)
    commands_left = sum(1 for _, from_host, data in recorded.lines if from_host and data[:4] in (b"SDA>", b"CXD>"))
    said, expected = b"", b""
    greeted = False
    for _, from_host, data in recorded.lines:
        if not from_host:
            # The recordings begin in the middle of the module's greeting.
            expected += data if greeted else b""
            continue
        greeted = True
        while len(said) < len(expected):
            assert world.next_ms is not None
            world.advance(world.next_ms)
            said += module.take_output()
        for start in range(0, len(data), slice_bytes):
            module.host_bytes(data[start : start + slice_bytes], world.now_ms)
        if data[:4] in (b"SDA>", b"CXD>"):
            commands_left -= 1
            if not commands_left:
                world.at(world.now_ms + 50, label.check_in, 0)
    world.at(world.now_ms + 5000, label.check_in, 1)
    world.advance(world.now_ms + 6000)
    return said + module.take_output()


def comparable(data: bytes) -> bytes:
    """From the first acknowledgement to the label's second check-in, after which the recorded label goes its own way."""
    data = data[data.index(b"ACK>") :]
    reports = [place for place in range(len(data)) if data.startswith(b"ADR>", place)]
    return data[: reports[1] + 34]


@pytest.mark.parametrize("slice_bytes", [1, 10_000])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_simulated_module_writes_the_recorded_bytes(scenario: str, slice_bytes: int) -> None:
    recorded = transcript(scenario)
    assert comparable(play(recorded, slice_bytes)) == comparable(recorded.module_bytes)
