"""The recorded conversations between a host and a real module firmware, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from protocols.oepl_wire import BLOCK_WIRE_BYTES, CANCEL, OFFER, PENDING_BYTES, PendingData, block_from_wire

FOLDER = Path(__file__).parent / "vectors"
SCENARIOS = ("cancel", "led_command", "tag_config", "zlib_image", "raw2bpp_image_4blocks")


@dataclass(frozen=True, slots=True)
class Transcript:
    """`lines` are (seconds, whether the host wrote it, bytes)."""

    scenario: str
    lines: tuple[tuple[float, bool, bytes], ...]

    @property
    def host_bytes(self) -> bytes:
        return b"".join(data for _, from_host, data in self.lines if from_host)

    @property
    def module_bytes(self) -> bytes:
        return b"".join(data for _, from_host, data in self.lines if not from_host)

    @property
    def offer(self) -> PendingData:
        """What the host announced."""
        (wire,) = [data for _, from_host, data in self.lines if from_host and data.startswith(OFFER)]
        return PendingData.from_wire(wire[4 : 4 + PENDING_BYTES])

    @property
    def payload(self) -> bytes:
        """The blocks that the host sent."""
        blocks = [block_from_wire(data[:BLOCK_WIRE_BYTES]) for _, from_host, data in self.lines if from_host and len(data) > 4000]
        return b"".join(block for block in blocks if block is not None)

    @property
    def cancels(self) -> bool:
        return any(from_host and data.startswith(CANCEL) for _, from_host, data in self.lines)


def transcript(scenario: str) -> Transcript:
    recorded = json.loads((FOLDER / f"oepl_serial_{scenario}.json").read_text("ascii"))
    return Transcript(
        scenario, tuple((seconds, direction == "host>module", bytes.fromhex(data)) for seconds, direction, data in recorded["transcript"])
    )
