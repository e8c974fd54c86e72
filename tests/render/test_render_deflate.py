from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render import raster, scene, templates
from render._jit import python_function
from render.codecs import deflate, deflate_block, deflate_parse, planes
from render.codecs import deflate_tables as t
from render.codecs.deflate import SALT_MAX, Mode
from render.fields import LabelFields
from render.panels import panel

Bytes = npt.NDArray[np.uint8]

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
# plain Python takes a second for 3,000 bytes
LARGE = 70_000 if COMPILED else 1_000
EXAMPLES = 60 if COMPILED else 10
MODES = list(Mode)
LENGTHS = [(3 + place, 0) for place in range(8)] + [
    (first, place // 4 - 1)
    for place, first in enumerate((11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227), 8)
]
LENGTHS.append((258, 0))


class Broken(Exception):
    """Not a stream that a strict decoder takes."""


@dataclass
class Inflater:
    """A strict decoder written from RFC 1951, bit by bit: complete codes only, no distance beyond the window."""

    stream: bytes
    window: int
    at: int = 0
    blocks: int = 0

    def bits(self, count: int) -> int:
        value = 0
        for place in range(count):
            if self.at >= 8 * len(self.stream):
                raise Broken("the stream ends within a block")
            value |= (self.stream[self.at >> 3] >> (self.at & 7) & 1) << place
            self.at += 1
        return value

    def code(self, lengths: list[int]) -> dict[tuple[int, int], int]:
        if sum(2.0**-length for length in lengths if length) != 1:
            raise Broken("a code that is not complete")
        table = {}
        code = 0
        for length in range(1, 16):
            for symbol, its_length in enumerate(lengths):
                if its_length == length:
                    table[length, code] = symbol
                    code += 1
            code <<= 1
        return table

    def symbol(self, table: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 16):
            code = code << 1 | self.bits(1)
            if (length, code) in table:
                return table[length, code]
        raise Broken("no such code")

    def inflate(self) -> bytes:
        out = bytearray()
        final = 0
        while not final:
            self.blocks += 1
            final, kind = self.bits(1), self.bits(2)
            if kind == 0:
                self.at += -self.at % 8
                size, inverse = self.bits(16), self.bits(16)
                if size ^ inverse != 0xFFFF:
                    raise Broken("a stored block's length")
                out += bytes(self.bits(8) for _ in range(size))
            elif kind == 1:
                self.tokens(out, self.code([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8), self.code([5] * 32))
            elif kind == 2:
                self.tokens(out, *self.header())
            else:
                raise Broken("no such kind of block")
        return bytes(out)

    def header(self) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]:
        literals, distances, count = self.bits(5) + 257, self.bits(5) + 1, self.bits(4) + 4
        if literals > 286 or distances > 30:
            raise Broken("too many symbols")
        own = [0] * 19
        for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)[:count]:
            own[symbol] = self.bits(3)
        table = self.code(own)
        lengths: list[int] = []
        while len(lengths) < literals + distances:
            symbol = self.symbol(table)
            if symbol < 16:
                lengths.append(symbol)
            elif symbol == 16:
                lengths += [lengths[-1]] * (self.bits(2) + 3)
            else:
                lengths += [0] * (self.bits(3) + 3 if symbol == 17 else self.bits(7) + 11)
        if len(lengths) != literals + distances:
            raise Broken("a repeat beyond the header")
        return self.code(lengths[:literals]), self.code(lengths[literals:])

    def tokens(self, out: bytearray, literals: dict[tuple[int, int], int], distances: dict[tuple[int, int], int]) -> None:
        while (symbol := self.symbol(literals)) != 256:
            if symbol < 256:
                out.append(symbol)
                continue
            first, extra = LENGTHS[symbol - 257]
            length = first + self.bits(extra)
            symbol = self.symbol(distances)
            extra = max(0, symbol // 2 - 1)
            distance = (symbol + 1 if symbol < 4 else (2 + symbol % 2 << extra) + 1) + self.bits(extra)
            if distance > min(len(out), self.window):
                raise Broken(f"a distance of {distance}")
            for _ in range(length):
                out.append(out[-distance])


def strictly(stream: bytes, window_bits: int) -> bytes:
    """Content of a zlib stream whose every bit is looked at."""
    if stream[0] != 0x08 | window_bits - 8 << 4 or int.from_bytes(stream[:2], "big") % 31 or stream[1] & 0x20:
        raise Broken("zlib's header")
    inflater = Inflater(stream[2:-4], 1 << window_bits)
    content = inflater.inflate()
    if (inflater.at + 7) // 8 != len(stream) - 6 or zlib.adler32(content) != int.from_bytes(stream[-4:], "big"):
        raise Broken("zlib's end")
    return content


def by_zlib(stream: bytes, window_bits: int) -> bytes:
    unpacker = zlib.decompressobj(window_bits)
    content = unpacker.decompress(stream)
    assert unpacker.eof
    assert not unpacker.unused_data
    return content


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Noise of few or many values, runs, rows that repeat with changes, or a mixture."""
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = []
    for kind in draw(st.lists(st.sampled_from(("noise", "runs", "rows")), max_size=4)):
        size = draw(st.integers(0, 400))
        if kind == "noise":
            parts.append(noise.integers(0, draw(st.sampled_from((1, 2, 4, 256))), size, np.uint8))
        elif kind == "runs":
            lengths = noise.integers(1, 300, size // 100 + 1)
            parts.append(np.repeat(noise.integers(0, 3, len(lengths), np.uint8), lengths)[:size])
        else:
            row = noise.integers(0, 256, draw(st.integers(1, 40)), np.uint8)
            rows = np.tile(row, size // len(row) + 1)[:size]
            rows[noise.integers(0, max(size, 1), size // 20)] ^= 1
            parts.append(rows)
    return np.concatenate([np.empty(0, np.uint8), *parts]).tobytes()


@settings(deadline=None, max_examples=EXAMPLES)
@given(contents(), st.sampled_from((8, 9, 10, 12, 15)), st.sampled_from(MODES))
def test_every_stream_inflates_within_its_window(data: bytes, window_bits: int, mode: Mode) -> None:
    stream = deflate.compress(data, window_bits, mode)
    assert strictly(stream, window_bits) == data
    if window_bits > 8:
        assert by_zlib(stream, window_bits) == data
    assert len(stream) <= len(data) + 11
    assert Inflater(deflate.compress_raw(data, window_bits, mode), 1 << window_bits).inflate() == data
    assert deflate.compress_raw(data, window_bits, mode) == stream[2:-4]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 257, 258, 259, 260, 513])
def test_sizes_at_the_edges(size: int, mode: Mode) -> None:
    noise = np.random.default_rng(size)
    for data in (bytes(size), noise.bytes(size), b"\0" * (size // 2) + b"\1" * (size - size // 2), (b"abcdefghijklmnop" * 4)[:size]):
        stream = deflate.compress(data, 9, mode)
        assert strictly(stream, 9) == data
        assert by_zlib(stream, 9) == data


@pytest.mark.parametrize("mode", MODES)
def test_large_contents(mode: Mode) -> None:
    noise = np.random.default_rng(7)
    few = noise.integers(0, 5, LARGE, np.uint8).tobytes()
    for data in (bytes(LARGE), noise.bytes(LARGE), few, noise.bytes(LARGE // 2) + bytes(LARGE // 2) + few[: LARGE // 3]):
        for window_bits in (9, 12, 15):
            stream = deflate.compress(data, window_bits, mode)
            assert by_zlib(stream, window_bits) == data
            assert len(stream) <= deflate.size_max(len(data)) - 32


@pytest.mark.parametrize("mode", MODES)
def test_the_whole_window_is_used_and_no_more(mode: Mode) -> None:
    part = np.random.default_rng(2).bytes(100)
    for window_bits in (9, 12):
        gap = (1 << window_bits) - len(part)
        filler = np.random.default_rng(3).bytes(gap)
        within = deflate.compress(part + filler + part, window_bits, mode)
        beyond = deflate.compress(part + filler + b"\0" + part, window_bits, mode)
        assert strictly(within, window_bits) == part + filler + part
        assert len(within) < gap + len(part) + 60  # zlib cannot: it looks back the window less 262
        assert len(beyond) > gap + 2 * len(part)


@pytest.fixture
def drawn(plain: dict[str, object]) -> list[bytes]:
    """A label's planes in two languages, raw."""
    kind = panel("oepl-01")
    pictures = []
    for locale in ("de-DE", "en-GB"):
        label = LabelFields.from_dict({**plain, "locale": locale})
        picture = raster.draw(scene.build(label, templates.load(label.template), kind), kind)
        pictures.append(planes.pack_planes_reference(picture, kind.rotate_buffer, kind.bits).tobytes())
    return pictures


def test_labels_are_smaller_than_zlib_makes_them(drawn: list[bytes]) -> None:
    for data in drawn:
        packer = zlib.compressobj(9, zlib.DEFLATED, 9)
        theirs = len(packer.compress(data) + packer.flush())
        airtime, fast = deflate.zlib_stream(data, 9), deflate.compress(data, 9)
        assert strictly(airtime, 9) == data == strictly(fast, 9)
        assert len(airtime) < 0.985 * theirs
        assert len(fast) < 1.05 * theirs


@pytest.mark.skipif(not COMPILED, reason="needs more tokens than plain Python makes in a second")
def test_a_picture_of_two_kinds_gets_a_block_for_each() -> None:
    noise = np.random.default_rng(5)
    data = noise.integers(0, 8, 9000, np.uint8).tobytes() + noise.integers(100, 108, 9000, np.uint8).tobytes()
    inflater = Inflater(deflate.compress_raw(data, 9, Mode.AIRTIME), 512)
    assert inflater.inflate() == data
    assert inflater.blocks == 2


# kernels as plain Python


def plainly(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Replace everything compiled in a module by the Python it was compiled from."""
    for name, value in list(vars(module).items()):
        if hasattr(value, "__wrapped__") and value.__module__ == module.__name__:
            monkeypatch.setattr(module, name, python_function(value))
        elif hasattr(value, "py_func"):
            monkeypatch.setattr(module, name, value.py_func)


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
@settings(deadline=None, max_examples=25)
@given(contents(), st.sampled_from((9, 12)), st.sampled_from(MODES))
def test_the_kernels_give_the_same_bytes_as_plain_python(data: bytes, window_bits: int, mode: Mode) -> None:
    compiled = deflate.compress(data, window_bits, mode)
    with pytest.MonkeyPatch.context() as patch:
        for module in (deflate_block, deflate_parse):
            plainly(patch, module)
        assert not hasattr(deflate_parse.parse, "__wrapped__")
        assert deflate.compress(data, window_bits, mode) == compiled


def test_a_kernel_of_other_sources_says_so() -> None:
    empty, numbers, places = np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(t.TOKENS_MIN, np.int32)
    stale = t.STAMP ^ 1
    answers = [
        python_function(deflate_parse.parse)(stale, empty, 0, 512, 1, 1, np.empty(0, np.uint16), places),
        python_function(deflate_parse.find)(stale, empty, 0, 0, 512, 1, np.empty(0, np.uint16), places, places, places),
        python_function(deflate_parse.best_path)(stale, empty, 0, numbers, places, places, numbers, places),
        python_function(deflate_block.encode_block)(stale, places, 0, 1, numbers, 0, empty, 0),
        python_function(deflate_block.checksum)(stale, empty, empty, 0),
    ]
    assert answers == [-1] * 5


# codes


def code_lengths(frequencies: list[int], bits_max: int) -> list[int]:
    function = deflate_block._code_lengths
    count = len(frequencies)
    bits = np.full(count, 99, np.int64)
    work = [np.empty(size, np.int64) for size in (count, 2 * count, t.COUNT_DIRECT + 1)]
    getattr(function, "py_func", function)(np.array(frequencies, np.int64), 0, count, bits_max, work[0], work[1], bits, work[2])
    return [int(each) for each in bits]


def least_cost(frequencies: list[int], bits_max: int) -> int:
    """Total bits of the best code with lengths up to bits_max: package-merge (Larmore and Hirschberg)."""
    coins = sorted(frequency for frequency in frequencies if frequency)
    packages: list[int] = []
    for _ in range(bits_max):
        packages = sorted(coins + [sum(pair) for pair in zip(packages[::2], packages[1::2], strict=False)])
    return sum(packages[: 2 * len(coins) - 2])


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 40), st.integers(60, 70), st.integers(0, 3000)), min_size=2, max_size=60))
def test_code_lengths_are_the_best_when_the_limit_does_not_bind(frequencies: list[int]) -> None:
    lengths = code_lengths(frequencies, 15)
    if sum(map(bool, frequencies)) < 2:
        assert sorted(lengths)[-2:] == [1, 1]
        assert sum(map(bool, lengths)) == 2
        return
    assert [bool(length) for length in lengths] == [bool(frequency) for frequency in frequencies]
    assert sum(frequency * length for frequency, length in zip(frequencies, lengths, strict=True)) == least_cost(frequencies, 15)


@pytest.mark.parametrize("bits_max, symbols", [(15, 24), (15, 288), (7, 19), (7, 10)])
def test_code_lengths_keep_the_limit_at_little_cost(bits_max: int, symbols: int) -> None:
    frequencies = [1, 1]
    while len(frequencies) < min(symbols, 40):
        frequencies.append(frequencies[-1] + frequencies[-2])  # Fibonacci's: each needs a longer code
    frequencies += [1] * (symbols - len(frequencies))
    lengths = code_lengths(frequencies, bits_max)
    assert max(lengths) == bits_max
    assert sum(2**-length for length in lengths) == 1
    assert sum(frequency * length for frequency, length in zip(frequencies, lengths, strict=True)) <= 1.15 * least_cost(
        frequencies, bits_max
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(1, 150)), min_size=1, max_size=12), st.integers(1, 30))
def test_header_items_say_the_code_lengths(runs: list[tuple[int, int]], distances: int) -> None:
    said = ([length for length, count in runs for _ in range(count)] + [1] * 287)[: 257 + distances]
    bits = np.zeros(t.SYMBOLS, np.int64)
    bits[:257] = said[:257]
    bits[t.DISTANCES : t.DISTANCES + distances] = said[257:]
    frequency, items = np.zeros(t.SYMBOLS, np.int64), np.empty(t.LENGTHS_MAX, np.int64)
    function = deflate_block._header_items
    count = int(getattr(function, "py_func", function)(bits, 257, distances, frequency, items))
    heard: list[int] = []
    for item in items[:count]:
        symbol, repeat = int(item) & 255, int(item) >> 8
        if symbol < 16:
            heard.append(symbol)
        elif symbol == 16:
            assert repeat <= 3
            heard += [heard[-1]] * (repeat + 3)
        else:
            assert repeat <= (7 if symbol == 17 else 127)
            heard += [0] * (repeat + (3 if symbol == 17 else 11))
    assert heard == said
    assert frequency[t.HEADER :].sum() == count <= len(said)


# salts


@settings(deadline=None, max_examples=EXAMPLES)
@given(contents(), st.integers(0, SALT_MAX), st.integers(0, SALT_MAX), st.sampled_from(MODES))
def test_salts_give_other_streams_of_the_same_content(data: bytes, one: int, other: int, mode: Mode) -> None:
    first, second = deflate.salted(data, 9, one, mode), deflate.salted(data, 9, other, mode)
    assert (first == second) == (one == other)
    assert strictly(first, 9) == by_zlib(second, 9) == data
    assert len(first) == len(deflate.compress(data, 9, mode)) + 5 * -(-one.bit_length() // 5)


def test_small_salts_are_all_different_and_cost_little() -> None:
    streams = [deflate.salted(b"label", 12, salt) for salt in (*range(1100), *range(SALT_MAX - 40, SALT_MAX + 1))]
    assert len(set(streams)) == len(streams)
    assert streams[0] == deflate.zlib_stream(b"label", 12)
    assert [len(streams[salt]) - len(streams[0]) for salt in (0, 1, 31, 32, 1023, 1024, -1)] == [0, 5, 5, 10, 10, 15, 35]


# what is refused


def test_compress_into_writes_what_compress_returns() -> None:
    source = np.random.default_rng(1).integers(0, 3, 1000, np.uint8)
    out = np.full(deflate.size_max(1000), 99, np.uint8)
    size = deflate.compress_into(source, out, 9)
    assert out[:size].tobytes() == deflate.compress(source, 9) == deflate.compress(source.tobytes(), 9)
    with pytest.raises(ValueError, match="room for 1111 bytes"):
        deflate.compress_into(np.zeros(1100, np.uint8), np.empty(1111, np.uint8), 9)


def test_rows_that_are_read_only_or_not_together_are_taken() -> None:
    table = np.arange(200, dtype=np.uint8).reshape(10, 20)
    table.flags.writeable = False
    assert by_zlib(deflate.compress(table, 9), 9) == table.tobytes()
    assert by_zlib(deflate.compress(table[:, ::2], 9), 9) == table[:, ::2].tobytes()


@pytest.mark.parametrize("window_bits", [7, 16, -9])
def test_windows_that_zlib_does_not_have_are_refused(window_bits: int) -> None:
    with pytest.raises(ValueError, match=f"window_bits {window_bits}"):
        deflate.compress(b"", window_bits)
    with pytest.raises(ValueError, match=f"window_bits {window_bits}"):
        deflate.compress_raw(b"", window_bits)


@pytest.mark.parametrize("salt", [-1, SALT_MAX + 1])
def test_salts_that_are_no_u32_are_refused(salt: int) -> None:
    with pytest.raises(ValueError, match="salt"):
        deflate.salted(b"", 9, salt)


# the strict decoder finds faults


def test_the_strict_decoder_finds_planted_faults() -> None:
    content = np.random.default_rng(4).bytes(700) * 2
    wide = zlib.compressobj(9, zlib.DEFLATED, 15)
    stream = wide.compress(content) + wide.flush()
    assert strictly(stream, 15) == content
    with pytest.raises(Broken, match="zlib's header"):
        strictly(stream, 9)
    narrow = deflate.compress(b"", 9)[:2] + stream[2:]
    with pytest.raises(Broken, match="a distance of 700"):
        strictly(narrow, 9)
    good = deflate.compress(b"a label, a label", 9)
    with pytest.raises(Broken, match="end"):
        strictly(good[:-1] + bytes((good[-1] ^ 1,)), 9)
    with pytest.raises(Broken):
        strictly(good[:-6] + good[-4:], 9)
    with pytest.raises(Broken, match="not complete"):
        Inflater(b"", 512).code([1])
    assert Inflater(b"", 512).code([1, 1]) == {(1, 0): 0, (1, 1): 1}
