"""From bytes to tokens (see `deflate_tables`): what matches where, and which of it to take.

Made for pictures of labels: a small window, few byte values, and runs. Chains of equal three bytes would be chains of paper white, so a
place at the head of a run is linked by its byte and by how many of them follow: what matches there matches beyond the run.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from render._jit import STALE, bare_kernel, routine
from render.codecs import deflate_tables as t
from render.codecs.deflate_tables import Bytes, Distances, N, Table, Tokens, U

_HASH_FACTOR: Final = 0x9E3779B1  # 2^32 / golden ratio: spreads neighbouring keys
_NEVER: Final = -65536  # a place before all windows
_RUN_KEY_MAX: Final = 511  # a run with more bytes to come than a match can have
_FAR: Final = 64  # a match of three bytes from farther away costs more than its literals
_GOOD: Final = 32 << 16  # a candidate of this length is good enough for a parse in haste
_SPARE: Final = 8  # how much shorter than possible a match is tried; in a run, which has an end to match behind it, less
_SPARE_RUN: Final = 2


@routine
def _word(data: Bytes, place: int) -> np.uint64:
    """Eight bytes as one number, the first the lowest. Compiles to a single load."""
    word = U(0)
    for byte in range(8):
        word |= U(data[U(place + byte)]) << U(8 * byte)
    return word


@routine
def _equal_bytes(differ: np.uint64) -> int:
    """How many of the lowest bytes are zero in a number that is not zero."""
    count = 0
    if differ & U(0xFFFFFFFF) == U(0):
        differ >>= U(32)
        count = 4
    if differ & U(0xFFFF) == U(0):
        differ >>= U(16)
        count += 2
    if differ & U(0xFF) == U(0):
        count += 1
    return count


@routine
def _run_end(data: Bytes, place: int, end: int) -> int:
    """The first place behind `place` that has another byte."""
    byte = data[U(place)]
    eight = U(byte) * U(0x0101010101010101)
    place += 1
    differ = U(0)
    while differ == U(0) and place + 8 <= end:
        differ = eight ^ _word(data, place)
        place += 8
    if differ != U(0):
        return place - 8 + _equal_bytes(differ)
    while place < end and data[U(place)] == byte:
        place += 1
    return place


@routine
def _link(data: Bytes, window: int, every: bool, previous: Distances, last_seen: Tokens) -> None:
    """For each place the distance to the last one with an equal key, in zeroed `previous`; 0 when there is none within the window.

    The key is three bytes; within a run of at least three it is the byte and the length to the run's end. Without `every`, only the first
    two places of a run are linked.
    """
    size = data.shape[0]
    for slot in range(1 << t.HASH_BITS):
        last_seen[slot] = _NEVER
    place = 0
    while place + 2 < size:
        byte = N(data[U(place)])
        three = byte | N(data[U(place + 1)]) << 8 | N(data[U(place + 2)]) << 16
        if three != byte * 0x010101:
            key = U(three * _HASH_FACTOR >> 32 - t.HASH_BITS & (1 << t.HASH_BITS) - 1)
            distance = place - N(last_seen[key])
            previous[U(place)] = distance if distance <= window else 0
            last_seen[key] = place
            place += 1
            continue
        end = _run_end(data, place + 2, size)
        last = end - 2  # from there on, three bytes have others among them
        for here in range(place, last if every or last < place + 2 else place + 2):
            run = end - here if end - here < _RUN_KEY_MAX else _RUN_KEY_MAX
            key = U((byte << 9 | run) * _HASH_FACTOR >> 32 - t.HASH_BITS & (1 << t.HASH_BITS) - 1)
            distance = here - N(last_seen[key])
            previous[U(here)] = distance if distance <= window else 0
            last_seen[key] = here
        place = last


@routine
def _match_length(data: Bytes, place: int, there: int, limit: int) -> int:
    """How many bytes from `place` on equal those from the earlier place `there` on, at most `limit`; eight can be read at both."""
    length = 0
    differ = _word(data, place) ^ _word(data, there)
    while differ == U(0) and length + 16 <= limit:
        length += 8
        differ = _word(data, place + length) ^ _word(data, there + length)
    if differ != U(0):
        length += _equal_bytes(differ)
        return length if length < limit else limit
    length += 8
    while length < limit and data[U(there + length)] == data[U(place + length)]:
        length += 1
    return length


@bare_kernel
def parse(stamp: int, data: Bytes, start: int, window: int, tries_max: int, lazy_below: int, previous: Distances, tokens: Tokens) -> int:
    """Parse data[start:] into tokens until those are full: `end of what they stand for << 32 | number of tokens`, or STALE.

    A match shorter than `lazy_below` is dropped for a literal when the next place has a longer one. `previous`: zeroed, len(data), kept by
    the caller from one part of the data to the next. `tokens`: at least TOKENS_MIN.
    """
    if stamp != t.STAMP:
        return STALE
    if start == 0:
        _link(data, window, False, previous, tokens)
    end = data.shape[0]
    count = 0
    place = start
    held = 0  # the candidate of the place before, while it is not decided
    run_end = 0
    while place < end and count < tokens.shape[0]:
        limit = end - place if end - place < t.LENGTH_MAX else t.LENGTH_MAX
        best = t.LENGTH_MIN - 1 << 16
        if place > 0 and data[U(place - 1)] == data[U(place)]:
            if run_end <= place:
                run_end = _run_end(data, place, end)
            run = run_end - place if run_end - place < limit else limit
            best = run << 16 | 65534 if run >= t.LENGTH_MIN else best
        step = N(previous[U(place)]) if limit >= 8 else 0
        distance = step
        tries = tries_max
        while step != 0 and distance <= window and tries > 0 and best < _GOOD:
            candidate = _match_length(data, place, place - distance, limit) << 16 | 65535 - distance
            best = candidate if candidate > best else best
            step = N(previous[U(place - distance)])
            distance += step
            tries -= 1
        length = best >> 16
        if length == t.LENGTH_MIN and 65535 - (best & 65535) > _FAR:
            length = t.LENGTH_MIN - 1
        if held != 0:
            if held >> 16 >= length:
                tokens[U(count)] = 65535 - (held & 65535) << 9 | (held >> 16) + 253
                count += 1
                place += (held >> 16) - 1
                held = 0
                continue
            tokens[U(count)] = data[U(place - 1)]
            count += 1
            held = 0
            if count == tokens.shape[0]:
                break
        if length < t.LENGTH_MIN:
            tokens[U(count)] = data[U(place)]
            count += 1
            place += 1
        elif length < lazy_below and place + 1 < end:
            held = best
            place += 1
        else:
            tokens[U(count)] = 65535 - (best & 65535) << 9 | length + 253
            count += 1
            place += length
    return (place if held == 0 else place - 1) << 32 | count


@bare_kernel
def find(
    stamp: int, data: Bytes, start: int, end: int, window: int, tries_max: int, previous: Distances, found: Tokens, found_from: Tokens,
    tokens: Tokens,
) -> int:  # fmt: skip
    """All candidates of data[start:end], and a first path over them: the longest of each place, unless the next place has a longer one.

    Those of place p are found[found_from[p - start] : found_from[p - start + 1]], each longer and farther than the one before, at most
    t.FOUND_MAX. Returns the number of tokens or STALE. `previous`, `tokens`: as for `_parse`.
    """
    if stamp != t.STAMP:
        return STALE
    if start == 0:
        _link(data, window, True, previous, tokens)
    count = 0
    place = start
    run_end = 0
    found_from[0] = 0
    while place < end:
        limit = end - place if end - place < t.LENGTH_MAX else t.LENGTH_MAX
        first = count
        best = t.LENGTH_MIN - 1
        if place > 0 and data[U(place - 1)] == data[U(place)]:
            if run_end <= place:
                run_end = _run_end(data, place, end)
            if place > 1 and data[U(place - 2)] == data[U(place)] and run_end - place >= t.LENGTH_MIN:
                # deep in a run there is only the run: its head and its end are searched
                for here in range(place, run_end - 2):
                    run = run_end - here if run_end - here < t.LENGTH_MAX else t.LENGTH_MAX
                    found[U(count)] = run << 16 | 65534
                    count += 1
                    found_from[U(here + 1 - start)] = count
                place = run_end - 2
                continue
            run = run_end - place if run_end - place < limit else limit
            if run >= t.LENGTH_MIN:
                best = run
                found[U(count)] = run << 16 | 65534
                count += 1
        step = N(previous[U(place)]) if limit >= 8 else 0
        distance = step
        tries = tries_max
        while step != 0 and distance <= window and tries > 0:
            length = _match_length(data, place, place - distance, limit)
            if length > best:
                best = length
                if count - first == t.FOUND_MAX:
                    count -= 1
                found[U(count)] = length << 16 | 65535 - distance
                count += 1
            step = N(previous[U(place - distance)])
            distance += step
            tries -= 1
        place += 1
        found_from[U(place - start)] = count
    count = 0
    place = 0
    size = end - start
    while place < size:
        last = N(found_from[U(place + 1)]) - 1
        best = N(found[U(last)]) if last >= N(found_from[U(place)]) else 0
        if place + 1 < size and N(found_from[U(place + 2)]) - 1 > last:
            best = 0 if N(found[U(found_from[U(place + 2)] - 1)]) >> 16 > best >> 16 else best
        if best == 0:
            tokens[U(count)] = data[U(start + place)]
            place += 1
        else:
            tokens[U(count)] = 65535 - (best & 65535) << 9 | (best >> 16) + 253
            place += best >> 16
        count += 1
    return count


@bare_kernel
def best_path(stamp: int, data: Bytes, start: int, work: Table, found: Tokens, found_from: Tokens, cost: Table, tokens: Tokens) -> int:
    """The cheapest tokens for data[start : start + len(cost) - 1] under the code lengths in `work`; returns how many, or STALE.

    From the end: the cost of place p is that of its best token and of the place behind it. Of the lengths that share a symbol only the
    longest is tried, and of a long match only the last few: neither changes a label's size by more than a byte.
    """
    if stamp != t.STAMP:
        return STALE
    bits = work[t.BITS : t.CODES]
    price = work[t.CODES : t.WEIGHT]
    for alphabet in range(2):
        unused = 9 if alphabet == 0 else 6
        for symbol in range(t.ALPHABET[alphabet], t.ALPHABET[alphabet + 1]):
            unused = bits[symbol] + 1 if bits[symbol] >= unused else unused
        for symbol in range(t.ALPHABET[alphabet], t.ALPHABET[alphabet + 1]):
            price[symbol] = t.EXTRA[symbol] + (bits[symbol] if bits[symbol] > 0 else unused) << 32
    size = cost.shape[0] - 1
    cost[size] = 0
    behind = 0
    for place in range(size - 1, -1, -1):
        token = N(data[U(start + place)])
        best = price[U(token)] + behind | token
        low = t.LENGTH_MIN + 253
        for at in range(N(found_from[U(place)]), N(found_from[U(place + 1)])):
            candidate = N(found[U(at)])
            longest = (candidate >> 16) + 253
            distance = 65535 - (candidate & 65535)
            slot = distance if distance <= 256 else 257 + (distance - 1 >> 7)
            base = price[U(t.DISTANCES + t.DISTANCE_SYMBOL[U(slot)])] + (distance << 9)
            spare = _SPARE_RUN if distance == 1 else _SPARE
            if longest - low > spare:
                low = longest - spare
            while low <= longest:
                symbol = t.SYMBOL[U(low)]
                last = t.LOW_LAST[U(symbol)]
                low = last if last < longest else longest
                total = base + price[U(symbol)] + cost[U(place + low - 253)] + low
                best = total if total < best else best
                low += 1
        behind = best >> 32 << 32
        cost[U(place)] = behind
        tokens[U(place)] = best & 0xFFFFFFFF
    count = 0
    place = 0
    while place < size:
        token = N(tokens[U(place)])
        tokens[U(count)] = token
        count += 1
        place += 1 if token < 256 else (token & 511) - 253
    return count
