"""What proves a picture, for each family of labels, and how sure that is. Pure data and one walk over it.

A driver reports `Proven` after its own rule; this table is what the guard grants it: never a better grade than the family can give, and
nothing to a family that is not in it. A family whose driver is yet to be written is declared all the same, so that its rule is there first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from drivers.base import Grade
from edge.model import PAPER


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing to be seen of an attempt. `after_refresh`: no sooner than the panel's longest refresh after the sign before it."""

    name: str
    after_refresh: bool = False


@dataclass(frozen=True, slots=True)
class ProofRule:
    """`signs` are seen in this order, each of this very attempt; what is in `broken_by` between them makes all before it void.

    `only_stored`: signs that look like proof and are none. No signs: nothing on any wire proves it, a person has to look.
    """

    grade: Grade
    signs: tuple[Sign, ...]
    broken_by: frozenset[str] = frozenset()
    only_stored: frozenset[str] = frozenset()


_LINK_LOST: Final = frozenset({"link lost"})

RULES: Final[Mapping[str, ProofRule]] = {
    # drivers/oepl_evidence.py says it in full: slot, firmware, blocks, waking
    "oepl": ProofRule(
        Grade.INFERRED,
        (Sign("offer taken"), Sign("every block served"), Sign("transfer complete"), Sign("healthy check-in", after_refresh=True)),
        broken_by=frozenset({"module restarted", "port lost", "display lost"}),
        only_stored=frozenset({"transfer complete"}),
    ),
    # `00 73` is two bytes; after `00 74` both the old and the new picture may be there
    "opendisplay": ProofRule(
        Grade.SHOWN,
        (Sign("end of picture taken"), Sign("refresh done")),
        broken_by=frozenset({"link lost", "refresh timed out"}),
    ),
    "atc": ProofRule(
        Grade.INFERRED,
        (Sign("picture stored"), Sign("refresh commanded"), Sign("advert", after_refresh=True)),
        broken_by=frozenset({"display lost"}),
        only_stored=frozenset({"picture stored", "block refused"}),
    ),
    "gicisky": ProofRule(
        Grade.INFERRED,
        (Sign("last block taken"), Sign("we disconnected"), Sign("advert", after_refresh=True)),
        broken_by=frozenset({"display lost"}),
        only_stored=frozenset({"asked beyond the end"}),
    ),
    # pattern 1 is stored; a report without our token counts only where this incarnation issued it for this payload
    "estation": ProofRule(
        Grade.INFERRED,
        (Sign("task of our token taken"), Sign("success, pattern 0 or 2")),
        broken_by=frozenset({"task replaced"}),
        only_stored=frozenset({"success, pattern 1", "success of another token"}),
    ),
    "kkm": ProofRule(Grade.SHOWN, (Sign("advert with this attempt's picture id"),), only_stored=frozenset({"picture stored"})),
    "infrared": ProofRule(Grade.PERSON, ()),
    PAPER: ProofRule(Grade.PERSON, ()),
}

_FROM_WEAKEST: Final = (Grade.INFERRED, Grade.SHOWN, Grade.PERSON)


def at_least(grade: Grade, other: Grade) -> bool:
    """Whether a grade is as sure as another, or surer."""
    return _FROM_WEAKEST.index(grade) >= _FROM_WEAKEST.index(other)


def is_proven(rule: ProofRule, seen: Iterable[tuple[str, int]], refresh_ms: int) -> bool:
    """Whether what was seen of one attempt, as (sign, milliseconds) in order, proves it."""
    reached, last_ms = 0, 0
    for name, at_ms in seen:
        if reached == len(rule.signs):
            break
        sign = rule.signs[reached]
        if name in rule.broken_by:
            reached = 0
        elif name == sign.name and not (sign.after_refresh and at_ms - last_ms < refresh_ms):
            reached, last_ms = reached + 1, at_ms
    return bool(rule.signs) and reached == len(rule.signs)


def granted(kinds: Iterable[str], grade: Grade) -> Grade | None:
    """The grade that counts for proof from drivers of these kinds: the weakest that they can all give; None where one can give none."""
    rules = [RULES.get(kind) for kind in kinds]
    if not rules or any(rule is None or not rule.signs for rule in rules):
        return None
    return min((grade, *(rule.grade for rule in rules if rule is not None)), key=_FROM_WEAKEST.index)
