"""OpenEPaperLink label types: what the hardware number in a check-in says about size, containers, storage and battery.

One row per type with one or two bit planes. Types with three or four bits per pixel, segment displays and Bluetooth-only types are
absent on purpose: their pictures are other data types. Where the makers' constants and their type files disagree, the files are right.
"""

from __future__ import annotations

from dataclasses import dataclass

REFRESH_MAX_MS = 40_000
"""Longest refresh of any of these panels; black-white-red ones take 12 to 25 s at room temperature, longer in the cold."""

LOW_BATTERY_MV = 2400
"""At or below this the stock access point calls a battery low; panels begin to refuse a refresh."""

_SLOT_HEADER_BYTES = 22
_SMALL_SLOT_BYTES = 8 * 1024 - _SLOT_HEADER_BYTES  # M2 boards up to 2.2"
_MIDDLE_SLOT_BYTES = 12 * 1024 - _SLOT_HEADER_BYTES  # M2 boards of 2.6" to 2.9"


@dataclass(frozen=True, slots=True)
class LabelType:
    """One hardware number. `width`, `height` are those of the picture buffer, after the type's own rotation."""

    hw_type: int
    name: str
    width: int
    height: int
    planes: int
    container: str | None  # "zlib" | "g5": what it takes beside raw planes
    container_firmware: int  # from this version on
    slot_bytes: int
    refresh_max_ms: int = REFRESH_MAX_MS
    low_battery_mv: int = LOW_BATTERY_MV

    @property
    def panel(self) -> str:
        """The key by which the renderer knows the panel."""
        return f"oepl-{self.hw_type:02X}"

    @property
    def raw_bytes(self) -> int:
        """All planes, uncompressed."""
        return self.width * self.height // 8 * self.planes

    def codecs(self, firmware: int) -> tuple[str, ...]:
        """The containers that this firmware takes, best first."""
        raw = ("raw2", "raw1") if self.planes == 2 else ("raw1",)
        return (self.container, *raw) if self.container is not None and firmware >= self.container_firmware else raw


def _row(
    hw_type: int, name: str, width: int, height: int, planes: int, container: str | None, firmware: int = 0, slot_bytes: int | None = None
) -> LabelType:
    # Without a published slot size the raw picture is the limit: every label must store that, and no container is sent larger.
    raw_bytes = width * height // 8 * planes
    return LabelType(hw_type, name, width, height, planes, container, firmware, raw_bytes if slot_bytes is None else slot_bytes)


_ROWS = (
    _row(0x00, 'M2 1.54"', 152, 152, 2, "g5", 0x29, _SMALL_SLOT_BYTES),
    _row(0x01, 'M2 2.9"', 128, 296, 2, "g5", 0x29, _MIDDLE_SLOT_BYTES),
    _row(0x02, 'M2 4.2"', 400, 300, 2, "g5", 0x29),
    _row(0x03, 'M2 2.2"', 104, 212, 2, "g5", 0x29, _SMALL_SLOT_BYTES),
    _row(0x05, 'M2 7.4"', 640, 384, 2, "zlib", 0x27),
    _row(0x11, 'M2 2.9" (UC8151)', 128, 296, 2, "g5", 0x29, _MIDDLE_SLOT_BYTES),
    _row(0x21, 'ST-GM29XXF 2.9" freezer', 128, 296, 1, None, 0, _MIDDLE_SLOT_BYTES),
    _row(0x22, 'M2 2.7"', 176, 264, 2, "g5", 0x29, _MIDDLE_SLOT_BYTES),
    _row(0x26, 'M2 7.5" BW', 640, 384, 1, "zlib", 0x27),
    _row(0x27, 'ST-GM29MT1 2.9"', 128, 296, 1, "g5", 0x29, _MIDDLE_SLOT_BYTES),
    _row(0x28, 'M3 1.6" BWRY', 168, 168, 2, "zlib", 0x27),
    _row(0x2E, 'M3 9.7"', 960, 672, 2, "zlib", 0x27),
    _row(0x2F, 'M3 4.3"', 152, 522, 2, "zlib", 0x27),
    _row(0x30, 'M3 1.6"', 200, 200, 2, "zlib", 0x27),
    _row(0x33, 'M3 2.9"', 168, 384, 2, "zlib", 0x27),
    _row(0x36, 'M3 7.5"', 800, 480, 2, "zlib", 0x27),
    _row(0x3C, 'M3 4.2" BWY', 400, 300, 2, "zlib", 0x27),
    _row(0x41, 'M3 5.85" BWR', 792, 272, 2, "zlib", 0x27),
    _row(0x42, 'M3 5.85" BW', 792, 272, 1, "zlib", 0x27),
    _row(0x45, 'M3 2.2" Lite', 128, 250, 2, "zlib", 0x27),
    _row(0x4C, 'M3 7.5" BWRY', 800, 480, 2, "zlib", 0x27),
    _row(0x50, 'HD150 5.83" BWR', 648, 480, 2, "zlib", 0x02),
    _row(0x54, 'HS BW 2.13"', 128, 256, 1, "zlib", 0x27),
    _row(0x60, 'HS 3.5" BWY', 184, 384, 2, "zlib", 0x27),
    _row(0x61, 'HS 3.5" BWR', 184, 384, 2, "zlib", 0x27),
    _row(0x62, 'HS 3.5" BW', 184, 384, 1, "zlib", 0x27),
    _row(0x6D, 'HS BWRY 3.5"', 184, 384, 2, "zlib", 0x27),
    _row(0x80, 'Chroma 7.4" (sub-GHz)', 640, 384, 2, None),
    _row(0x82, "Chroma 29 (sub-GHz)", 128, 296, 2, None),
    _row(0x83, "Chroma 42 (sub-GHz)", 400, 300, 2, None),
    _row(0x90, 'M3 4.2" BWRY', 400, 300, 2, "zlib", 0x27),
)

LABEL_TYPES = {row.hw_type: row for row in _ROWS}
"""Hardware number -> its row."""

LIT_TYPES = frozenset(row.hw_type for row in _ROWS if row.name.startswith("M3"))
"""Boards with a light, whatever they report: a label finds out what it has at run time, and not always. Newton M3 boards have one."""
