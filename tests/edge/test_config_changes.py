"""The `[changes]` table: without it prices rise whenever they are due."""

from __future__ import annotations

import re

import pytest

from edge.change_windows import ChangeRule, ChangeRules
from edge.config import ConfigError, parse
from edge.model import ItemId
from tests.edge.test_config import MINIMAL


def parsed(text: str) -> ChangeRules:
    return parse(MINIMAL + text, "shop.toml").changes


@pytest.mark.parametrize("text", ["", "[changes]\n", "[changes]\nraise = 'always'\n[[changes.category]]\nname = 'dairy'\n"])
def test_without_a_rule_nothing_is_said(text: str) -> None:
    assert not parsed(text).says_something


def test_everything_that_can_be_said() -> None:
    text = (
        "[changes]\nraise = 'closed'\nonce_per_day = true\nfrozen_items = ['4711', '4712']\n"
        "[[changes.category]]\nname = 'dairy'\nfrozen = true\n[[changes.category]]\nname = 'bread'\nraise = 'closed'\n"
    )
    by_category = {"dairy": ChangeRule(frozen=True), "bread": ChangeRule(raise_when_closed=True)}
    assert parsed(text) == ChangeRules(ChangeRule(True, True), by_category, frozenset({ItemId("4711"), ItemId("4712")}))


@pytest.mark.parametrize(
    "text, said",
    [
        ("raise = 'night'", 'changes.raise: found "night", expected "always" or "closed"'),
        ("once_per_day = 1", "changes.once_per_day: found 1"),
        ("frozen_items = '4711'", "changes.frozen_items: found"),
        ("frozen_items = [4711]", "changes.frozen_items: found"),
        ("frozen_items = ['']", "changes.frozen_items: found"),
        ("frozen = true", "changes.frozen: unknown key"),
        ("[[changes.category]]\nfrozen = true", "changes.category[1].name: missing"),
        ("[[changes.category]]\nname = 'a'\n[[changes.category]]\nname = 'a'", "changes.category[2].name: category a is there twice"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        parsed(f"[changes]\n{text}\n")
