"""The pictures that a template names: found, measured and stripped before anything decodes them."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Final

IMAGE_SIZE_BYTES_MAX: Final = 262_144  # an uncompressed 512x512 picture in grey
IMAGE_PIXELS_MAX: Final = 1_048_576  # above the largest panel of the catalogue, 960x672
CHUNKS_MAX: Final = 4096  # encoders write pieces of 8 KiB and more; this many are 64 bytes each
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,60}\.png")
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KEPT: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # not the texts and profiles, which are compressed on their own


class BadImage(Exception):
    """A picture is refused; the message says why."""


def read(name: str, folders: tuple[Path, ...], width: int, height: int) -> bytes:
    """The PNG of this name from the first folder that has it, without its comments. It decodes, and its size is the given one.

    Raises BadImage.
    """
    if not _NAME.fullmatch(name):
        raise BadImage(f"{name!r}, expected the name of a .png file beside the template")
    content = _content(name, folders)
    chunks = _chunks(name, content)
    size = struct.unpack_from(">II", chunks[0][1], 8)
    if size != (width, height):
        raise BadImage(f"{name!r} is {size[0]}x{size[1]}, its box is {width}x{height}")
    if width * height > IMAGE_PIXELS_MAX:
        raise BadImage(f"{name!r} has {width * height} pixels, at most {IMAGE_PIXELS_MAX}")
    from PIL import Image  # the daemon's main process reads templates too, and most have no picture

    stripped = _SIGNATURE + b"".join(chunk for kind, chunk in chunks if kind in _KEPT)
    try:
        with Image.open(io.BytesIO(stripped), formats=("PNG",)) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:  # all that Pillow's PNG reader raises
        raise BadImage(f"{name!r} is a damaged PNG: {error}") from error
    return stripped


def _content(name: str, folders: tuple[Path, ...]) -> bytes:
    for folder in folders:
        try:
            with (folder / name).open("rb") as file:
                content = file.read(IMAGE_SIZE_BYTES_MAX + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BadImage(f"{name!r} cannot be read: {error.strerror}") from error
        if len(content) > IMAGE_SIZE_BYTES_MAX:
            raise BadImage(f"{name!r} has more than {IMAGE_SIZE_BYTES_MAX} bytes")
        return content
    raise BadImage(f"{name!r} cannot be read: there is no such file")


def _chunks(name: str, content: bytes) -> list[tuple[bytes, bytes]]:
    """(type, whole chunk) of a PNG's chunks, the header first."""
    if not content.startswith(_SIGNATURE):
        raise BadImage(f"{name!r} is not a PNG")
    chunks: list[tuple[bytes, bytes]] = []
    place = len(_SIGNATURE)
    while place + 12 <= len(content) and len(chunks) < CHUNKS_MAX:
        length, kind = struct.unpack_from(">I4s", content, place)
        chunk = content[place : place + 12 + length]
        if kind in _KEPT and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):  # the decoder does not look at all of them
            raise BadImage(f"{name!r} is a damaged PNG: wrong sum in its part {len(chunks) + 1}")
        chunks.append((kind, chunk))
        place += 12 + length
        if kind == b"IEND":
            break
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 25 or chunks[-1][0] != b"IEND" or place > len(content):
        raise BadImage(f"{name!r} is not a whole PNG of at most {CHUNKS_MAX} parts")
    return chunks
