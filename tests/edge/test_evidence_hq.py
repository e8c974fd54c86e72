"""The head of the audit chain at HQ: told in the birth, held per incarnation, and never allowed back."""

from __future__ import annotations

import asyncio

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.demo.hq_books import HqBooks
from edge.hq import HqSync
from edge.store import journal
from edge.store.evidence_check import Head
from protocols.hq import Signer
from protocols.hq_enrol import parse_enrolment
from protocols.hq_events import AuditHead, Birth, encode_state, parse_state
from tests.edge.evidence_day import ask, checked, day
from tests.edge.shop import Shop

ENROLMENT = b"""{"store": "demo-01", "partition": "28", "broker": {"host": "x", "port": 1883},
 "hq_keys": [{"kid": "k", "public_key": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}],
 "hq_incarnation": "0123456789abcdef0123456789abcdef"}"""


def birth(shop: Shop) -> Birth:
    """What the daemon tells now, through the wire's own coding."""
    sync = HqSync(shop.store, shop.clock, enrolled=asyncio.Event(), outbox_wake=asyncio.Event())
    found = parse_state(sync._birth(parse_enrolment(ENROLMENT), shop.store.state_summary()))
    assert isinstance(found, Birth)
    return found


def books() -> HqBooks:
    return HqBooks("demo-01", Signer("k", Ed25519PrivateKey.from_private_bytes(bytes(32))), "1" * 32)


async def test_what_hq_holds_of_a_birth_verifies_the_file(stocked: Shop) -> None:
    hq = books()
    await stocked.store.note_evidence_key("a2V5")
    hq.hold_audit_head(birth(stocked))
    await day(stocked)
    hq.hold_audit_head(birth(stocked))
    (incarnation, head), *others = hq.audit_heads.items()
    assert (others, hq.alarms, head.key) == ([], [], "a2V5")
    assert head.entry == ask(stocked.path, journal.audit_head).entry
    assert checked(stocked.path, Head(incarnation, head.entry, head.hash)).trouble == []


async def test_a_head_that_goes_back_or_changes_is_an_alarm_but_not_after_a_restore(stocked: Shop) -> None:
    now = birth(stocked)
    assert now.audit is not None
    for other in (AuditHead(now.audit.entry - 1, "a" * 64), AuditHead(now.audit.entry, "a" * 64)):
        hq = books()
        hq.hold_audit_head(now)
        hq.hold_audit_head(replaced(now, audit=other))
        assert len(hq.alarms) == 1
    hq = books()
    hq.hold_audit_head(now)
    hq.hold_audit_head(replaced(now, incarnation="9" * 32, audit=AuditHead(1, "a" * 64)))
    hq.hold_audit_head(replaced(now, audit=None))
    assert (hq.alarms, len(hq.audit_heads)) == ([], 2)


def replaced(found: Birth, **changes: object) -> Birth:

    return msgspec.structs.replace(found, **changes)


def test_a_birth_of_an_older_program_has_no_head() -> None:
    old = b"""{"store":"s","incarnation":"55555555555555555555555555555555","boot":"b","online":true,"version":"0","types":[],"cursors":{},
"snapshot":null,"up_seq":0,"up_hash":"%s","labels":{"total":0,"proven":0}}""" % (b"0" * 64)
    found = parse_state(old)
    assert isinstance(found, Birth)
    assert found.audit is None
    assert parse_state(encode_state(found)) == found
