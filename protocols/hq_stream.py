"""What the next message of a stream means: in order, behind a gap, known, stale, a fork, or the beginning of another log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HELD_ROWS_MAX: Final = 256  # messages kept behind a gap, per stream; further ones are dropped, a resend brings them back
HELD_MS_MAX: Final = 10_000  # how long a gap may stay open before the store asks: brokers reorder within seconds


@dataclass(frozen=True, slots=True)
class StreamCursor:
    """The last message of a stream that was applied in order. `seq` 0: none of this incarnation yet."""

    incarnation: str
    seq: int


@dataclass(frozen=True, slots=True)
class InOrder:
    """The next one: apply it and move the cursor to it. Then look at the held ones."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Seen before with the same digest: acknowledge, change nothing."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Before the cursor and no longer in the inbox, or of a retired incarnation: acknowledge, change nothing."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Another message already had this place. Keep the first one, alert: HQ's log was rewritten, or a key is in wrong hands."""


@dataclass(frozen=True, slots=True)
class Gap:
    """`missing_from`..`missing_to` are missing before it. `hold`: keep it as held; else it is too far ahead and comes with the resend."""

    missing_from: int
    missing_to: int
    hold: bool


@dataclass(frozen=True, slots=True)
class NewIncarnation:
    """HQ's log was created or restored: retire the old incarnation for good, set the cursor to (incarnation, 0), decide again."""


Decision = InOrder | Duplicate | Stale | Fork | Gap | NewIncarnation


def decide(
    cursor: StreamCursor | None,
    incarnation: str,
    seq: int,
    digest: str,
    known_digest: str | None,
    *,
    retired: bool = False,
    restarts: bool = False,
) -> Decision:
    """What a message at (incarnation, seq) means for a stream.

    `cursor` None: nothing of the stream was ever seen. `known_digest`: digest of the message that the inbox has at this place, applied
    or held. `retired`: the incarnation was current once and is not any more. `restarts`: the message makes everything before it in its
    stream needless (a snapshot manifest, see `restarts_stream`).
    """
    if known_digest is not None:
        return Duplicate() if known_digest == digest else Fork()
    if retired:
        return Stale()
    if cursor is None or incarnation != cursor.incarnation:
        return NewIncarnation()
    if seq <= cursor.seq:
        return Stale()
    if seq == cursor.seq + 1 or restarts:
        return InOrder()
    return Gap(cursor.seq + 1, seq - 1, hold=seq - cursor.seq <= HELD_ROWS_MAX)
