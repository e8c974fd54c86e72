"""Planes <-> the picture text of a KKM label ("ascii" data). Facts: the maker's demo and its published samples.

Upper-case hex digits: 02, the picture id (u32, big-endian), the decoded length (u16, big-endian), 14 (20 dictionary bytes), the dictionary;
then a text in which a letter G to Z is one of the dictionary's bytes, two hex digits are a byte, and a lower-case letter a to z before
either repeats it 2 to 27 times.

The attempt number is the picture id, which the label then advertises as the picture that it shows: the pixels need not differ.
"""

from __future__ import annotations

import re
import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from render.codecs import packed
from render.codecs.choice import check
from render.errors import CodecRefused, PayloadError
from render.panels import Panel

Bytes = npt.NDArray[np.uint8]

ID_MAX: Final = 0xFFFFFFFF
TEXT_MAX: Final = 60 * 1024 - 256  # the maker's demo refuses messages beyond 60 KiB; the rest of the JSON takes under 200 bytes
DICTIONARY: Final = 20
_RUN_MAX: Final = 27
_HEADER: Final = struct.Struct(">BIHB")
_KIND: Final = 0x02  # kind 0, encoding 2
_TOKEN: Final = re.compile(rb"([a-z]?)(?:([G-Z])|([0-9A-F]{2}))")


def encode(codec: str, panel: Panel, planes: Bytes, attempt: int) -> bytes:
    """The text as ASCII bytes. Raises CodecRefused for another codec, or a picture too busy for the gateway's largest message."""
    check(codec, panel)
    if codec != "kkm":
        raise CodecRefused(f"{codec}: no codec of KKM labels")
    if not 0 <= attempt <= ID_MAX:
        raise ValueError(f"attempt {attempt} is outside 0 to {ID_MAX}")
    pixels = packed.to_wire(panel, planes)
    values, lengths = _runs(np.frombuffer(pixels, np.uint8))
    pieces = np.bincount(values, weights=(lengths + _RUN_MAX - 1) // _RUN_MAX, minlength=256)
    # the bytes that a letter shortens most often; the smaller byte where it is the same, so that equal pictures give equal text
    letters = [int(value) for value in np.argsort(-pieces, kind="stable")[:DICTIONARY]]
    tokens = [f"{value:02X}" for value in range(256)]
    for place, value in enumerate(letters):
        tokens[value] = chr(ord("G") + place)
    head = _HEADER.pack(_KIND, attempt, len(pixels), DICTIONARY) + bytes(letters)
    runs = zip(values.tolist(), lengths.tolist(), strict=True)
    text = head.hex().upper() + "".join(_repeated(tokens[value], length) for value, length in runs)
    if len(text) > TEXT_MAX:
        raise CodecRefused(f"kkm: {len(text)} characters, and a gateway takes {TEXT_MAX}; a picture with less detail is shorter")
    return text.encode("ascii")


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """Planes of a text. Raises PayloadError for anything but one whole picture of this panel."""
    if codec != "kkm":
        raise PayloadError(f"{codec}: no codec of KKM labels")
    _, size, start, letters = _head(data)
    if size != packed.wire_bytes(panel):
        raise PayloadError(f"{panel.name}: a text of {size} bytes, expected {packed.wire_bytes(panel)}")
    pixels = bytearray()
    while start < len(data):
        token = _TOKEN.match(data, start)
        if token is None or len(pixels) > size:
            raise PayloadError(f"kkm: no token at character {start}, or more bytes than the text states")
        run, letter, digits = token.groups()
        place = letter[0] - ord("G") if letter else 0
        if place >= len(letters) and letter:
            raise PayloadError(f"kkm: letter {chr(letter[0])} is beyond the dictionary")
        value = bytes((letters[place],)) if letter else bytes.fromhex(digits.decode("ascii"))
        pixels += value * (run[0] - ord("a") + 2 if run else 1)
        start = token.end()
    if len(pixels) != size:
        raise PayloadError(f"kkm: {len(pixels)} bytes, and the text states {size}")
    return packed.from_wire(panel, bytes(pixels))


def read_attempt(data: bytes) -> int:
    """The attempt number of a text. Raises PayloadError when it does not begin as one."""
    return _head(data)[0]


def _head(data: bytes) -> tuple[int, int, int, bytes]:
    """(picture id, decoded length, where the tokens begin, dictionary)."""
    try:
        kind, picture_id, size, count = _HEADER.unpack(bytes.fromhex(data[: 2 * _HEADER.size].decode("ascii")))
        letters = bytes.fromhex(data[2 * _HEADER.size : 2 * (_HEADER.size + count)].decode("ascii"))
    except (ValueError, struct.error) as error:
        raise PayloadError(f"kkm: no header in hex digits: {error}") from error
    if kind != _KIND or len(letters) != count or count > DICTIONARY:
        raise PayloadError(f"kkm: kind {kind:02X} with {count} dictionary bytes, {len(letters)} of them there")
    return picture_id, size, 2 * (_HEADER.size + count), letters


def _runs(array: Bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(value, length) of each run of equal bytes."""
    starts = np.flatnonzero(np.diff(array, prepend=~array[:1]))
    return array[starts].astype(np.int64), np.diff(starts, append=len(array))


def _repeated(token: str, length: int) -> str:
    """A run as text. The longest pieces first; a rest of one needs no letter."""
    full, rest = divmod(length, _RUN_MAX)
    text = f"z{token}" * full
    if rest == 0:
        return text
    return text + (token if rest == 1 else f"{chr(ord('a') + rest - 2)}{token}")
