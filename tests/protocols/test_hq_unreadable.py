"""What is no text at all, or nested without an end, is the reader's own error and nobody else's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocols.hq_control import settings
from protocols.hq_enrol import BadEnrolment, parse_enrolment
from protocols.hq_events import BadUpward, parse_reply, parse_state, parse_sync, verify_up_batch
from protocols.hq_messages import BadBody, decode_body

DEEP = b"[" * 100_000
NO_TEXT = b"\xff\xfe"


READERS: list[tuple[Callable[[bytes], object], type[Exception], str]] = [
    (parse_state, BadUpward, '{"online":true,"store":%s}'),
    (parse_sync, BadUpward, '{"store":%s}'),
    (parse_reply, BadUpward, '{"store":%s}'),
    (lambda raw: verify_up_batch("sale", raw), BadUpward, '{"store":%s}'),
    (parse_enrolment, BadEnrolment, '{"store":%s}'),
    (lambda raw: decode_body("price.batch.v1", raw), BadBody, '{"rows":[{"sku":%s}]}'),
    (lambda raw: decode_body("query.v1", raw), BadBody, '{"what":%s}'),
]


@pytest.mark.parametrize("value", [b'"' + NO_TEXT + b'"', DEEP], ids=["no text", "deep"])
@pytest.mark.parametrize("read, error, shape", READERS)
def test_it_is_said_in_the_readers_own_error(read: Callable[[bytes], object], error: type[Exception], shape: str, value: bytes) -> None:
    with pytest.raises(error):
        read(shape.encode().replace(b"%s", value))


@pytest.mark.parametrize("document", ['{"x":' + "[" * 100_000, "\udcff"])
def test_settings_that_cannot_be_read_are_a_value_error(document: str) -> None:
    with pytest.raises(ValueError):
        settings(document)
