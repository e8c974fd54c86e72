"""The enrolment file."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from protocols.hq import partition_of
from protocols.hq_enrol import BadEnrolment, parse_enrolment

KEY = base64.b64encode(bytes(range(32))).decode()
GOOD: dict[str, Any] = {
    "store": "demo-01",
    "partition": partition_of("demo-01"),
    "broker": {"host": "mq.example", "port": 8883, "tls": True, "ca": "/etc/shelfd/ca.pem", "username": "demo-01", "password": "p"},
    "topic_prefix": "rs/1",
    "hq_keys": [{"kid": "k1", "public_key": KEY}],
    "hq_incarnation": "0" * 32,
}


def test_a_good_file_says_who_we_are_and_whom_we_believe() -> None:
    enrolment = parse_enrolment(json.dumps(GOOD).encode())
    assert enrolment.store == "demo-01"
    assert enrolment.topics.topic("dn/price") == f"rs/1/{partition_of('demo-01')}/demo-01/dn/price"
    assert list(enrolment.keys) == ["k1"]
    assert (enrolment.broker.host, enrolment.broker.tls) == ("mq.example", True)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"store": "a b"}, r"\$\.store"),
        ({"partition": "99"}, "partition"),
        ({"broker": {"host": "x", "port": 70_000}}, r"\$\.broker\.port"),
        ({"broker": {"host": "x", "port": 1, "ca": "/x"}}, "broker.ca: given without tls"),
        ({"hq_keys": []}, r"\$\.hq_keys"),
        ({"hq_keys": [{"kid": "k1", "public_key": "AAAA"}]}, r"hq_keys\[0\]\.public_key: .*32 bytes"),
        ({"hq_incarnation": "7"}, r"\$\.hq_incarnation"),
        ({"topic_prefix": "rs/+"}, "topic_prefix"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_file_names_the_key_and_what_was_expected(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadEnrolment, match=words):
        parse_enrolment(json.dumps(GOOD | change).encode())


def test_a_file_that_is_no_json_or_far_too_long_is_refused() -> None:
    with pytest.raises(BadEnrolment, match="truncated"):
        parse_enrolment(b"{")
    with pytest.raises(BadEnrolment, match="at most"):
        parse_enrolment(b" " * 100_000)
