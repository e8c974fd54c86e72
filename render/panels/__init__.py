"""The panels that labels have, as data: adding a panel is adding a row to one of the files beside this one.

A panel is known by its name: `oepl-01`, `gicisky-0033`, `estation-3D`, `kkm-29-bwr`; OpenDisplay and ATC labels state their own geometry,
and their panels' names say it: `opendisplay-250x122-bw`, `atc-24-296x128`. Loads no numpy: the daemon's main process imports it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from render.errors import UnknownPanel
from render.panels import ble, gicisky, mqtt, oepl
from render.panels.ble import atc_panel, opendisplay_panel
from render.panels.types import (
    ATTEMPT_BITS,
    ATTEMPT_HEIGHT_PX,
    BLACK,
    BLUE,
    BW,
    BWR,
    BWRY,
    BWY,
    COLOURS_7,
    GREEN,
    ORANGE,
    RED,
    SPECTRA_6,
    WHITE,
    YELLOW,
    Box,
    Ink,
    Layout,
    Panel,
    Rgb,
    Wire,
    attempt_strip,
    orientation,
)

__all__ = [
    "ATTEMPT_BITS",
    "ATTEMPT_HEIGHT_PX",
    "BLACK",
    "BLUE",
    "BW",
    "BWR",
    "BWRY",
    "BWY",
    "COLOURS_7",
    "GREEN",
    "ORANGE",
    "PANELS",
    "RED",
    "REFUSED",
    "SPECTRA_6",
    "WHITE",
    "YELLOW",
    "Box",
    "Ink",
    "Layout",
    "Panel",
    "Rgb",
    "Wire",
    "atc_panel",
    "attempt_strip",
    "opendisplay_panel",
    "orientation",
    "panel",
]

NAMES_KEPT_MAX: Final = 1024  # panels built from names; a shop has a handful of kinds


@lru_cache(maxsize=NAMES_KEPT_MAX)
def panel(name: str) -> Panel:
    """The panel of this name. Raises UnknownPanel; for a display that can show no picture it says why."""
    found = PANELS.get(name) or ble.by_name(name)
    if found is not None:
        return found
    if name in REFUSED:
        raise UnknownPanel(f"panel {name!r} shows no pictures: {REFUSED[name]}")
    families = ", ".join(sorted({row.family for row in PANELS.values()} | {"atc"}))
    near = [row for row in sorted(PANELS) if row.partition("-")[0] == name.partition("-")[0]]
    raise UnknownPanel(f"unknown panel {name!r}; known: {', '.join(near) if near else f'names that begin with {families}'}")


PANELS: Final[dict[str, Panel]] = {row.name: row for row in (*oepl.rows(), *gicisky.rows(), *mqtt.rows(), *ble.rows())}
REFUSED: Final[dict[str, str]] = {**oepl.REFUSED, **mqtt.REFUSED}
