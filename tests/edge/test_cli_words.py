"""What a person reads on a terminal: amounts as prices, ages as ages, and tables that a line has room for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge import cli_audit, cli_guard
from edge.cli_words import ago, instant, lane, money, offer
from tests.edge.test_cli_guard import Daemon

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("minor", "exponent", "text"),
    [(120, 2, "1.20"), (5, 2, "0.05"), (0, 2, "0.00"), (-5, 2, "-0.05"), (1234, 3, "1.234"), (99, 0, "99"), (None, 2, "")],
)
def test_an_amount_is_a_price(minor: int | None, exponent: int, text: str) -> None:
    assert money(minor, exponent) == text


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ([[1, 120]], "1.20"),
        ([[1, 120], [3, 300]], "1.20, 3 for 3.00"),
        ([[1000, 1999]], "19.99 for 1000"),
        ([[100, 5], [500, 20]], "0.05 for 100, 500 for 0.20"),
        ([], ""),
    ],
)
def test_an_offer_is_what_a_label_says(points: list[list[int]], text: str) -> None:
    assert offer(points, 2) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90, "90 s"),
        (7_200, "2 h"),
        (3_600, "1 h"),
        (5_400, "90 min"),
        (86_400, "1 d"),
        (200_000, "2 d"),
        (None, ""),
    ],
)
def test_an_age_has_its_largest_unit(seconds: int | None, text: str) -> None:
    assert ago(seconds) == text


def test_an_instant_is_told_to_the_second() -> None:
    assert instant("2026-11-22T02:17:46.123Z") == "2026-11-22 02:17:46Z"
    assert instant(None) == ""


def test_a_lane_s_price_says_what_held_it() -> None:
    assert lane({"quantity": 1, "total_minor": 100, "guard": "shelf_lower", "label": "L1"}, 2) == "1.00 (shelf_lower, label L1)"
    assert lane({"quantity": 1000, "price_minor": 100, "guard": None, "held_by": None}, 2) == "1.00 for 1000"


# -- tables ----------------------------------------------------------------------------------------------------------------


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")


HELD: dict[str, Any] = {
    "item_id": "milk",
    "name": "Whole milk of one litre and more",
    "target_minor": 120,
    "held_minor": 100,
    "quantity": 1,
    "audience": "member",
    "label": "AABBCCDD00000001",
    "place": "3/2/4/1",
    "attempt": 7,
    "grade": None,
    "reason": "shelf_lower",
    "age_s": 7200,
    "given_away_minor": 40,
    "remedy": "give it a battery, or take it away or cover it, then: shelfd label retire AABBCCDD00000001",
}


def test_held_breaks_nothing_but_the_remedy(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    Daemon(held=[HELD], items=1, cut=False, exponent=2).run("price", "held")
    head, row, *rest = capsys.readouterr().out.splitlines()
    assert all(word in head for word in ("item", "held at", "given away", "remedy"))
    for text in ("milk", "1.20", "1.00", "AABBCCDD00000001 (members)", "3/2/4/1", "shelf_lower", "2 h", "0.40", "…"):
        assert text in row, text
    assert rest and all(line[:60].strip() == "" for line in rest), "only the remedy goes on"


def test_why_says_what_the_lane_asks_and_each_label_s_offer(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    bound = {
        "label": "L1",
        "place": "",
        "attempt": 7,
        "curve": [[1, 100], [3, 250]],
        "shows": "proven",
        "grade": "shown",
        "reason": "shelf_lower",
    }
    bound |= {"holds": True, "age_s": 60, "audience": "all", "page": 0, "remedy": "wait"}
    target = {"curve": [[1, 120]], "kind": "base", "price_id": "b", "rev": 2, "source": "x", "received": None, "from": None, "until": None}
    lane_says = {"quantity": 1, "total_minor": 100, "guard": "shelf_lower", "label": "L1"}
    answer = {"item_id": "milk", "name": "Milk", "target": target, "lane": lane_says, "given_away_minor": 40, "given_away_ever_minor": 60}
    Daemon(**answer, exponent=2, bounds=[bound], member_target={"curve": [[1, 90]], "price_id": "m", "rev": 1}).run("price", "why", "milk")
    out = capsys.readouterr().out
    for text in (
        "1.20, base b rev 2",
        "1.00 (shelf_lower, label L1)",
        "0.90, m",
        "0.40 by what holds it now, 0.60 ever",
        "1.00, 3 for 2.50",
        "1 min",
    ):
        assert text in out, text


def test_an_item_without_a_price_has_words_too(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    Daemon(item_id="new", name="New", target=None, given_away_minor=0, given_away_ever_minor=0, exponent=2, bounds=[]).run(
        "price", "why", "new"
    )
    out = capsys.readouterr().out
    assert "no price" in out and "no label says anything about it" in out


def test_what_was_said_then_is_told_in_prices(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    label = {"label": "L1", "attempt": 7, "shown": "proven", "grade": "inferred", "since": "2026-01-09T12:00:00.000Z", "entry": 5}
    offers = [
        {"quantity": 1, "total_minor": 120, "audience": "all", "page": 0},
        {"quantity": 3, "total_minor": 300, "audience": "all", "page": 0},
    ]
    label["prices"] = [*offers, {"quantity": 1, "total_minor": 90, "audience": "member", "page": 1}]
    quote = {"what": "quote", "time": "2026-01-09T12:00:01.000Z", "lane": "1", "quantity": 1, "total_minor": 90, "target_total_minor": 120}
    quote |= {"guard": None, "ref": "q", "line": "1", "quote": "q", "member": True, "entry": 6}
    said = {"ids": ["label:L1"], "label": "L1", "reason": "covered"}
    decision = {"time": "2026-01-09T12:00:02.000Z", "what": "label.retired", "by": "ann", "entry": 7, "detail": said}
    lane_then = {"quantity": 1, "price_minor": 120, "guard": None, "held_by": None}
    target = {"curve": [[1, 120]], "kind": "base", "price_id": "b", "rev": 2, "since": "2026-01-09T11:00:00.000Z", "source": "x"}
    answer: dict[str, Any] = {
        "item": "milk",
        "time": "2026-01-09T12:00:03.000Z",
        "entry": 7,
        "target": target,
        "lane": lane_then,
        "exponent": 2,
    }
    answer |= {"member_lane": lane_then | {"price_minor": 90}, "labels": [label], "quotes_and_sales": [quote], "decisions": [decision]}
    cli_audit._show_then(answer | {"limits": ["nobody saw it"]})
    out = capsys.readouterr().out
    for text in (
        "of members",
        "0.90",
        "1.20, 3 for 3.00; 0.90 (members) (page 1)",
        "quote (member)",
        "reason=covered",
        "note: nobody saw it",
    ):
        assert text in out, text
    assert "ids=" not in out


def test_a_pipe_gets_plain_numbers(capsys: Output) -> None:
    Daemon(held=[HELD], items=1, cut=False, exponent=2).run("price", "held")
    head, row = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    told = dict(zip(head, row, strict=True))
    assert (told["target_minor"], told["age_s"], told["name"]) == ("120", "7200", HELD["name"])
    Daemon(held=[HELD], items=1, cut=False, exponent=2).run("price", "held", "--json")
    assert json.loads(capsys.readouterr().out)["held"] == [HELD]


def test_columns_for_people_are_all_told() -> None:
    assert set(cli_guard.HELD_WORDS) == cli_guard._held_words(HELD, 2).keys()
