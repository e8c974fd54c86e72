"""What a till may say, and what it is told when it says something else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.pos import (
    AMOUNT_MINOR_MAX,
    CODE_CHARS_MAX,
    LANE_METHODS,
    LINES_MAX,
    QUANTITY_MAX,
    CommitParams,
    CommitResult,
    Guard,
    HelloParams,
    HelloResult,
    LookupParams,
    QuoteParams,
    RpcError,
    StatusParams,
    StatusResult,
    Tender,
    card_number_in,
    commit_digest,
    encode_result,
    read_params,
)

PEN_EAN = "4006381333931"
VISA_TEST = "4111111111111111"


def refused(params: dict[str, Any], shape: type[msgspec.Struct]) -> str:
    with pytest.raises(RpcError) as caught:
        read_params(params, shape)
    return caught.value.code


def sale(**members: object) -> dict[str, Any]:
    base: dict[str, Any] = {
        "sale_id": "lane1:2026-03-04:17",
        "lines": [{"line_id": "1", "code": PEN_EAN, "quantity": 2, "total_minor": 398}],
        "total_minor": 398,
        "tenders": [{"type": "cash", "amount_minor": 398}],
    }
    return base | members


def quote_line(number: int, **members: object) -> dict[str, Any]:
    return {"line_id": f"l{number}", "code": "96385074", "quantity": 1} | members


def eans_that_pass_luhn() -> list[str]:
    codes = []
    for number in range(400_000_000_000, 400_000_000_400):
        digits = str(number)
        check = -sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10
        if card_number_in(digits + str(check)):
            codes.append(digits + str(check))
    return codes


def test_codes_and_ids_that_pass_luhn_are_fine() -> None:
    codes = eans_that_pass_luhn()
    assert len(codes) > 20
    for code in codes:
        assert read_params({"code": code}, LookupParams).code == code
        assert read_params({"item_id": code}, LookupParams).item_id == code
        sold = sale(sale_id=code, quote_id=code, lines=[quote_line(1, code=code, line_id=code, total_minor=1)])
        assert read_params(sold, CommitParams).sale_id == code
        assert read_params({"basket_id": code, "lines": [quote_line(1, code=code)]}, QuoteParams).basket_id == code


@pytest.mark.parametrize("text", [VISA_TEST, "visa 4111 1111 1111 1111", "4111-1111-1111-1111", f"x{VISA_TEST}25"])
def test_a_card_number_in_free_text_is_refused_and_not_repeated(text: str) -> None:
    cases: list[tuple[dict[str, Any], type[msgspec.Struct]]] = [
        (sale(tenders=[{"type": text, "amount_minor": 398}]), CommitParams),
        ({"lane": "1", "client": text}, HelloParams),
        ({"lane": "1", "version": text}, HelloParams),
    ]
    for params, shape in cases:
        with pytest.raises(RpcError) as caught:
            read_params(params, shape)
        assert caught.value.code == "card_number"
        assert "1111" not in caught.value.detail


@pytest.mark.parametrize("params", [{}, {"code": "1", "item_id": "2"}, {"code": ""}, {"code": 5}, {"code": "x" * (CODE_CHARS_MAX + 1)}])
def test_a_lookup_names_exactly_one_item(params: dict[str, Any]) -> None:
    assert refused(params, LookupParams) == "invalid_params"


@pytest.mark.parametrize("quantity", [0, -1, QUANTITY_MAX + 1, 1.5, 1.0, "1", True, None])
def test_a_quantity_is_a_whole_number_in_range(quantity: object) -> None:
    assert refused({"basket_id": "b", "lines": [quote_line(1, quantity=quantity)]}, QuoteParams) == "bad_quantity"
    assert refused(sale(lines=[quote_line(1, quantity=quantity, total_minor=1)]), CommitParams) == "bad_quantity"


@pytest.mark.parametrize("amount", [-1, AMOUNT_MINOR_MAX + 1, 1.99, 1.0, "199", True])
def test_an_amount_is_whole_minor_units_and_never_negative(amount: object) -> None:
    assert refused(sale(total_minor=amount), CommitParams) == "invalid_params"
    assert refused(sale(tenders=[{"type": "cash", "amount_minor": amount}]), CommitParams) == "invalid_params"
    assert refused(sale(lines=[quote_line(1, total_minor=amount)]), CommitParams) == "invalid_params"


def test_a_basket_has_1_to_500_lines_with_ids_of_their_own() -> None:
    full = {"basket_id": "b", "lines": [quote_line(number) for number in range(LINES_MAX)]}
    assert len(read_params(full, QuoteParams).lines) == LINES_MAX
    assert refused({"basket_id": "b", "lines": [quote_line(number) for number in range(LINES_MAX + 1)]}, QuoteParams) == "too_many_lines"
    assert refused({"basket_id": "b", "lines": []}, QuoteParams) == "invalid_params"
    assert refused({"basket_id": "b", "lines": [quote_line(1), quote_line(1)]}, QuoteParams) == "invalid_params"
    assert refused(sale(lines=[quote_line(1, total_minor=1)] * 2), CommitParams) == "invalid_params"


@pytest.mark.parametrize("sale_id", ["", "a b", "x" * 65, "ä", "a\n", "a/b", 5, None])
def test_a_sale_id_is_plain_text_of_1_to_64(sale_id: object) -> None:
    assert refused(sale(sale_id=sale_id), CommitParams) == "invalid_params"
    assert refused({"sale_id": sale_id}, StatusParams) == "invalid_params"


@given(st.text("ABCxyz0189_.:-", min_size=1, max_size=64))
def test_any_id_of_the_allowed_letters_is_taken(sale_id: str) -> None:
    assert read_params({"sale_id": sale_id}, StatusParams).sale_id == sale_id


def test_a_sale_says_what_was_sold_by_quote_or_by_lines() -> None:
    assert refused(sale(lines=None), CommitParams) == "invalid_params"
    assert read_params(sale(lines=None, quote_id="q"), CommitParams).lines is None
    assert read_params(sale(quote_id="q"), CommitParams).lines is not None


@pytest.mark.parametrize("made_at", [None, "yesterday", "2026-03-04T10:00:00", "0001-01-01T00:00:00+14:00", 1700000000])
def test_an_offline_sale_says_when_it_was_made_with_its_offset(made_at: object) -> None:
    assert refused(sale(offline=True, made_at=made_at), CommitParams) == "invalid_params"


def test_the_instant_of_an_offline_sale_is_read_with_its_offset() -> None:
    made_at = read_params(sale(offline=True, made_at="2026-03-04T12:00:00+02:00"), CommitParams).made_at
    assert made_at is not None
    assert made_at == datetime(2026, 3, 4, 10, tzinfo=UTC)


def test_a_misspelt_member_is_refused_with_its_place() -> None:
    with pytest.raises(RpcError) as caught:
        read_params({"basket_id": "b", "lines": [quote_line(1, qty=1)]}, QuoteParams)
    assert (caught.value.code, caught.value.detail) == ("invalid_params", "Object contains unknown field `qty` - at `$.lines[0]`")


def test_the_place_of_an_error_does_not_repeat_a_card_number() -> None:
    with pytest.raises(RpcError) as caught:
        read_params({"code": "1", VISA_TEST: 1}, LookupParams)
    assert VISA_TEST not in caught.value.detail


def test_a_repeated_sale_is_the_same_body_also_when_it_has_become_an_offline_one() -> None:
    first = commit_digest(read_params(sale(), CommitParams))
    again = commit_digest(read_params(sale(offline=True, made_at="2026-03-04T12:00:00Z"), CommitParams))
    assert first == again


@pytest.mark.parametrize(
    "other",
    [
        {"sale_id": "other"},
        {"total_minor": 399},
        {"total_minor": None},
        {"quote_id": "q"},
        {"tenders": [{"type": "card", "amount_minor": 398}]},
        {"lines": [quote_line(1, total_minor=398)]},
    ],
)
def test_another_body_has_another_digest(other: dict[str, Any]) -> None:
    assert commit_digest(read_params(sale(**other), CommitParams)) != commit_digest(read_params(sale(), CommitParams))


def test_results_carry_what_they_were_made_from() -> None:
    recorded = CommitResult(revision=5, as_of="2026-03-04T10:00:00Z", stale_s=0, sale_id="s", up_seq=9)
    status = StatusResult(revision=6, as_of="2026-03-04T10:00:01Z", stale_s=1, sale_id="s", state="recorded", answer=recorded)
    line = msgspec.json.decode(encode_result(1, status))["result"]
    assert {"revision", "as_of", "stale_s", "guard"} <= line.keys()
    assert line["answer"]["recorded"] is True
    assert msgspec.convert(line, StatusResult) == status


def test_a_reader_passes_over_members_of_a_later_version() -> None:
    recorded = CommitResult(revision=5, as_of="t", stale_s=0, guard=Guard.DWELL, sale_id="s", up_seq=9)
    later = msgspec.to_builtins(recorded) | {"new_member": [1]}
    assert msgspec.convert(later, CommitResult) == recorded


def test_hello_names_every_method_and_limit() -> None:
    hello = HelloResult(
        server="s",
        version="0",
        store_id="",
        currency="",
        exponent=2,
        tax_mode="inclusive",
        lane="1",
        ready=False,
        revision=0,
        as_of=None,
        stale_s=0,
    )
    assert set(hello.methods) == LANE_METHODS
    assert hello.limits.lines == LINES_MAX


def test_a_tender_cannot_be_built_with_a_card_number() -> None:
    with pytest.raises(RpcError):
        Tender(VISA_TEST, 1)
