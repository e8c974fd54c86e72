"""Four pictures like photos, made here so that nobody's photo is needed, and how wrong a dithered one looks.

Their colours are warm, as of food, faces and wood: strong greens and blues are far from all that black, white and red can mix, and would
measure the panel, not the dithering.

The error is the mean CIELAB distance between picture and dots after both were blurred like an eye does it: in an opponent colour space,
brightness little, colour more (the idea of S-CIELAB, Zhang and Wandell 1996).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 800, 480
BRIGHTNESS_SIGMA_PX = 1.2
COLOUR_SIGMA_PX = 2.5

_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_OPPONENT = np.array([[0.279, 0.72, -0.107], [-0.449, 0.29, -0.077], [0.086, -0.59, 0.501]])  # of XYZ: brightness, red-green, blue-yellow


def pictures(width: int = WIDTH, height: int = HEIGHT) -> dict[str, Bytes]:
    """Four sRGB pictures (height, width, 3) by name; the same ones every time."""
    y, x = np.mgrid[0:height, 0:width] / height
    makers = {"hills": _hills, "face": _face, "table": _table, "street": _street}
    return {name: _encoded(make(x, y, np.random.default_rng(number))) for number, (name, make) in enumerate(makers.items())}


def colour_error(picture: Bytes, shown: Bytes) -> float:
    """Mean distance in CIELAB after blurring, of two sRGB pictures (height, width, 3)."""
    return float(np.sqrt(((_seen(picture) - _seen(shown)) ** 2).sum(axis=-1)).mean())


def decoded(octets: Bytes) -> Floats:
    encoded = octets / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encoded(light: Floats) -> Bytes:
    light = np.clip(light, 0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    octets: Bytes = np.rint(encoded * 255).astype(np.uint8)
    return octets


def _seen(octets: Bytes) -> Floats:
    opponent = decoded(octets) @ (_OPPONENT @ _XYZ).T
    sigmas = (BRIGHTNESS_SIGMA_PX, COLOUR_SIGMA_PX, COLOUR_SIGMA_PX)
    blurred = np.stack([_blurred(opponent[..., part], sigma) for part, sigma in enumerate(sigmas)], axis=-1)
    xyz = np.clip(blurred @ np.linalg.inv(_OPPONENT).T / _XYZ.sum(axis=1), 0, None)
    response = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = np.moveaxis(response, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _blurred(plane: Floats, sigma_px: float) -> Floats:
    reach = int(np.ceil(3 * sigma_px))
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma_px**2))
    bell /= bell.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if axis == other else (0, 0) for other in (0, 1)]
        padded = np.pad(plane, padding, mode="edge")
        plane = sum(weight * np.take(padded, np.arange(plane.shape[axis]) + place, axis) for place, weight in enumerate(bell))
    return plane


# The pictures, in linear light. x and y are in picture heights.


def _mixed(first: Floats, second: Floats, share: Floats) -> Floats:
    share = np.clip(share, 0, 1)[..., None]
    return first * (1 - share) + second * share


def _colour(text: str) -> Floats:
    return decoded(np.array([int(text[place : place + 2], 16) for place in (0, 2, 4)], np.uint8))


def _clouds(shape: tuple[int, ...], chance: np.random.Generator, slope: float = 1.0, stretch: float = 1.0) -> Floats:
    """Noise with the spectrum of natural pictures (amplitude 1 / frequency**slope), mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None] * stretch, np.fft.rfftfreq(shape[1]))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(chance.standard_normal(shape)) / frequency**slope
    spectrum[0, 0] = 0
    noise: Floats = np.fft.irfft2(spectrum, s=shape)
    return noise / float(noise.std())


def _hills(x: Floats, y: Floats, chance: np.random.Generator) -> Floats:
    """A hazy sky with clouds, four ridges in autumn; late in the day."""
    light = _mixed(_colour("8f9fb4"), _colour("e2dfda"), y * 1.7)
    light = _mixed(light, _colour("f7f3ea"), (_clouds(x.shape, chance, 1.5, 0.4) - 0.2) * 0.6)
    for number, tone in enumerate(("9a9a9c", "857a66", "7a6450", "a08a60")):
        ridge = 0.42 + 0.13 * number + 0.05 * np.sin(x * (3 + number) + 2 * number) + 0.012 * _clouds((1, x.shape[1]), chance, 1.2)
        ground = _colour(tone) * np.clip(1 + (0.12 + 0.1 * number) * _clouds(x.shape, chance, 1.0), 0.1, 3)[..., None]
        light = _mixed(light, ground, (y - ridge) * 120)
    return light * 0.6


def _ball(x: Floats, y: Floats, at: tuple[float, float], radii: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Where an ellipsoid is (a share), how much lamp light from the upper left it gets, and its highlight."""
    across, down = (x - at[0]) / radii[0], (y - at[1]) / radii[1]
    inside = 1 - across**2 - down**2
    height = np.sqrt(np.clip(inside, 0, 1))
    lit = np.clip((-0.5 * across - 0.6 * down + 0.62 * height), 0, 1)
    return np.clip(inside * 60 * min(radii), 0, 1), 0.18 + 0.95 * lit, np.clip(lit - 0.93, 0, 1) * 9


def _face(x: Floats, y: Floats, chance: np.random.Generator) -> Floats:
    """A head and shoulders before a blurred room."""
    light = _mixed(_colour("6d5a4a"), _colour("c9b79c"), x * 0.5 + 0.25 * _clouds(x.shape, chance, 2))
    light = _mixed(light, _colour("b9bfc0"), (_clouds(x.shape, chance, 2.2) - 0.8) * 2)
    parts = (
        ((0.85, 1.12), (0.52, 0.4), "54566a", 0.10),
        ((0.85, 0.78), (0.12, 0.2), "c08560", 0.02),
        ((0.84, 0.40), (0.24, 0.28), "38251a", 0.25),
        ((0.86, 0.47), (0.19, 0.25), "d9a07c", 0.03),
        ((0.79, 0.44), (0.030, 0.016), "f0ece6", 0.0),
        ((0.94, 0.44), (0.030, 0.016), "f0ece6", 0.0),
        ((0.79, 0.44), (0.014, 0.014), "2f4a3a", 0.0),
        ((0.94, 0.44), (0.014, 0.014), "2f4a3a", 0.0),
        ((0.86, 0.52), (0.020, 0.050), "e3ae8c", 0.02),
        ((0.865, 0.61), (0.062, 0.022), "a8443f", 0.03),
    )
    for at, radii, tone, roughness in parts:
        where, lit, shine = _ball(x, y, at, radii)
        skin = _colour(tone) * np.clip(1 + roughness * _clouds(x.shape, chance, 0.8), 0, 3)[..., None]
        light = _mixed(light, skin * lit[..., None] + 0.12 * shine[..., None], where)
    return light


def _table(x: Floats, y: Floats, chance: np.random.Generator) -> Floats:
    """Apples, bread rolls, eggs and nuts on a wooden table."""
    light = _colour("9c8468") * np.clip(1 + 0.22 * _clouds(x.shape, chance, 1.0, 0.12), 0, 3)[..., None] * (0.45 + 0.7 * y)[..., None]
    tones = ("a83a32", "c9926a", "dccdb4", "8a6a4a", "6a3a44", "b9553f", "e6dcc4", "7d7350")
    for number, tone in enumerate(tones):
        at = (0.2 + 0.39 * (number % 4) + 0.12 * (number // 4), 0.33 + 0.36 * (number // 4))
        radius = 0.15 + 0.02 * ((number * 5) % 3)
        shadow, _, _ = _ball(x, y, (at[0] + 0.05, at[1] + 0.08), (radius * 1.05, radius * 0.95))
        light = light * (1 - 0.55 * shadow[..., None])
        where, lit, shine = _ball(x, y, at, (radius, radius * 0.95))
        peel = _colour(tone) * np.clip(1 + 0.1 * _clouds(x.shape, chance, 0.9), 0, 3)[..., None]
        light = _mixed(light, peel * lit[..., None] + 0.5 * shine[..., None], where)
    return light


def _street(x: Floats, y: Floats, chance: np.random.Generator) -> Floats:
    """A shop front at dusk: signs, lit windows, a wet street."""
    light = _mixed(_colour("4a4c62"), _colour("cf9a78"), y * 1.6)
    draft = Image.new("RGB", (x.shape[1], x.shape[0]))
    pen = ImageDraw.Draw(draft)
    unit = x.shape[0]
    pen.rectangle((0.1 * unit, 0.15 * unit, 1.57 * unit, 0.78 * unit), fill="#4b3d39")
    for number, tone in enumerate(("#efdcae", "#dfba86", "#dbe0e0", "#f4ebcb", "#c98a66")):
        left = (0.16 + 0.285 * number) * unit
        pen.rectangle((left, 0.42 * unit, left + 0.22 * unit, 0.72 * unit), fill=tone)
        pen.rectangle((left + 0.1 * unit, 0.42 * unit, left + 0.115 * unit, 0.72 * unit), fill="#3a2f2b")
    pen.rectangle((0.16 * unit, 0.2 * unit, 1.52 * unit, 0.36 * unit), fill="#8c1d22")
    pen.text((0.3 * unit, 0.2 * unit), "FRUIT & BREAD", fill="#f4efe2", font=ImageFont.load_default(0.13 * unit))
    house = decoded(np.array(draft))
    built = (house.sum(axis=-1) > 0).astype(np.float64)
    light = _mixed(light, house * np.clip(1 + 0.15 * _clouds(x.shape, chance, 1.0), 0, 3)[..., None], built)
    wet = light[np.clip((1.56 * unit - np.arange(x.shape[0])).astype(int), 0, x.shape[0] - 1)]
    ground = _mixed(_colour("2b2d33"), wet, 0.35 + 0.15 * _clouds(x.shape, chance, 1.0, 0.2))
    light = _mixed(light, ground, (y - 0.78) * 200)
    return light * np.clip(1.1 - 0.35 * np.abs(x - 0.85), 0, 1)[..., None]
