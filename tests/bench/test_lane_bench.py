"""What the lane bench computes and sends; what it measures is for people to run."""

from __future__ import annotations

import json
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lane_bench import KEYS, as_json, verdicts
from bench.lane_hq import ROWS, batches
from bench.lane_paced import figures
from bench.lane_sale import LINES_A_SALE, baskets
from bench.lane_shop import ITEMS, codes, gtin, price_minor, price_row, sku
from bench.lane_tools import lookups, percentile, sales, waits_of
from protocols.gs1_numbers import check_digit
from protocols.hq_messages import PriceBatch, decode_body
from protocols.pos import CommitParams, HelloParams, LookupParams, read_params

FOUND = {
    "paced": dict.fromkeys((*KEYS["paced"], "p99_over_c", "p999_over_c", "rss_mb", "rendered_per_s", "imports"), 1.0),
    "unpaced": {count: dict.fromkeys((*KEYS["unpaced"], "over_c_per_s", "over_streams_per_s"), 2.0) for count in ("8", "32")},
    "sale": dict.fromkeys((*KEYS["sale"], "over_fdatasync", "lane8_over_lane1"), 3.0),
    "ingest": dict.fromkeys((*KEYS["ingest"], "json_sqlite3_over_ours", "sqlite_utils_over_ours", "json_sqlite3_over_unchanged"), 4.0),
}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.99, 0.999, 1.0]))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[int], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert not any(value < found and sum(each <= value for each in values) >= share * len(values) for value in values)


def test_the_records_of_the_load_generator_are_sorted_by_target_in_their_order() -> None:
    raw = b"".join(struct.pack("=QQ", *record) for record in [(0, 5), (2, 7), (0, 3), (1, 2**40)])
    assert waits_of(raw, 3) == [[5, 3], [2**40], [7]]


def test_ratios_are_taken_within_a_round() -> None:
    found = figures([[10.0] * 99 + [40.0], [20.0] * 100, [30.0] * 100], [[10.0] * 100, [10.0] * 100, [30.0] * 100])
    assert (found["p50_us"], found["c_p50_us"]) == (20.0, 10.0)
    assert found["p99_over_c"] == 1.0
    assert found["p999_over_c"] == 2.0


def test_the_file_has_exactly_the_figures_that_are_named() -> None:
    told = as_json(FOUND)
    assert set(told) == {"paced", "unpaced", "sale", "ingest", "rss_mb"}
    assert set(told["paced"]) == {"p50_us", "p99_us", "p999_us", "c_p99_us", "c_p999_us"}
    assert {count: set(each) for count, each in told["unpaced"].items()} == {
        count: {"per_s", "c_per_s", "streams_per_s"} for count in ("8", "32")
    }
    assert set(told["sale"]) == {"p50_us", "fdatasync_p50_us", "lane1_per_s", "lane8_per_s"}
    assert set(told["ingest"]) == {"ms", "json_sqlite3_ms", "sqlite_utils_ms", "unchanged_ms", "worst_sale_wait_ms"}
    assert json.loads(json.dumps(told)) == told
    assert as_json({"sale": FOUND["sale"]}) == {"sale": told["sale"]}


def test_a_target_is_met_on_its_own_side_only() -> None:
    rows = {(row.work.partition(";")[0], row.peer.split(" ")[0]): row for row in verdicts(FOUND)}
    assert len(rows) == 13
    assert all(row.met == ((row.value <= row.target) if row.at_most else (row.value >= row.target)) for row in rows.values())
    assert not rows["sale of 3 lines, one lane, p50", "append"].met
    assert rows["lookup, 8 connections", "C"].met
    assert not rows["lookup, 8 connections", "streams"].met


@pytest.mark.parametrize("number", [0, 1, 12_345, ITEMS - 1])
def test_codes_are_good_and_prices_move_with_each_list(number: int) -> None:
    code = gtin(number)
    assert code[-1] == str(check_digit(code[:-1]))
    assert len({price_minor(number, rev) for rev in range(1, 6)}) == 5
    assert price_row(number, 3)["sku"] == sku(number)


def test_the_lists_are_what_head_office_may_send() -> None:
    sent = batches(2, rows=1_200)
    assert [len(batch) for batch in sent] == [500, 500, 200]
    assert ROWS == 50_000
    for batch in sent:
        body = decode_body("price.batch.v1", json.dumps({"rows": batch}).encode())
        assert isinstance(body, PriceBatch)
        assert len(body.rows) == len(batch)


def test_the_lines_are_calls_that_a_lane_takes() -> None:
    rng = random.Random(1)
    (_, greeting), *asked = lookups("lane-1", codes(rng, 20))
    assert read_params(greeting, HelloParams).lane == "lane-1"
    assert all(read_params(params, LookupParams).code for _, params in asked)
    _, *sold = sales("lane-1", "x", baskets(rng, 5))
    ids = {read_params(params, CommitParams).sale_id for _, params in sold}
    assert len(ids) == 5
    assert all(len(read_params(params, CommitParams).lines or ()) == LINES_A_SALE for _, params in sold)
