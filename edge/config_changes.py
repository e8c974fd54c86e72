"""The `[changes]` table: when prices may rise in this store. Without it: whenever HQ says so."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from edge.change_windows import ChangeRule, ChangeRules
from edge.config_reader import Table
from edge.model import ItemId

_RULE_KEYS: Final = ("raise", "once_per_day")
FROZEN_ITEMS_MAX: Final = 10_000
CATEGORIES_MAX: Final = 200


class RaiseWhen(StrEnum):
    ALWAYS = "always"
    CLOSED = "closed"


def changes(top: Table) -> ChangeRules:
    """The table below `top`. Raises ConfigError."""
    table = top.table("changes", (*_RULE_KEYS, "frozen_items", "category"))
    by_category: dict[str, ChangeRule] = {}
    for each in table.tables("category", ("name", *_RULE_KEYS, "frozen"), count_max=CATEGORIES_MAX):
        name = each.text("name", "1 to 100 characters", pattern=r"[^\x00-\x1f]{1,100}")
        if name in by_category:
            raise each.error("name", f"category {name} is there twice")
        by_category[name] = _rule(each, frozen=each.boolean("frozen", default=False))
    return ChangeRules(_rule(table, frozen=False), by_category, _frozen_items(table))


def _frozen_items(table: Table) -> frozenset[ItemId]:
    values: Any = table.raw("frozen_items") if table.has("frozen_items") else []
    if (
        not isinstance(values, list)
        or len(values) > FROZEN_ITEMS_MAX
        or not all(isinstance(each, str) and 0 < len(each) <= 64 for each in values)
    ):
        raise table.bad("frozen_items", f'a list of at most {FROZEN_ITEMS_MAX} item numbers such as ["4711"]')
    return frozenset(map(ItemId, values))


def _rule(table: Table, *, frozen: bool) -> ChangeRule:
    raise_when = table.choice("raise", RaiseWhen, default=RaiseWhen.ALWAYS)
    return ChangeRule(raise_when is RaiseWhen.CLOSED, table.boolean("once_per_day", default=False), frozen)
