"""Bodies of downward messages: what is accepted, what is refused and how the refusal names the row."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import hq_messages
from protocols.hq_fields import CHUNK_RAW_MAX_BYTES, ROWS_MAX
from protocols.hq_messages import BadBody, ItemBatch, PriceBatch, PriceKind, SnapshotManifest, decode_body, decode_chunk, utc_ms
from protocols.hq_stock import StockAdjust

ROW: dict[str, Any] = {"sku": "100", "kind": "base", "price_id": "p1", "rev": 1, "amount_minor": 199, "currency": "EUR"}
INCARNATION = "ab" * 16


def _decode(type_: str, data: object) -> object:
    return decode_body(type_, json.dumps(data).encode())


def _rows(*rows: dict[str, Any]) -> PriceBatch:
    batch = _decode("price.batch.v1", {"rows": list(rows)})
    assert isinstance(batch, PriceBatch)
    return batch


def test_a_plain_amount_is_a_curve_of_one_point() -> None:
    (row,) = _rows(ROW).rows
    assert row.curve == ((1, 199),)
    assert (row.sku, row.kind, row.rev, row.price_quantity, row.cancelled) == ("100", PriceKind.BASE, 1, 1, False)
    assert row.effective_from_ms is None


def test_effective_times_become_utc_milliseconds_whatever_their_offset() -> None:
    window = {"effective_from": "2025-01-31T09:00:00.250+01:00", "effective_to": "2025-02-01T00:00:00Z"}
    (row,) = _rows(ROW | window).rows
    assert row.effective_from_ms == 1_738_310_400_250
    assert row.effective_to_ms == 1_738_368_000_000


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_milliseconds_of_an_instant_are_exact_and_rounded_down(instant: datetime) -> None:
    assert utc_ms(instant) == int(instant.replace(microsecond=0).timestamp()) * 1_000 + instant.microsecond // 1_000


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"amount_minor": -1}, "Expected `int` >= 0"),
        ({"amount_minor": 1.5}, "got `float`"),
        ({"amount_minor": True}, "got `bool`"),
        ({"amount_minor": None}, "amount_minor or curve is missing"),
        ({"curve": [[1, 100]]}, "exclude each other"),
        ({"currency": "eur"}, "matching regex"),
        ({"currency": "EURO"}, "matching regex"),
        ({"currency": "EUR\n"}, "matching regex"),
        ({"rev": 0}, "Expected `int` >= 1"),
        ({"rev": 2**53}, "Expected `int` <="),
        ({"kind": "gift"}, "Invalid enum value"),
        ({"sku": ""}, "matching regex"),
        ({"sku": "a b"}, "matching regex"),
        ({"sku": "x" * 65}, "matching regex"),
        ({"price_quantity": 0}, "Expected `int` >= 1"),
        ({"effective_from": "2025-01-31T09:00:00"}, "Expected `datetime` with a timezone component"),
        ({"effective_from": "yesterday"}, "Invalid RFC3339"),
        ({"effective_from": "2025-01-02T00:00:00Z", "effective_to": "2025-01-02T00:00:00Z"}, "not after effective_from"),
    ],
)
def test_one_bad_row_refuses_the_whole_batch_and_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadBody, match=r"^row 2: ") as caught:
        _rows(ROW, ROW | {"price_id": "p2"}, ROW | {"price_id": "p3"} | change, ROW | {"price_id": "p4"})
    assert caught.value.row == 2
    assert reason in caught.value.reason


@pytest.mark.parametrize("curve", [[], [[0, 1]], [[2, 100], [2, 150]], [[3, 100], [1, 50]], [[1, 100], [2, 90]], [[1, -1]], [[1]]])
def test_a_curve_that_does_not_ascend_is_refused(curve: list[list[int]]) -> None:
    row = {key: value for key, value in ROW.items() if key != "amount_minor"}
    with pytest.raises(BadBody) as caught:
        _rows(row | {"curve": curve})
    assert caught.value.row == 0


def test_a_cancelled_row_needs_no_amount() -> None:
    row = {key: value for key, value in ROW.items() if key != "amount_minor"}
    assert _rows(row | {"cancelled": True}).rows[0].curve == ()


def test_the_same_version_of_a_price_twice_in_a_batch_is_refused() -> None:
    with pytest.raises(BadBody, match="given twice") as caught:
        _rows(ROW, ROW | {"rev": 2}, ROW | {"amount_minor": 5})
    assert caught.value.row == 2


def test_a_batch_of_more_than_the_limit_is_refused_and_one_of_the_limit_is_not() -> None:
    rows = [ROW | {"price_id": f"p{number}"} for number in range(ROWS_MAX + 1)]
    assert len(_rows(*rows[:ROWS_MAX]).rows) == ROWS_MAX
    with pytest.raises(BadBody, match="length <= 500"):
        _rows(*rows)
    with pytest.raises(BadBody, match="length >= 1"):
        _rows()


def test_fields_of_a_newer_minor_version_are_ignored() -> None:
    assert _rows(ROW | {"was_minor": 249}) == _rows(ROW)


def test_barcodes_are_checked_and_brought_to_14_digits() -> None:
    item = {"sku": "1", "name": "Tea", "barcodes": [{"gtin": "4006381333931"}, {"gtin": "96385074", "pack_quantity": 6}]}
    batch = _decode("item.batch.v1", {"items": [item]})
    assert isinstance(batch, ItemBatch)
    assert [(code.gtin, code.pack_quantity) for code in batch.items[0].barcodes] == [("04006381333931", 1), ("00000096385074", 6)]


@pytest.mark.parametrize("gtin", ["4006381333932", "123", "12345678901234567", "40063813339a1", "4006381333931\n"])
def test_a_barcode_with_a_wrong_check_digit_or_length_names_its_row(gtin: str) -> None:
    good = {"sku": "1", "name": "Tea"}
    with pytest.raises(BadBody) as caught:
        _decode("item.batch.v1", {"items": [good, {"sku": "2", "name": "Milk", "barcodes": [{"gtin": gtin}]}]})
    assert caught.value.row == 1


@pytest.mark.parametrize(
    "batch",
    [
        {"items": [{"sku": "1", "name": "Tea"}, {"sku": "1", "name": "Coffee"}]},
        {"items": [{"sku": "1", "name": "Tea"}], "removed": ["1"]},
        {"items": [{"sku": "1", "name": "Tea\nEarl Grey"}]},
        {"items": [{"sku": "1", "name": ""}]},
        {"items": [{"sku": "1", "name": "Tea", "net_content": 100}]},
        {"items": [{"sku": "1", "name": "Tea", "attributes": {"k" + str(n): "v" for n in range(33)}}]},
    ],
)
def test_items_that_contradict_themselves_are_refused(batch: object) -> None:
    with pytest.raises(BadBody):
        _decode("item.batch.v1", batch)


def test_stock_labels_and_releases_are_read() -> None:
    adjust = _decode("stock.adjust.v1", {"adjustments": [{"id": "a1", "sku": "1", "delta": -3, "cause": "broken"}]})
    assert isinstance(adjust, StockAdjust)
    assert adjust.adjustments[0].delta == -3
    assert _decode("stock.count.v1", {"id": "c1", "sku": "1", "counted": 7, "as_of_seq": 12}) is not None
    assign = {"label": "00000218A1B2C3D4", "items": ["1"], "template": "shelf", "binding_rev": 0, "place": {"aisle": "3"}}
    assert _decode("label.assign.v1", assign) is not None
    assert _decode("label.unassign.v1", {"label": "00000218A1B2C3D4", "binding_rev": 2}) is not None
    assert _decode("price.release.v1", {"holds": ["h1"]}) == hq_messages.PriceRelease(("h1",))


def test_a_manifest_numbers_its_chunks_from_zero() -> None:
    chunk = {"sha256": "0" * 64, "rows": 1}
    base = {"snapshot_id": "s1", "base_price_seq": 0, "price_incarnation": INCARNATION, "items": 2}
    assert isinstance(_decode("snapshot.manifest.v1", base | {"chunks": [chunk | {"n": 0}, chunk | {"n": 1}]}), SnapshotManifest)
    with pytest.raises(BadBody, match="not numbered"):
        _decode("snapshot.manifest.v1", base | {"chunks": [chunk | {"n": 1}, chunk | {"n": 0}]})


def test_a_chunk_is_unpacked_into_items_rows_and_stock() -> None:
    text = {"items": [{"sku": "100", "name": "Tea"}], "rows": [ROW], "stock": [{"sku": "100", "on_hand": 5, "unit": "each"}]}
    chunk = decode_chunk("s1", 0, "0" * 64, zlib.compress(json.dumps(text).encode()))
    assert (len(chunk.items), chunk.rows[0].curve, chunk.stock[0].on_hand) == (1, ((1, 199),), 5)


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"plain text", "does not unpack"),
        (zlib.compress(b"{}")[:-1], "not one whole zlib stream"),
        (zlib.compress(b"{}") + b"more", "not one whole zlib stream"),
        (zlib.compress(b"0" * (CHUNK_RAW_MAX_BYTES + 1)), "more than"),
        (zlib.compress(b'{"rows": [{}]}'), "row 0"),
    ],
)
def test_a_damaged_or_oversized_chunk_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(BadBody, match=reason):
        decode_chunk("s1", 0, "0" * 64, raw)


@given(st.sampled_from(sorted(set(hq_messages.TYPES) - {"snapshot.chunk.v1"})), st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_bad_body(type_: str, data: bytes) -> None:
    with pytest.raises(BadBody):
        decode_body(type_, b"\xff" + data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "rows", "items", "gtin"]), inner, max_size=5),
    max_leaves=20,
)


@given(_JSON)
def test_no_json_row_is_accepted_with_a_negative_price_or_an_empty_offer(value: object) -> None:
    try:
        (row,) = _rows(ROW | value if isinstance(value, dict) else {"sku": value}).rows
    except BadBody:
        return
    assert row.cancelled or row.curve
    assert all(quantity >= 1 and total >= 0 for quantity, total in row.curve)
    assert row.rev >= 1
