"""QR codes as the standard tells them, bit by bit and module by module: what the kernel of `qr.py` has to equal.

Slow (milliseconds a code) and meant to be read beside ISO/IEC 18004:2015; of `qr_tables.py` it uses the printed tables, none of the
arrays that the kernel reads. Modules are lists of rows of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

from render.errors import FieldError
from render.symbols import qr_tables as facts

Modules = list[list[int]]


def draw(text: str | bytes, level: str = "M", version_max: int = facts.VERSION_MAX) -> Modules:
    """The modules of `qr.qr`. Raises FieldError when the text does not fit."""
    raw = text.encode() if isinstance(text, str) else text
    eci = isinstance(text, str) and not text.isascii()
    level_index = facts.LEVELS.index(level)
    for version in range(1, version_max + 1):
        bits = data_bits(raw, eci, wide=version >= 10)
        capacity = 8 * facts.blocks(version, level_index).data
        if raw and len(bits) <= capacity:
            codewords = with_correction(padded(bits, capacity), version, level_index)
            images = [masked(codewords, version, level_index, mask) for mask in range(8)]
            return min(images, key=penalty)
    raise FieldError(f"{len(raw)} bytes do not fit into version {version_max}-{level}")


def plan(raw: bytes, wide: bool) -> list[int]:
    """The mode of each character. `best[mode]`: sixths of a bit when the next character is in that mode, and the modes before it."""
    heads = [6 * (4 + count) for count in facts.COUNT_BITS[wide]]
    best = [(head, [mode]) for mode, head in enumerate(heads)]
    for at, byte in enumerate(raw):
        costs = (20 if chr(byte).isdecimal() and byte < 128 else None, 33 if chr(byte) in facts.ALPHANUMERIC else None, 48)
        spent = [(best[mode][0] + cost if cost else 1 << 30, best[mode][1]) for mode, cost in enumerate(costs)]
        if at + 1 == len(raw):
            return min(spent, key=lambda way: way[0])[1]
        best = []
        for mode, head in enumerate(heads):
            ways = [(spent[mode][0], [*spent[mode][1], mode])]
            ways += [(-(-cost // 6) * 6 + head, [*modes, mode]) for other, (cost, modes) in enumerate(spent) if other != mode]
            best.append(min(ways, key=lambda way: way[0]))
    return []


def data_bits(raw: bytes, eci: bool, wide: bool) -> str:
    """7.4: ECI header and segments, as a text of 0 and 1."""
    bits = f"{facts.ECI_UTF8:012b}" if eci else ""
    at = 0
    for mode, run in groupby(plan(raw, wide)):
        part = raw[at : at + len(list(run))]
        at += len(part)
        bits += f"{facts.MODE_BITS[mode]:04b}" + f"{len(part):0{facts.COUNT_BITS[wide][mode]}b}"
        if mode == facts.NUMERIC_MODE:
            for start in range(0, len(part), 3):
                digits = part[start : start + 3]
                bits += f"{int(digits):0{3 * len(digits) + 1}b}"
        elif mode == facts.ALPHANUMERIC_MODE:
            values = [facts.ALPHANUMERIC.index(chr(byte)) for byte in part]
            for start in range(0, len(values), 2):
                pair = values[start : start + 2]
                bits += f"{45 * pair[0] + pair[1]:011b}" if len(pair) == 2 else f"{pair[0]:06b}"
        else:
            bits += "".join(f"{byte:08b}" for byte in part)
    return bits


def padded(bits: str, capacity: int) -> list[int]:
    """7.4.10: terminator, zeros to the next codeword, then pad codewords."""
    bits += "0" * min(4, capacity - len(bits))
    bits += "0" * (-len(bits) % 8)
    codewords = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    return codewords + [(0xEC, 0x11)[at % 2] for at in range(capacity // 8 - len(codewords))]


def with_correction(data: list[int], version: int, level: int) -> list[int]:
    """7.5 and 7.6: the Reed-Solomon codewords of each block, all blocks in turns."""
    parts = facts.blocks(version, level)
    generator = facts.generator(parts.ecc)
    pieces, corrections, at = [], [], 0
    for block in range(parts.count):
        length = parts.short_data + (block >= parts.short_count)
        pieces.append(data[at : at + length])
        corrections.append(_remainder(data[at : at + length], generator))
        at += length
    return [*_in_turns(pieces), *_in_turns(corrections)]


def masked(codewords: list[int], version: int, level: int, mask: int) -> Modules:
    """7.7 to 7.10: patterns, data, mask, format and version information."""
    size = 17 + 4 * version
    modules: list[list[int | None]] = [[None] * size for _ in range(size)]
    _draw_patterns(modules, version)
    _draw_format(modules, facts.format_bits(level, mask))
    bits = "".join(f"{codeword:08b}" for codeword in codewords)
    for at, (row, column) in enumerate(_free_places(modules)):
        bit = int(bits[at]) if at < len(bits) else 0
        modules[row][column] = bit ^ _turned(mask, row, column)
    return [[module or 0 for module in row] for row in modules]


def penalty(modules: Modules) -> int:
    """7.8.3, table 11."""
    lines = [*modules, *([row[column] for row in modules] for column in range(len(modules)))]
    return sum(run_points(line) + finder_points(line) for line in lines) + block_points(modules) + proportion_points(modules)


def run_points(line: list[int]) -> int:
    """Five adjacent modules of one colour: 3, each further one 1."""
    return sum(length - 2 for length in (len(list(run)) for _, run in groupby(line)) if length >= 5)


def finder_points(line: list[int]) -> int:
    """Dark and light as 1:1:3:1:1 with four light modules before or after it; the quiet zone is light."""
    found = 0
    for at in range(len(line) - 6):
        before, after = line[max(0, at - 4) : at], line[at + 7 : at + 11]
        found += line[at : at + 7] == [1, 0, 1, 1, 1, 0, 1] and not (any(before) and any(after))
    return 40 * found


def block_points(modules: Modules) -> int:
    """Each 2x2 block of one colour, overlapping ones too."""
    pairs = [[row[column : column + 2] for column in range(len(row) - 1)] for row in modules]
    return 3 * sum(sum(a + b) in (0, 4) for upper, lower in pairwise(pairs) for a, b in zip(upper, lower, strict=True))


def proportion_points(modules: Modules) -> int:
    """10 for each whole 5 % that the dark modules are away from half."""
    dark, area = sum(map(sum, modules)), len(modules) ** 2
    return 10 * (abs(20 * dark - 10 * area) // area)


def _remainder(data: list[int], generator: list[int]) -> list[int]:
    powers, logarithms = facts.field_powers()
    rest = [0] * len(generator)
    for codeword in data:
        leading = codeword ^ rest[0]
        rest = [*rest[1:], 0]
        if leading:
            rest = [value ^ powers[logarithms[leading] + logarithms[factor]] for value, factor in zip(rest, generator, strict=True)]
    return rest


def _in_turns(pieces: list[list[int]]) -> Iterator[int]:
    for place in range(max(map(len, pieces))):
        for piece in pieces:
            if place < len(piece):
                yield piece[place]


def _draw_patterns(modules: list[list[int | None]], version: int) -> None:
    size = len(modules)
    for at in range(size):
        modules[6][at] = modules[at][6] = 1 - at % 2
    for top, left in ((0, 0), (0, size - 7), (size - 7, 0)):
        for row in range(max(0, top - 1), min(size, top + 8)):
            for column in range(max(0, left - 1), min(size, left + 8)):
                ring = max(abs(row - top - 3), abs(column - left - 3))
                modules[row][column] = int(ring in (0, 1, 3))
    for centre_row, centre_column in facts.alignment_centres(version):
        for row in range(centre_row - 2, centre_row + 3):
            for column in range(centre_column - 2, centre_column + 3):
                modules[row][column] = int(max(abs(row - centre_row), abs(column - centre_column)) != 1)
    if version >= 7:
        for bit in range(18):
            value = (facts.version_bits(version) >> bit) & 1
            modules[bit // 3][size - 11 + bit % 3] = modules[size - 11 + bit % 3][bit // 3] = value


def _draw_format(modules: list[list[int | None]], bits: int) -> None:
    """Figure 25: around the upper left finder pattern, and once more beside the other two."""
    size = len(modules)
    first = [(8, column) for column in (0, 1, 2, 3, 4, 5, 7, 8)] + [(row, 8) for row in (7, 5, 4, 3, 2, 1, 0)]
    second = [(size - 1 - at, 8) for at in range(7)] + [(8, size - 8 + at) for at in range(8)]
    for places in (first, second):
        for at, (row, column) in enumerate(places):
            modules[row][column] = (bits >> (14 - at)) & 1
    modules[size - 8][8] = 1


def _free_places(modules: list[list[int | None]]) -> Iterator[tuple[int, int]]:
    """Figure 19: two columns at a time from the right, upwards first, around column 6."""
    size = len(modules)
    upwards = True
    for right in [*range(size - 1, 6, -2), 5, 3, 1]:
        for row in reversed(range(size)) if upwards else range(size):
            for column in (right, right - 1):
                if modules[row][column] is None:
                    yield row, column
        upwards = not upwards


def _turned(mask: int, row: int, column: int) -> int:
    """Table 10."""
    match mask:
        case 0:
            rest = (row + column) % 2
        case 1:
            rest = row % 2
        case 2:
            rest = column % 3
        case 3:
            rest = (row + column) % 3
        case 4:
            rest = (row // 2 + column // 3) % 2
        case 5:
            rest = (row * column) % 2 + (row * column) % 3
        case 6:
            rest = ((row * column) % 2 + (row * column) % 3) % 2
        case _:
            rest = ((row + column) % 2 + (row * column) % 3) % 2
    return int(rest == 0)
