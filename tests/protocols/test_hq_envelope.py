"""Signed envelopes: the order of the checks, and that nothing unsigned or out of place gets through."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols.hq import (
    MESSAGE_MAX_BYTES,
    BadMessage,
    BadSignature,
    Down,
    ForeignStore,
    HqMessageError,
    Message,
    Signer,
    Stream,
    Topics,
    encode_down,
    parse_down,
    partition_of,
    public_key,
    raw_body,
    reparse,
    utc_text,
    uuid7,
)
from protocols.hq_messages import Head, HqAck, PriceBatch, Refused, SnapshotChunk

STORE = "berlin-7"
INCARNATION = "0123456789abcdef" * 2
SIGNER = Signer("k1", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = Signer("k1", Ed25519PrivateKey.from_private_bytes(b"x" * 32))
KEYS = {"k1": public_key(SIGNER.public_key)}
ROW = {"sku": "100", "kind": "base", "price_id": "p1", "rev": 1, "amount_minor": 199, "currency": "EUR"}
NOW_MS = 1_738_310_400_250
ID = uuid7(NOW_MS, bytes(10))


def _down(type_: str = "price.batch.v1", seq: int | None = 4, **changes: Any) -> Down:
    data = json.dumps({"rows": [ROW]}).encode()
    return Down(type_, ID, "hq", STORE, NOW_MS, INCARNATION, seq, **({"data": data} | changes))


def _header(tail: str = "dn/price", signer: Signer = SIGNER, **changes: Any) -> bytes:
    header = {
        "specversion": "1.0",
        "id": ID,
        "source": "hq",
        "type": "price.batch.v1",
        "subject": STORE,
        "time": "2025-01-31T08:00:00Z",
        "incarnation": INCARNATION,
        "stream": "price",
        "seq": 4,
        "data": {"rows": [ROW]},
    } | changes
    return signer.seal(tail, json.dumps({key: value for key, value in header.items() if value is not None}).encode())


def _parse(raw: bytes, tail: str = "dn/price", store: str = STORE) -> Message:
    return parse_down(tail, raw, KEYS, store)


def test_a_signed_message_comes_out_as_it_was_written() -> None:
    tail, raw = encode_down(_down(expires_ms=NOW_MS + 1_000), SIGNER)
    message = _parse(raw, tail)
    assert (tail, message.stream, message.seq, message.incarnation) == ("dn/price", Stream.PRICE, 4, INCARNATION)
    assert (message.time_ms, message.expires_ms, message.id) == (NOW_MS, NOW_MS + 1_000, ID)
    assert isinstance(message.body, PriceBatch)
    assert message.digest == hashlib.sha256(raw.split(b"\n", 1)[1]).hexdigest()


def test_a_snapshot_chunk_carries_its_raw_body_outside_the_header() -> None:
    body = zlib.compress(b'{"items": [{"sku": "1", "name": "a\\nb"}]}'.replace(b"\\n", b" "))
    tail, raw = encode_down(_down("snapshot.chunk.v1", data=None, chunk=body, snapshot_id="s1", n=3), SIGNER)
    message = _parse(raw, tail)
    assert isinstance(message.body, SnapshotChunk)
    assert (message.body.snapshot_id, message.body.n, message.body.sha256) == ("s1", 3, hashlib.sha256(body).hexdigest())
    assert raw_body(raw) == body


def test_head_and_ack_have_no_place_in_a_stream() -> None:
    data = json.dumps({"streams": {"price": {"incarnation": INCARNATION, "seq": 9}}}).encode()
    tail, raw = encode_down(_down("head.v1", None, data=data), SIGNER)
    message = _parse(raw, tail)
    assert (tail, message.stream, message.seq) == ("dn/head", None, None)
    assert isinstance(message.body, Head)
    data = json.dumps({"store": STORE, "incarnation": INCARNATION, "seq_through": 3, "last_hash": "0" * 64}).encode()
    tail, raw = encode_down(_down("ack.v1", None, data=data), SIGNER)
    assert isinstance(_parse(raw, tail).body, HqAck)
    assert tail == "dn/ack"


def test_size_is_checked_before_the_signature_and_the_signature_before_the_header() -> None:
    with pytest.raises(BadMessage, match="131073 bytes"):
        _parse(b"x" * (MESSAGE_MAX_BYTES + 1))
    with pytest.raises(BadSignature):
        _parse(OTHER.seal("dn/price", b"not even a header"))
    with pytest.raises(BadMessage, match="header"):
        _parse(SIGNER.seal("dn/price", b"not even a header"))
    with pytest.raises(BadSignature):
        _parse(_header(signer=OTHER, subject="another-store"))


@given(st.data())
def test_every_changed_byte_is_noticed(data: st.DataObject) -> None:
    raw = bytearray(_header())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadSignature):
        _parse(bytes(raw))


@given(st.binary(max_size=300))
def test_noise_is_a_bad_signature_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(BadSignature):
        _parse(raw)
    with pytest.raises(HqMessageError):
        _parse(SIGNER.seal("dn/price", raw))


def test_a_message_cannot_be_moved_to_another_topic() -> None:
    with pytest.raises(BadSignature):
        _parse(_header("dn/price"), "dn/stock")


def test_unknown_keys_are_refused_by_name() -> None:
    with pytest.raises(BadSignature, match="unknown key k9"):
        _parse(_header(signer=Signer("k9", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))))


def test_two_keys_are_valid_at_once_while_one_replaces_the_other() -> None:
    newer = Signer("k2", Ed25519PrivateKey.from_private_bytes(b"n" * 32))
    keys = KEYS | {"k2": public_key(newer.public_key)}
    for signer in (SIGNER, newer):
        assert parse_down("dn/price", _header(signer=signer), keys, STORE).seq == 4


def test_a_message_for_another_store_is_foreign() -> None:
    with pytest.raises(ForeignStore, match="hamburg-1"):
        _parse(_header(subject="hamburg-1"))


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"},
        {"id": "4711"},
        {"id": ID.upper()},
        {"incarnation": "ABC"},
        {"seq": 0},
        {"seq": None},
        {"stream": None},
        {"stream": "stock"},
        {"stream": "nothing"},
        {"subject": None},
    ],
)
def test_a_header_without_a_place_in_the_stream_is_a_bad_message(changes: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        _parse(_header(**changes))


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"data": {"rows": [ROW, ROW | {"price_id": "p2", "amount_minor": -1}]}}, "row 1"),
        ({"data": None}, "data is missing"),
        ({"type": "price.batch.v2"}, "not supported"),
        ({"type": "stock.adjust.v1"}, "does not belong on dn/price"),
        ({"time": "2025-01-31T08:00:00"}, "header"),
        ({"expires": "soon"}, "header"),
        ({"expires": "2025-02-01T00:00:00Z", "after": {"media": {"incarnation": "a" * 32, "seq": 1}}}, "header"),
    ],
)
def test_unusable_data_keeps_its_place_in_the_stream_and_is_refused(changes: dict[str, Any], reason: str) -> None:
    message = _parse(_header(**changes))
    assert (message.stream, message.seq) == (Stream.PRICE, 4)
    assert isinstance(message.body, Refused)
    assert reason in message.body.reason


def test_an_unusable_header_field_of_a_message_for_another_store_changes_nothing_here() -> None:
    with pytest.raises(ForeignStore):
        _parse(_header(subject="hamburg-1", expires="soon"))
    with pytest.raises(BadMessage):
        _parse(_header("dn/head", type="head.v1", stream=None, seq=None, data={"streams": {}}, expires="soon"), "dn/head")
    with pytest.raises(BadMessage, match="on dn/price"):
        _parse(_header(stream="stock", expires="soon"))


def test_unusable_data_outside_the_streams_is_a_bad_message() -> None:
    head: dict[str, Any] = {"type": "head.v1", "stream": None, "seq": None}
    with pytest.raises(BadMessage):
        _parse(_header("dn/head", **head, data={"streams": 1}), "dn/head")
    with pytest.raises(BadMessage, match="carries a stream position"):
        _parse(_header("dn/head", type="head.v1", data={"streams": {}}), "dn/head")
    with pytest.raises(BadMessage, match="on dn/ack"):
        _parse(_header("dn/ack", **head, data={"streams": {}}), "dn/ack")


def test_a_chunk_whose_hash_is_wrong_is_refused() -> None:
    _, raw = encode_down(_down("snapshot.chunk.v1", data=None, chunk=zlib.compress(b"{}"), snapshot_id="s1", n=0), SIGNER)
    header = json.loads(raw.split(b"\n")[1]) | {"hash": "0" * 64}
    message = _parse(SIGNER.seal("dn/bulk", json.dumps(header).encode() + b"\n" + raw_body(raw)), "dn/bulk")
    assert isinstance(message.body, Refused)
    assert "hash" in message.body.reason


def test_a_message_from_the_inbox_reads_the_same_without_its_key() -> None:
    raw = _header()
    assert reparse("dn/price", raw) == _parse(raw)


def test_the_partition_of_a_store_never_changes() -> None:
    assert [partition_of(store) for store in ("demo-01", "berlin-7", "1")] == ["28", "20", "11"]
    assert {partition_of(str(number)) for number in range(2_000)} == {f"{number:02d}" for number in range(32)}


def test_topics_are_built_and_taken_apart() -> None:
    topics = Topics(STORE, partition_of(STORE), "rs/1")
    assert topics.topic("dn/price") == f"rs/1/{partition_of(STORE)}/berlin-7/dn/price"
    assert topics.tail(topics.topic("dn/price")) == "dn/price"
    assert topics.tail("rs/1/00/other/dn/price") is None


@pytest.mark.parametrize("store, prefix", [("a/b", "rs/1"), ("a.b", "rs/1"), ("+", "rs/1"), ("", "rs/1"), ("a", "rs//1"), ("a", "rs 1")])
def test_names_that_would_change_the_shape_of_a_topic_are_refused(store: str, prefix: str) -> None:
    with pytest.raises(ValueError, match="topic level"):
        Topics(store, "00", prefix)


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_of_a_later_millisecond_sort_later(time_ms: int, one: bytes, two: bytes) -> None:
    first, second = uuid7(time_ms, one), uuid7(time_ms + 1, two)
    assert first < second
    assert (first[14], first[19] in "89ab", len(first)) == ("7", True, 36)


def test_times_are_written_with_milliseconds_in_utc() -> None:
    assert utc_text(NOW_MS) == "2025-01-31T08:00:00.250Z"
    assert utc_text(0) == "1970-01-01T00:00:00.000Z"


def test_a_public_key_of_another_length_is_refused() -> None:
    for text in ("", "AAAA", "not base64!"):
        with pytest.raises(ValueError, match="Ed25519"):
            public_key(text)
