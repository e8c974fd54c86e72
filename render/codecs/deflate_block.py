"""From tokens (see `deflate_tables`) to a block: Huffman codes, the header that tells them, the bits; and zlib's checksum."""

from __future__ import annotations

from typing import Final

from render._jit import STALE, bare_kernel, helper
from render.codecs import deflate_tables as t
from render.codecs.deflate_tables import Bytes, N, Table, Tokens, U

_ADLER_MODULUS: Final = 65521
_ADLER_BYTES: Final = 4096  # summed up between two remainders


@helper
def _code_lengths(frequency: Table, start: int, stop: int, bits_max: int, order: Table, weight: Table, bits: Table, bucket: Table) -> None:
    """Huffman code lengths of symbols start to stop - 1, at most bits_max. Two get one at least: small decoders want whole codes."""
    for number in range(t.COUNT_DIRECT + 1):
        bucket[number] = 0
    for symbol in range(start, stop):
        bits[symbol] = 0
        bucket[frequency[symbol] if frequency[symbol] < t.COUNT_DIRECT else t.COUNT_DIRECT] += 1
    used = 0
    for number in range(1, t.COUNT_DIRECT + 1):
        used += bucket[number]
        bucket[number] = used - bucket[number]
    direct = bucket[t.COUNT_DIRECT]
    sorted_to = direct
    for symbol in range(start, stop):
        number = frequency[symbol]
        if number >= t.COUNT_DIRECT:
            at = sorted_to
            while at > direct and frequency[order[at - 1]] > number:
                order[at] = order[at - 1]
                at -= 1
            order[at] = symbol
            sorted_to += 1
        elif number > 0:
            order[bucket[number]] = symbol
            bucket[number] += 1
    if used < 2:
        only = order[0] if used == 1 else start
        bits[only] = 1
        bits[start + 1 if only == start else start] = 1
        return
    # Huffman's tree over leaves in order of weight: nodes come out in order, too, so two queues do; weight becomes the parent's place
    for at in range(used):
        weight[at] = frequency[order[at]]
    leaf = 0
    node = used
    for parent in range(used, 2 * used - 1):
        total = 0
        for _ in range(2):
            if leaf < used and (node >= parent or weight[leaf] <= weight[node]):
                child = leaf
                leaf += 1
            else:
                child = node
                node += 1
            total += weight[child]
            weight[child] = parent
        weight[parent] = total
    # each node splits a leaf of its depth in two; at the limit, the deepest leaf that may still be split
    leaves = bucket
    for length in range(17):
        leaves[length] = 0
    leaves[1] = 2
    weight[2 * used - 2] = 0
    for node in range(2 * used - 3, used - 1, -1):
        depth = weight[weight[node]] + 1
        weight[node] = depth
        if depth >= bits_max:
            depth = bits_max - 1
            while leaves[depth] == 0:
                depth -= 1
        leaves[depth] -= 1
        leaves[depth + 1] += 2
    at = 0
    for length in range(bits_max, 0, -1):
        for _ in range(leaves[length]):
            bits[order[at]] = length
            at += 1


@helper
def _header_items(bits: Table, literals: int, distances: int, frequency: Table, items: Table) -> int:
    """Code lengths as `symbol | repeat << 8` of the header's alphabet, counted in its frequencies; returns how many.

    16 repeats the last length 3-6 times, 17 a zero 3-10 and 18 11-138 times. Runs go on from literals to distances.
    """
    count = 0
    value = -1
    run = 0
    for at in range(literals + distances + 1):
        following = -2
        if at < literals + distances:
            following = bits[at if at < literals else t.DISTANCES + at - literals]
        if following == value:
            run += 1
            continue
        repeats = value == 0
        while run > 0:
            item = value
            taken = 1
            if repeats and run >= 3:
                if value != 0:
                    taken = run if run < 6 else 6
                    item = 16 | taken - 3 << 8
                elif run < 11:
                    taken = run
                    item = 17 | taken - 3 << 8
                else:
                    taken = run if run < 138 else 138
                    item = 18 | taken - 11 << 8
            repeats = True
            items[count] = item
            frequency[t.HEADER + (item & 255)] += 1
            count += 1
            run -= taken
        value = following
        run = 1
    return count


@helper
def _assign_codes(bits: Table, start: int, stop: int, codes: Table, following: Table) -> None:
    """`reversed code | length << 16` of each symbol: codes of one length follow each other in the order of the symbols."""
    for length in range(17):
        following[length] = 0
    for symbol in range(start, stop):
        following[bits[symbol] + 1] += 1
    following[1] = 0
    for length in range(2, 17):
        following[length] = following[length] + following[length - 1] << 1
    for symbol in range(start, stop):
        length = bits[symbol]
        code = following[length] if length > 0 else 0
        following[length] += 1
        codes[symbol] = (t.REVERSED[code & 255] << 8 | t.REVERSED[code >> 8 & 255]) >> 16 - length | length << 16


@bare_kernel
def encode_block(stamp: int, tokens: Tokens, count: int, final: int, work: Table, stored_bits: int, out: Bytes, position: int) -> int:
    """Write `count` tokens as one block from bit `position` on; returns its size in bits, or STALE.

    Dynamic or fixed codes, whatever is shorter; nothing is written when that is not shorter than `stored_bits`, or `out` has no room at
    all. Dynamic code lengths are left in `work`. What `out` has before the position is kept, up to seven bytes behind the block are
    written over.
    """
    if stamp != t.STAMP:
        return STALE
    frequency = work[t.FREQUENCY : t.BITS]
    bits = work[t.BITS : t.CODES]
    codes = work[t.CODES : t.WEIGHT]
    weight = work[t.WEIGHT : t.ORDER]
    order = work[t.ORDER : t.ITEMS]
    items = work[t.ITEMS : t.BUCKET]
    bucket = work[t.BUCKET :]
    for symbol in range(t.SYMBOLS):
        frequency[symbol] = 0
    for at in range(count):
        token = N(tokens[U(at)])
        distance = token >> 9
        frequency[U(t.SYMBOL[U(token & 511)])] += 1
        frequency[U(t.DISTANCES + t.DISTANCE_SYMBOL[U(distance if distance <= 256 else 257 + (distance - 1 >> 7))])] += 1
    frequency[t.END_OF_BLOCK] = 1
    frequency[t.NO_DISTANCE] = 0
    literals = 286
    distances = 30
    item_count = 0
    for alphabet in range(3):
        if alphabet == 2:
            while literals > 257 and bits[literals - 1] == 0:
                literals -= 1
            while distances > 1 and bits[t.DISTANCES + distances - 1] == 0:
                distances -= 1
            item_count = _header_items(bits, literals, distances, frequency, items)
        _code_lengths(frequency, t.ALPHABET[alphabet], t.ALPHABET[alphabet + 1], t.BITS_MAX[alphabet], order, weight, bits, bucket)
    header_codes = 19
    while header_codes > 4 and bits[t.HEADER + t.HEADER_ORDER[header_codes - 1]] == 0:
        header_codes -= 1
    dynamic = 3 + 14 + 3 * header_codes
    fixed = 3
    for symbol in range(t.SYMBOLS):
        dynamic += frequency[symbol] * (bits[symbol] + t.EXTRA[symbol])
        if symbol < t.HEADER:
            fixed += frequency[symbol] * (t.FIXED_BITS[symbol] + t.EXTRA[symbol])
    size = dynamic if dynamic < fixed else fixed
    if size >= stored_bits or out.shape[0] == 0:
        return size
    head = 1  # fields before the tokens
    used = t.FIXED_BITS
    if dynamic < fixed:
        head = 2 + header_codes + item_count
        used = bits
    for alphabet in range(3 if dynamic < fixed else 2):
        _assign_codes(used, t.ALPHABET[alphabet], t.ALPHABET[alphabet + 1], codes, bucket)
    codes[t.NO_DISTANCE] = 0
    at = position >> 3
    pending = position & 7
    ready = N(out[at]) & (1 << pending) - 1
    for step in range(-head, count + 1):
        if 0 <= step < count:
            token = N(tokens[U(step)])
            low = token & 511
            symbol = t.SYMBOL[U(low)]
            code = codes[U(symbol)]
            value = code & 0xFFFF | low - t.LOW_FIRST[U(symbol)] << (code >> 16)
            length = (code >> 16) + t.EXTRA[U(symbol)]
            distance = token >> 9
            symbol = t.DISTANCE_SYMBOL[U(distance if distance <= 256 else 257 + (distance - 1 >> 7))]
            code = codes[U(t.DISTANCES + symbol)]
            value |= (code & 0xFFFF | distance - t.DISTANCE_FIRST[U(symbol)] << (code >> 16)) << length
            length += (code >> 16) + t.EXTRA[U(t.DISTANCES + symbol)]
        elif step == count:
            value = codes[t.END_OF_BLOCK] & 0xFFFF
            length = codes[t.END_OF_BLOCK] >> 16
        elif step == -head:
            value = final | (4 if head > 1 else 2)
            length = 3
        elif step == 1 - head:
            value = literals - 257 | distances - 1 << 5 | header_codes - 4 << 10
            length = 14
        elif step < 2 - head + header_codes:
            value = bits[t.HEADER + t.HEADER_ORDER[step + head - 2]]
            length = 3
        else:
            item = items[step + item_count]
            code = codes[t.HEADER + (item & 255)]
            value = code & 0xFFFF | item >> 8 << (code >> 16)
            length = (code >> 16) + t.EXTRA[t.HEADER + (item & 255)]
        ready |= value << pending
        pending += length
        for byte in range(8):
            out[U(at + byte)] = ready >> 8 * byte & 255
        at += pending >> 3
        ready >>= pending & 56
        pending &= 7
    return size


@bare_kernel
def checksum(stamp: int, data: Bytes, out: Bytes, place: int) -> int:
    """Write the Adler-32 sum of `data` to out[place : place + 4], highest byte first. Returns 0 or STALE."""
    if stamp != t.STAMP:
        return STALE
    low = 1
    high = 0
    start = 0
    while start < data.shape[0]:
        size = data.shape[0] - start if data.shape[0] - start < _ADLER_BYTES else _ADLER_BYTES
        total = 0
        weighted = 0
        for at in range(size):
            byte = N(data[U(start + at)])
            total += byte
            weighted += byte * (size - at)
        high = (high + low * size + weighted) % _ADLER_MODULUS
        low = (low + total) % _ADLER_MODULUS
        start += size
    out[place] = high >> 8
    out[place + 1] = high & 255
    out[place + 2] = low >> 8
    out[place + 3] = low & 255
    return 0
