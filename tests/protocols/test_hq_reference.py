"""The examples of docs/reference/hq.md are real messages."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from protocols.hq import parse_down
from protocols.hq_enrol import parse_enrolment
from protocols.hq_events import Birth, StagedAck, parse_state, parse_sync, verify_up_batch
from protocols.hq_messages import TYPES, PriceBatch


def _examples(project_root: Path) -> dict[str, bytes]:
    text = (project_root / "docs/reference/hq.md").read_text("utf-8")
    return {words: body.encode() for words, body in re.findall(r"^```(?:json|text) (.+?)\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)}


def test_every_example_is_accepted_as_it_stands(project_root: Path) -> None:
    examples = _examples(project_root)
    assert set(examples) == {"enrolment", "down dn/price", "up sale", "ack", "state", "sync"}
    enrolment = parse_enrolment(examples["enrolment"])
    message = parse_down("dn/price", examples["down dn/price"], enrolment.keys, enrolment.store)
    assert isinstance(message.body, PriceBatch)
    batch = verify_up_batch("sale", examples["up sale"])
    state = parse_state(examples["state"])
    assert isinstance(state, Birth)
    assert state.up_hash == batch.events[-1].hash
    assert msgspec.json.decode(examples["ack"], type=StagedAck).id == message.id
    assert parse_sync(examples["sync"]).from_seq == state.cursors["price"].seq + 1


def test_every_type_is_in_the_table(project_root: Path) -> None:
    text = (project_root / "docs/reference/hq.md").read_text("utf-8")
    assert [name for name in TYPES if f"`{name}`" not in text] == []
