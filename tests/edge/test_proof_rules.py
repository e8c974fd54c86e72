"""The proof rule of every family of labels: what was settled for it, and that nothing less proves a picture."""

from __future__ import annotations

import itertools

import pytest

from drivers.base import Grade
from edge.config import RadioKind
from edge.proof_rules import RULES, ProofRule, at_least, granted, is_proven

REFRESH_MS = 30_000
BY_WIRE = {kind: rule for kind, rule in RULES.items() if rule.signs}


def in_order(rule: ProofRule) -> list[tuple[str, int]]:
    """What proves it, each sign one refresh after the other."""
    return [(sign.name, number * REFRESH_MS) for number, sign in enumerate(rule.signs, start=1)]


def test_every_family_has_its_rule_and_grade() -> None:
    assert {kind: rule.grade for kind, rule in RULES.items()} == {
        "oepl": Grade.INFERRED,
        "opendisplay": Grade.SHOWN,
        "atc": Grade.INFERRED,
        "gicisky": Grade.INFERRED,
        "estation": Grade.INFERRED,
        "kkm": Grade.SHOWN,
        "infrared": Grade.PERSON,
        "paper": Grade.PERSON,
    }
    assert set(map(str, RadioKind)) <= RULES.keys(), "a radio that can be configured has a rule"


@pytest.mark.parametrize("kind", BY_WIRE)
def test_only_every_sign_in_order_and_in_time_proves_a_picture(kind: str) -> None:
    rule = RULES[kind]
    seen = in_order(rule)
    assert is_proven(rule, seen, REFRESH_MS)
    for gone in range(len(seen)):
        assert not is_proven(rule, seen[:gone] + seen[gone + 1 :], REFRESH_MS)
    for names in itertools.permutations(name for name, _ in seen):
        moved = [(name, at_ms) for name, (_, at_ms) in zip(names, seen, strict=True)]
        assert is_proven(rule, moved, REFRESH_MS) == (moved == seen)
    for number, sign in enumerate(rule.signs):
        if sign.after_refresh:
            early = [*seen[:number], (sign.name, seen[number - 1][1] + REFRESH_MS - 1)]
            assert not is_proven(rule, early, REFRESH_MS)
            assert is_proven(rule, [*early, (sign.name, seen[number - 1][1] + REFRESH_MS)], REFRESH_MS), "a later one counts"


@pytest.mark.parametrize("kind", BY_WIRE)
def test_what_breaks_the_chain_makes_all_before_it_void(kind: str) -> None:
    rule = RULES[kind]
    seen = in_order(rule)
    for broken in rule.broken_by:
        for at in range(1, len(seen)):
            assert not is_proven(rule, [*seen[:at], (broken, seen[at][1]), *seen[at:]], REFRESH_MS)
        late = [(name, at_ms + 10 * REFRESH_MS) for name, at_ms in seen]
        assert is_proven(rule, [*seen[:-1], (broken, seen[-1][1]), *late], REFRESH_MS), "from the beginning, it counts"
        assert is_proven(rule, [*seen, (broken, seen[-1][1])], REFRESH_MS), "what is proven was seen"


@pytest.mark.parametrize("kind", BY_WIRE)
def test_what_only_looks_like_proof_is_none(kind: str) -> None:
    rule = RULES[kind]
    for name in rule.only_stored | {"anything else"}:
        assert not is_proven(rule, [(name, number * REFRESH_MS) for number in range(9)], REFRESH_MS) or len(rule.signs) == 1
        assert name not in {sign.name for sign in rule.signs[-1:]}


def test_nothing_on_a_wire_proves_what_people_hang() -> None:
    for kind in ("infrared", "paper"):
        assert not is_proven(RULES[kind], [("advert", 10**9)], 0)
        assert granted([kind], Grade.SHOWN) is None


def test_no_driver_claims_more_than_its_family_can_see() -> None:
    assert granted(["oepl"], Grade.SHOWN) is Grade.INFERRED
    assert granted(["kkm"], Grade.INFERRED) is Grade.INFERRED
    assert granted(["kkm"], Grade.PERSON) is Grade.SHOWN
    assert granted(["kkm", "oepl"], Grade.SHOWN) is Grade.INFERRED
    assert granted(["oepl", "paper"], Grade.SHOWN) is None
    assert granted(["no such family"], Grade.INFERRED) is None
    assert granted([], Grade.PERSON) is None


def test_grades_are_ordered() -> None:
    assert [[at_least(one, other) for other in (Grade.INFERRED, Grade.SHOWN, Grade.PERSON)] for one in Grade] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
