"""`shelfd price` and what people say of labels: which call each command makes, and what it prints."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from edge import cli, cli_guard

Output = pytest.CaptureFixture[str]


class Daemon:
    """Answers every call with `answer` and remembers what it was asked."""

    def __init__(self, **answer: object) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    def __call__(
        self, context: typer.Context, method: str, params: Mapping[str, object], *, subject: str | None = None, timeout_s: float = 10.0
    ) -> dict[str, Any]:
        self.asked.append((method, params))
        return dict(self.answer)

    def run(self, *words: str) -> None:
        app = typer.Typer()
        labels = typer.Typer()
        cli_guard.add_label_commands(labels, self)
        app.add_typer(labels, name="label")
        app.add_typer(cli_guard.price_commands(self), name="price")
        app(args=list(words), standalone_mode=False)


@pytest.mark.parametrize(
    "words, method, params",
    [
        ("price why 4711", "price.why", {"item_id": "4711"}),
        ("price held --json", "price.held", {}),
        ("price waiting", "price.waiting", {}),
        ("price urgent 4711 --reason typo --person ann", "price.urgent", {"item_id": "4711", "reason": "typo", "person": "ann"}),
        ("label retire L1 --reason covered --person ann", "label.retire", {"label": "L1", "reason": "covered", "person": "ann"}),
        ("label retire L1 --undo --person ann", "label.restore", {"label": "L1", "person": "ann"}),
        ("label restore L1 --person ann", "label.restore", {"label": "L1", "person": "ann"}),
        ("label retired", "label.retired", {}),
        ("label confirm L1 --shows 1.29 --person ann", "label.confirm", {"label": "L1", "person": "ann", "shows": ["1.29"]}),
        (
            "label confirm L1 --shows milk=1 --shows tea=2 --person a",
            "label.confirm",
            {"label": "L1", "person": "a", "shows": ["milk=1", "tea=2"]},
        ),
        ("label confirm L1 --attempt 7 --person ann", "label.confirm", {"label": "L1", "person": "ann", "attempt": 7}),
    ],
)
def test_each_command_is_one_call(words: str, method: str, params: Mapping[str, object]) -> None:
    daemon = Daemon(dwell_s=0, attempt=7, cannot_show_any_more=[], labels=[], held=[], waiting=[], exponent=2)
    daemon.run(*words.split())
    assert daemon.asked == [(method, params)]


def test_a_person_is_by_default_who_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    daemon = Daemon(hang_up_in_s=0)
    daemon.run("label", "restore", "L1")
    assert daemon.asked[0][1]["person"] == "bob"


@pytest.mark.parametrize(
    "words, text",
    [
        (("label", "retire", "L1"), "--reason removed or --reason covered"),
        (("label", "retire", "L1", "--reason", "lost"), "Invalid value for '--reason'"),
        (("label", "confirm", "L1"), "say either --shows PRICE or --attempt N"),
        (("label", "confirm", "L1", "--shows", "1", "--attempt", "7"), "say either --shows PRICE or --attempt N"),
    ],
)
def test_half_a_sentence_is_wrong_usage(capsys: Output, words: tuple[str, ...], text: str) -> None:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert text in err


def test_why_prints_the_target_and_each_bound(capsys: Output) -> None:
    bounds = [{"label": "L1", "remedy": "wait", "holds": True}]
    Daemon(item_id="4711", target={"kind": "base", "rev": 3}, given_away_minor=40, bounds=bounds).run("price", "why", "4711")
    out = capsys.readouterr().out
    assert "target" in out and "given away minor  40" in out
    assert "L1\tyes\twait" in out


def test_held_prints_a_row_for_each_hold_or_says_that_there_is_none(capsys: Output) -> None:
    Daemon(held=[], items=0, cut=False).run("price", "held")
    assert capsys.readouterr().out == "nothing is held: every lane asks its target\n"
    Daemon(held=[{"item_id": "4711", "label": "L1"}], items=9, cut=True).run("price", "held")
    assert capsys.readouterr().out == "item_id\tlabel\n4711\tL1\n... and so on: 9 items in all\n"
    Daemon(held=[{"item_id": "4711"}], items=1, cut=False).run("price", "held", "--json")
    assert json.loads(capsys.readouterr().out)["held"] == [{"item_id": "4711"}]


def test_what_happened_is_said_in_a_line(capsys: Output) -> None:
    Daemon(dwell_s=7200).run("label", "retire", "L1", "--reason", "removed")
    Daemon(hang_up_in_s=540).run("label", "restore", "L1")
    Daemon(attempt=7, cannot_show_any_more=[3, 5]).run("label", "confirm", "L1", "--shows", "1")
    Daemon(attempt=None, cannot_show_any_more=[]).run("label", "confirm", "L1", "--shows", "1")
    assert capsys.readouterr().out.splitlines() == [
        "retired L1 as removed; what it showed holds prices for 2 h more",
        "L1 is in use again; hang it up in 540 s, not before: a till was told more than it shows",
        "L1: attempt 7 is proven; it cannot show any more, and no ticket may hang any more: 3, 5",
        "L1: nobody sent that; it counts from now on",
    ]


def test_a_ticket_is_written_under_its_attempts_number(capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Daemon(attempt=7, png_b64=base64.b64encode(b"png").decode()).run("label", "ticket", "a:1")
    assert (tmp_path / "a_1-7.png").read_bytes() == b"png"
    assert "shelfd label confirm a:1 --attempt 7" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["price", "why"], ["price", "held"], ["label", "retire"], ["label", "confirm"], ["label", "ticket"]])
def test_help_stays_in_short_lines(capsys: Output, words: list[str]) -> None:
    assert cli.main([*words, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
