"""Lanes: 32 whole numbers of 16 bits that a kernel works on at once, one per row of a picture.

In plain Python lanes are a numpy array of 32 int16. In a kernel they are one value of the LLVM type <32 x i16>: LLVM keeps it in one
register with AVX-512, two with AVX2, four with SSE2 and NEON. Plain loops over lanes do not become that: numba cannot prove that the
arrays of a loop do not overlap. Each operation stands here twice, as numpy and as LLVM code, and both give the same numbers everywhere.
Numbers wrap around like numpy's unless an operation says that it saturates.

Arrays that operations read or write are one-dimensional and contiguous, and indices are not checked. Numba's cache notices changes of the
file of a kernel only: after a change of this file delete the cache.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, register_model

LANES: Final = 32
BLOCK_BYTES: Final = 16  # of each row that `turn_bytes` takes
BLOCK_WORDS: Final = 8  # of each lane that `turn_words` takes
LIGHT_TERMS: Final = (3484, 28672, 47773, 14080)  # of `light_of`, in 65536ths
BLACK_LIGHT: Final = -32760  # 8 above the smallest number, so that `light >> 4` rounds to nearest

Lanes = npt.NDArray[np.int16]
Words = npt.NDArray[np.int16]
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
# An emitter gets (numba's context, the builder, the signature, the argument values) and returns the result value.
Emit = Callable[[Any, Any, Any, Any], Any]


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


class _MaskType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="LanesMask")


_LANES_TYPE: Final = _LanesType()
_MASK_TYPE: Final = _MaskType()
_FOUR_LANES_TYPE: Final = types.UniTuple(_LANES_TYPE, 4)  # type: ignore[no-untyped-call]
_BIT, _BYTE, _WORD, _INT32 = ir.IntType(1), ir.IntType(8), ir.IntType(16), ir.IntType(32)
_VECTOR: Final = ir.VectorType(_WORD, LANES)
_VECTOR_BYTES: Final = ir.VectorType(_BYTE, LANES)
_VECTOR_INT32: Final = ir.VectorType(_INT32, LANES)


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end_type: Any) -> None:
        super().__init__(manager, front_end_type, _VECTOR)  # type: ignore[no-untyped-call]


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end_type: Any) -> None:
        super().__init__(manager, front_end_type, ir.VectorType(_BIT, LANES))  # type: ignore[no-untyped-call]


def splat(value: int) -> Lanes:
    """The same number in every lane."""
    return np.full(LANES, value, np.int16)


def add_saturated(a: Lanes, b: Lanes) -> Lanes:
    """a + b, held at -32768 and 32767."""
    held: Lanes = np.clip(a.astype(np.int32) + b, -32768, 32767).astype(np.int16)
    return held


def multiply_high(a: Lanes, b: Lanes) -> Lanes:
    """floor(a * b / 65536)."""
    return (a.astype(np.int32) * b >> 16).astype(np.int16)


def multiply_high_unsigned(a: Lanes, b: Lanes) -> Lanes:
    """floor(a * b / 65536) of numbers taken as 0 to 65535."""
    product = a.view(np.uint16).astype(np.uint32) * b.view(np.uint16)
    return (product >> np.uint32(16)).astype(np.uint16).view(np.int16)


def select(mask: Mask, a: Lanes, b: Lanes) -> Lanes:
    """a where the mask is set, else b."""
    return np.where(mask, a, b)


def within(a: Lanes, end: Lanes) -> Mask:
    """Where 0 <= a < end. `end` may not be negative."""
    return (a >= 0) & (a < end)


def load(words: Words, at: int) -> Lanes:
    """words[at : at + 32]."""
    return words[at : at + LANES].copy()


def load_bytes(octets: Bytes, at: int) -> Lanes:
    """octets[at : at + 32], each 0 to 255."""
    return octets[at : at + LANES].astype(np.int16)


def store(words: Words, at: int, a: Lanes) -> None:
    """words[at : at + 32] = a."""
    words[at : at + LANES] = a


def store_places(places: Places, at: int, a: Lanes, b: Lanes) -> None:
    """places[at : at + 32] = 64 * a + b, for a from 0 to 32767 and b from 0 to 63."""
    places[at : at + LANES] = a.astype(np.uint32) << np.uint32(6) | b.astype(np.uint32)


def light_of(octets: Bytes) -> Lanes:
    """sRGB values (n) as light from -32760 (black) to 32512 (white), by a polynomial of degree 4 in steps of 16 bits.

    Its distance from IEC 61966-2-1 is at most 0.0015 of the range, and 0.31 in CIE lightness.
    """
    one, square, cube, fourth = LIGHT_TERMS
    value = octets.astype(np.uint32) << np.uint32(8)
    light = np.uint32(cube) - (value * np.uint32(fourth) >> np.uint32(16))
    light = np.uint32(square) + (value * light >> np.uint32(16))
    light = np.uint32(one) + (value * light >> np.uint32(16))
    return ((value * light >> np.uint32(16)).astype(np.int32) + BLACK_LIGHT).astype(np.int16)


def load_light(octets: Bytes, at: int) -> Lanes:
    """The light of octets[at : at + 32]."""
    return light_of(octets[at : at + LANES])


def pass_down(a: Lanes, row: Words, at: int) -> Lanes:
    """Lane i gets lane i - 1. Lane 0 gets row[at + 64]; the last lane goes to row[at]."""
    first = row[at + 2 * LANES]
    row[at] = a[-1]
    return np.concatenate([np.array([first], np.int16), a[:-1]])


def nearest(red: Lanes, green: Lanes, blue: Lanes, inks: Words, codes: tuple[int, ...]) -> tuple[Lanes, Lanes, Lanes, Lanes]:
    """The nearest ink of each lane's light: its code, red, green and blue.

    `inks`: for each of len(codes) inks 8 rows of 32 equal numbers: code, red, green, blue, and the plane between this ink and ink 0:
    three factors and a sum, so that the ink with the highest score is nearest. Ink 0 scores 0; of equal ones the first is taken.
    """
    rows = inks[: len(codes) * 8 * LANES].reshape(-1, 8, LANES)
    chosen = tuple(rows[0, :4])
    best = splat(0)
    for row in rows[1:]:
        score = multiply_high(red, row[4]) + row[7] + (multiply_high(green, row[5]) + multiply_high(blue, row[6]))
        better = score > best
        best = select(better, score, best)
        chosen = tuple(select(better, new, old) for new, old in zip(row[:4], chosen, strict=True))
    code, ink_red, ink_green, ink_blue = chosen
    return code, ink_red, ink_green, ink_blue


def turn_bytes(octets: Bytes, at: int, stride: int, columns: Bytes, to: int) -> None:
    """columns[to + 32 * k + i] = octets[at + stride * i + k] for 16 columns k of 32 rows i. `stride` may be negative."""
    for row in range(LANES):
        start = at + stride * row
        columns[to + row : to + BLOCK_BYTES * LANES : LANES] = octets[start : start + BLOCK_BYTES]


def fetch_ahead(octets: Bytes, at: int, stride: int) -> None:
    """Tell the processor that octets[at + stride * i] of 32 rows i will be read soon. Places outside of the array do no harm."""


def turn_words(words: Words, at: int, step: int, rows: Bytes, to: int, stride: int) -> None:
    """Lane i of words[at + step * k], high byte first, to rows[to + stride * i + 2 * k] for 8 words k of each lane."""
    for k in range(BLOCK_WORDS):
        swapped = words[at + step * k : at + step * k + LANES].astype(">i2").view(np.uint8).reshape(LANES, 2)
        for row in range(LANES):
            start = to + stride * row + 2 * k
            rows[start : start + 2] = swapped[row]


def copy_bytes(target: Bytes, to: int, source: Bytes, at: int, count: int) -> None:
    """target[to : to + count] = source[at : at + count] of different arrays. A slice assignment in a kernel takes twice the time."""
    target[to : to + count] = source[at : at + count]


# Each of the above as LLVM code.


def _register(function: Callable[..., Any], takes: tuple[Any, ...], gives: Any, emit: Emit) -> None:
    """`function` in a kernel, with arguments of the classes `takes`, is the code of `emit` and has the type `gives`."""

    class Template(AbstractTemplate):
        key = function

        def generic(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            if len(args) == len(takes) and not keywords and all(map(isinstance, args, takes)):
                return signature(gives, *args)  # type: ignore[no-untyped-call]
            return None

    infer_global(function, types.Function(Template))  # type: ignore[no-untyped-call]
    lower_builtin(function, *takes)(emit)  # type: ignore[no-untyped-call]


def _same(value: int) -> Any:
    """A constant: `value` in every lane."""
    return ir.Constant(_VECTOR, [ir.Constant(_WORD, value)] * LANES)


def _order(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_INT32, len(places)), places)


def _spread(builder: Any, number: Any) -> Any:
    """One number of any width in every lane."""
    if number.type.width > 16:
        number = builder.trunc(number, _WORD)
    elif number.type.width < 16:
        number = builder.zext(number, _WORD)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, undefined, _order([0] * LANES))


def _place(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _get(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any = _VECTOR) -> Any:
    value = builder.load(_place(context, builder, array_type, array, index, kind))
    value.align = array_type.dtype.bitwidth // 8
    return value


def _put(context: Any, builder: Any, value: Any, array_type: Any, array: Any, index: Any) -> None:
    stored = builder.store(value, _place(context, builder, array_type, array, index, value.type))
    stored.align = array_type.dtype.bitwidth // 8


def _ahead(builder: Any, index: Any, count: int) -> Any:
    return builder.add(index, ir.Constant(index.type, count))


def _high(builder: Any, a: Any, b: Any, extend: str) -> Any:
    wide = builder.mul(getattr(builder, extend)(a, _VECTOR_INT32), getattr(builder, extend)(b, _VECTOR_INT32))
    return builder.trunc(builder.lshr(wide, ir.Constant(_VECTOR_INT32, [ir.Constant(_INT32, 16)] * LANES)), _VECTOR)


def _intrinsic(builder: Any, name: str, *args: Any) -> Any:
    """LLVM's own function of this name, for lanes."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    function = get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}i16")  # type: ignore[no-untyped-call]
    return builder.call(function, args)


def _emit_store(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    words, at, value = args
    _put(context, builder, value, sig.args[0], words, at)
    return context.get_dummy_value()


def _emit_load(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    words, at = args
    return _get(context, builder, sig.args[0], words, at)


def _emit_load_bytes(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    octets, at = args
    return builder.zext(_get(context, builder, sig.args[0], octets, at, _VECTOR_BYTES), _VECTOR)


def _emit_store_places(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    places, at, a, b = args
    six = ir.Constant(_VECTOR_INT32, [ir.Constant(_INT32, 6)] * LANES)
    value = builder.or_(builder.shl(builder.zext(a, _VECTOR_INT32), six), builder.zext(b, _VECTOR_INT32))
    _put(context, builder, value, sig.args[0], places, at)
    return context.get_dummy_value()


def _emit_load_light(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    value = builder.shl(_emit_load_bytes(context, builder, sig, args), _same(8))
    one, square, cube, fourth = map(_same, LIGHT_TERMS)
    light = builder.sub(cube, _high(builder, value, fourth, "zext"))
    light = builder.add(square, _high(builder, value, light, "zext"))
    light = builder.add(one, _high(builder, value, light, "zext"))
    return builder.add(_high(builder, value, light, "zext"), _same(BLACK_LIGHT))


def _emit_pass_down(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    lanes, row, at = args
    first = _get(context, builder, sig.args[1], row, _ahead(builder, at, 2 * LANES), _WORD)
    last = builder.extract_element(lanes, ir.Constant(_INT32, LANES - 1))
    _put(context, builder, last, sig.args[1], row, at)
    return builder.shuffle_vector(lanes, _spread(builder, first), _order([LANES, *range(LANES - 1)]))


def _emit_nearest(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    red, green, blue, inks, _ = args

    def row(ink: int, part: int) -> Any:
        return _get(context, builder, sig.args[3], inks, ir.Constant(ir.IntType(64), (ink * 8 + part) * LANES))

    best = _same(0)
    chosen = [row(0, part) for part in range(4)]
    for ink in range(1, len(sig.args[4])):
        score = builder.add(_high(builder, red, row(ink, 4), "sext"), row(ink, 7))
        rest = builder.add(_high(builder, green, row(ink, 5), "sext"), _high(builder, blue, row(ink, 6), "sext"))
        score = builder.add(score, rest)
        better = builder.icmp_signed(">", score, best)
        best = builder.select(better, score, best)
        chosen = [builder.select(better, row(ink, part), old) for part, old in enumerate(chosen)]
    return context.make_tuple(builder, sig.return_type, chosen)


def _emit_turn_bytes(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Rows i and i + 16 side by side, then four rounds of interleaving, which every processor has for 16 bytes at a time."""
    octets, at, stride, columns, to = args
    sixteen = ir.VectorType(_BYTE, BLOCK_BYTES)

    def row(number: int) -> Any:
        start = builder.add(at, builder.mul(stride, ir.Constant(stride.type, number)))
        return _get(context, builder, sig.args[0], octets, start, sixteen)

    rows = [builder.shuffle_vector(row(i), row(i + 16), _order(list(range(LANES)))) for i in range(16)]
    low, high = _interleaving(LANES, 16)
    for _ in range(4):
        pairs = [(rows[i], rows[i + 8]) for i in range(8)]
        rows = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
    for number, column in enumerate(rows):
        _put(context, builder, column, sig.args[3], columns, _ahead(builder, to, LANES * number))
    return context.get_dummy_value()


def _emit_fetch_ahead(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    octets, at, stride = args
    for row in range(LANES):
        start = builder.add(at, builder.mul(stride, ir.Constant(stride.type, row)))
        place = _place(context, builder, sig.args[0], octets, start, _BYTE)
        kind = ir.FunctionType(ir.VoidType(), [place.type, _INT32, _INT32, _INT32])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(fetch, [place, *(ir.Constant(_INT32, number) for number in (0, 3, 1))])  # to read, keep in all caches, data
    return context.get_dummy_value()


def _emit_turn_words(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    words, at, step, rows, to, stride = args
    turned = []
    for number in range(BLOCK_WORDS):
        start = builder.add(at, builder.mul(step, ir.Constant(step.type, number)))
        turned.append(_intrinsic(builder, "bswap", _get(context, builder, sig.args[0], words, start)))
    low, high = _interleaving(LANES, BLOCK_WORDS)
    for _ in range(3):
        pairs = [(turned[i], turned[i + 4]) for i in range(4)]
        turned = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
    for number in range(LANES):
        group, place = divmod(number, BLOCK_WORDS)
        source = turned[place]
        eight = builder.shuffle_vector(source, source, _order(list(range(group * BLOCK_WORDS, (group + 1) * BLOCK_WORDS))))
        start = builder.add(to, builder.mul(stride, ir.Constant(stride.type, number)))
        _put(context, builder, eight, sig.args[3], rows, start)
    return context.get_dummy_value()


def _interleaving(length: int, group: int) -> tuple[Any, Any]:
    """The orders that interleave the lower and the upper halves of each group of two vectors."""
    starts = range(0, length, group)
    half = group // 2
    low = [place for start in starts for i in range(half) for place in (start + i, length + start + i)]
    high = [place for start in starts for i in range(half, group) for place in (start + i, length + start + i)]
    return _order(low), _order(high)


def _emit_copy_bytes(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    target, to, source, at, count = args
    place_to = _place(context, builder, sig.args[0], target, to, _BYTE)
    place_at = _place(context, builder, sig.args[2], source, at, _BYTE)
    copy = builder.module.declare_intrinsic("llvm.memcpy", [place_to.type, place_at.type, count.type])
    builder.call(copy, [place_to, place_at, count, ir.Constant(_BIT, 0)])
    return context.get_dummy_value()


def _binary(name: str) -> Emit:
    return lambda context, builder, sig, args: getattr(builder, name)(args[0], args[1])


def _with_number(name: str) -> Emit:
    return lambda context, builder, sig, args: getattr(builder, name)(args[0], _spread(builder, args[1]))


_L, _I, _A, _NOTHING = _LanesType, types.Integer, types.Array, types.none
_BINARY: Final = {operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.and_: "and_", operator.or_: "or_"}
_WITH_NUMBER: Final = {operator.mul: "mul", operator.lshift: "shl", operator.rshift: "ashr"}
for _operator, _name in _BINARY.items():
    _register(_operator, (_L, _L), _LANES_TYPE, _binary(_name))
for _operator, _name in _WITH_NUMBER.items():
    _register(_operator, (_L, _I), _LANES_TYPE, _with_number(_name))
_register(operator.gt, (_L, _L), _MASK_TYPE, lambda context, builder, sig, args: builder.icmp_signed(">", args[0], args[1]))
_register(within, (_L, _L), _MASK_TYPE, lambda context, builder, sig, args: builder.icmp_unsigned("<", args[0], args[1]))
_register(splat, (_I,), _LANES_TYPE, lambda context, builder, sig, args: _spread(builder, args[0]))
_register(add_saturated, (_L, _L), _LANES_TYPE, lambda context, builder, sig, args: _intrinsic(builder, "sadd.sat", *args))
_register(multiply_high, (_L, _L), _LANES_TYPE, lambda context, builder, sig, args: _high(builder, args[0], args[1], "sext"))
_register(multiply_high_unsigned, (_L, _L), _LANES_TYPE, lambda context, builder, sig, args: _high(builder, args[0], args[1], "zext"))
_register(select, (_MaskType, _L, _L), _LANES_TYPE, lambda context, builder, sig, args: builder.select(*args))
_register(load, (_A, _I), _LANES_TYPE, _emit_load)
_register(load_bytes, (_A, _I), _LANES_TYPE, _emit_load_bytes)
_register(load_light, (_A, _I), _LANES_TYPE, _emit_load_light)
_register(store, (_A, _I, _L), _NOTHING, _emit_store)
_register(store_places, (_A, _I, _L, _L), _NOTHING, _emit_store_places)
_register(pass_down, (_L, _A, _I), _LANES_TYPE, _emit_pass_down)
_register(nearest, (_L, _L, _L, _A, types.UniTuple), _FOUR_LANES_TYPE, _emit_nearest)
_register(turn_bytes, (_A, _I, _I, _A, _I), _NOTHING, _emit_turn_bytes)
_register(fetch_ahead, (_A, _I, _I), _NOTHING, _emit_fetch_ahead)
_register(turn_words, (_A, _I, _I, _A, _I, _I), _NOTHING, _emit_turn_words)
_register(copy_bytes, (_A, _I, _A, _I, _I), _NOTHING, _emit_copy_bytes)
