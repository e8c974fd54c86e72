"""The light of an OpenEPaperLink label: one command, carried where a picture's name and size would stand, and no transfer.

Fact source: the framing is that of the compiled firmwares (tests/vectors/oepl_serial_led_command.json: the label takes it, says XFC and
then does it); what the twelve bytes mean is read from the Newton M3's firmware.
"""

from __future__ import annotations

from typing import Final

from protocols.oepl_wire import TYPE_COMMAND, DataVer, Mac, PendingData

COMMAND_LIGHT: Final = 0x04
LIGHT_BYTES: Final = 12
LIFETIME_MIN: Final = 5  # whoever looks for the label has found it, or asks again

_PLAY: Final = 0x01
_BRIGHTNESS: Final = 8  # of 16
_GREEN: Final = 0b000_111_00  # RGB332
_FLASHES: Final = 5
_FLASH_100_MS: Final = 2
_PAUSE_100_MS: Final = 5
_REPEATS: Final = 12  # about half a minute; 254 would be for ever


def light_bytes() -> bytes:
    """How it blinks: mode and brightness, three groups of (colour, flashes and their pace, pause), repeats, one to spare."""
    group = bytes([_GREEN, _FLASH_100_MS << 4 | _FLASHES, _PAUSE_100_MS])
    return bytes([(_BRIGHTNESS - 1) << 4 | _PLAY]) + group + bytes(6) + bytes([_REPEATS - 1, 0])


def blink(mac: Mac, light: bytes | None = None) -> PendingData:
    """What a module is told to offer to the label so that it blinks."""
    light = light_bytes() if light is None else light
    if len(light) != LIGHT_BYTES:
        raise ValueError(f"{len(light)} bytes, a light has {LIGHT_BYTES}")
    return PendingData(mac, DataVer(light[:8]), int.from_bytes(light[8:], "little"), TYPE_COMMAND, COMMAND_LIGHT, 0, LIFETIME_MIN)
