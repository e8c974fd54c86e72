"""The demo's figures count changes, not attempts, and its screen fits a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from edge.demo.board import Showing, line, screen, time_text
from edge.demo.catalogue import ARTICLES, PriceChange, Priced
from edge.demo.judge import Judge
from edge.demo.ledger import RECENT_MAX, Change, Changes, Sales, Stage, result


def a_change(number: int, *, rise: bool) -> Change:
    article = ARTICLES[number % len(ARTICLES)]
    price = PriceChange(article.sku, Priced(199), Priced(249 if rise else 149), {})
    return Change(price, number + 1, article.name, f"label-{number}", 1_000 * number)


def showing(changes: Changes, sales: Sales | None = None) -> Showing:
    judge = Judge({})
    return Showing(changes, sales or Sales(), judge, 60, 3, "mosquitto", 60.0, 60, 60.0, Path("/tmp/x/control.sock"), now_s=lambda: 12.0)


def test_a_stage_that_is_reached_twice_counts_once() -> None:
    changes = Changes()
    change = a_change(0, rise=True)
    changes.send(change)
    for at_ms in (5_000, 9_000):
        changes.reach(change, Stage.RENDERED, at_ms)
    assert changes.count(Stage.RENDERED) == 1
    assert changes.median_wait_s(Stage.RENDERED, rise=True) == 5.0


@pytest.mark.parametrize("order", [(Stage.CONFIRMED, Stage.IN_FORCE), (Stage.IN_FORCE, Stage.CONFIRMED)])
def test_a_change_is_open_until_the_shelf_confirms_it_and_the_lane_charges_it(order: tuple[Stage, Stage]) -> None:
    changes = Changes()
    change = a_change(0, rise=False)
    changes.send(change)
    assert changes.of_label("label-0") is change
    changes.reach(change, order[0], 1)
    assert changes.open
    changes.reach(change, order[1], 2)
    assert not changes.open
    assert changes.of_label("label-0") is None


def test_a_long_run_keeps_only_the_newest_changes() -> None:
    changes = Changes()
    for number in range(500):
        change = a_change(number, rise=number % 2 == 0)
        changes.send(change)
        for stage in Stage:
            changes.reach(change, stage, change.sent_ms + 10)
    assert (len(changes.open), len(changes.recent), changes.sent()) == (0, RECENT_MAX, 500)


def test_the_result_has_the_agreed_keys() -> None:
    changes = Changes()
    for number, rise in enumerate((True, True, False)):
        change = a_change(number, rise=rise)
        changes.send(change)
        changes.reach(change, Stage.STORED, 0)
        changes.reach(change, Stage.IN_FORCE, 0)
    assert result(changes, Sales(sent=5, recorded=4, at_hq=3), 2, 60.04) == {
        "changes": {
            "sent": 3,
            "stored": 3,
            "rendered": 0,
            "on_air": 0,
            "confirmed": 0,
            "rises_in_force": 2,
            "cuts_in_force": 1,
        },
        "sales": {"sent": 5, "recorded": 4, "at_hq": 3},
        "overcharges": 2,
        "seconds": 60.0,
    }


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("count", [0, 3, 40])
def test_the_screen_fits_a_small_terminal(width: int, count: int) -> None:
    changes = Changes()
    for number in range(count):
        change = a_change(number, rise=number % 2 == 0)
        changes.send(change)
        for stage in list(Stage)[: number % 6]:
            changes.reach(change, stage, change.sent_ms + 170_000)
        change.lane_price_minor, change.lane_guard = 199, "shelf_lower"
    now = showing(changes, Sales(12_345, 12_345, 12_340, 50_000, 9_999_999))
    paper = io.StringIO()
    Console(width=width, force_terminal=False, file=paper).print(screen(now))
    lines = paper.getvalue().splitlines()
    assert len(lines) <= 24
    assert all(len(text.rstrip()) <= min(width, 100) for text in lines)
    assert "12340" in "\n".join(lines)


def test_the_clock_of_a_run_starts_when_the_store_is_ready_and_stops_at_its_end() -> None:
    times = iter((100.0, 130.0, 190.0))
    now = showing(Changes())
    now.now_s = lambda: next(times)
    assert (now.ready, now.elapsed_s) == (False, 0.0)
    now.started()
    assert (now.ready, now.elapsed_s) == (True, 30.0)
    now.stopped()
    now.stopped()
    assert now.elapsed_s == 90.0


def test_a_pipe_gets_one_line_and_time_is_explained() -> None:
    assert "\n" not in line(showing(Changes()))
    text = time_text(showing(Changes()))
    assert "60x" in text
    assert "dwell is 60 s of store time" in text
    assert "1x" in text
