"""Light, and the distance between two lights, for every way of dithering.

Shades are mixed in linear light: what a person sees of fine dots is the mean of their light. Diffusing in sRGB instead would make mid
tones 14 to 26 L* too light.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from render.panels.types import Rgb

LIGHT_MAX: Final = 65535  # white; black is 0
# Squared differences of red : green : blue are weighted so. Green counts double because the eye sees brightness mostly there. Nearest in
# OKLab instead gives three times the error on black, white and red; equal weights are worse with seven colours too (7.4 against 7.1).
WEIGHTS: Final = (1, 2, 1)

Light = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def decoded(encoded: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear light, 0 to 1, of sRGB values from 0 to 1 (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


LINEAR: Final[Light] = np.rint(decoded(np.arange(256) / 255) * LIGHT_MAX).astype(np.int64)  # of each sRGB value of 8 bits


def adapted(inks: Sequence[Rgb]) -> tuple[Rgb, ...]:
    """The inks as an eye sees them that is used to the panel: its lightest ink is white, its darkest black, others in proportion.

    Each channel of light is stretched by itself. What would leave 0 to 255 stays at the end.
    """
    light = decoded(np.array(inks, np.float64) / 255)
    brightness = light @ np.array(WEIGHTS)
    black, white = light[brightness.argmin()], light[brightness.argmax()]
    stretched = np.clip((light - black) / np.maximum(white - black, 1 / LIGHT_MAX), 0, 1)
    encoded = np.where(stretched <= 0.0031308, stretched * 12.92, 1.055 * stretched ** (1 / 2.4) - 0.055)
    return tuple((red, green, blue) for red, green, blue in np.rint(encoded * 255).astype(int).tolist())
