from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.oepl_wire import (
    BLOCK_BYTES,
    BLOCK_WIRE_BYTES,
    Ack,
    BlockRequest,
    CheckIn,
    Damage,
    DataVer,
    InfoField,
    LabelReport,
    Mac,
    Message,
    Nok,
    Noq,
    OfferExpired,
    Parser,
    PendingData,
    Restarted,
    ReturnData,
    TransferComplete,
    block_count,
    block_from_wire,
    block_to_wire,
    channel_setup,
    data_version,
    mac_from_text,
    printed,
)

MAC = mac_from_text("0000060504030201")
byte = st.integers(0, 255)
macs = st.binary(min_size=8, max_size=8).map(Mac)
versions = st.binary(min_size=8, max_size=8).map(DataVer)
reports = st.builds(
    LabelReport,
    lqi=byte,
    rssi_dbm=st.integers(-128, -1),
    temperature_c=st.integers(-128, 127),
    battery_mv=st.integers(0, 65535),
    hw_type=byte,
    wake_reason=byte,
    capabilities=byte,
    firmware=st.integers(0, 65535),
    channel=byte,
    custom_mode=byte,
)
messages = st.one_of(
    st.builds(CheckIn, macs, st.none() | reports),
    st.builds(BlockRequest, macs, versions, byte),
    st.builds(TransferComplete, macs),
    st.builds(OfferExpired, macs),
    st.builds(ReturnData, macs, st.binary(min_size=11, max_size=101)),
)
texts = st.sampled_from([b"", b"BUSY!\n\r", b"FORCED\n\r", b"IGNORED\n\r", b"Sending parts: XX.. ..\n\r", b"\n", b"ADR", b"RQ", b">>>"])


def parse(data: bytes) -> list[Message]:
    return Parser().feed(data)


def parse_slowly(data: bytes) -> list[Message]:
    parser = Parser()
    return [message for n in range(len(data)) for message in parser.feed(data[n : n + 1])]


@given(messages)
def test_parsing_undoes_serialising(message: CheckIn) -> None:
    assert parse(message.to_wire()) == [message]


@given(st.lists(st.tuples(texts, messages), max_size=5))
def test_debug_text_between_messages_changes_nothing_at_any_slicing(mixed: list[tuple[bytes, CheckIn]]) -> None:
    data = b"".join(text + message.to_wire() for text, message in mixed)
    assert parse(data) == parse_slowly(data) == [message for _, message in mixed]


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"ADR>", b"TRD>", b"MAC>", b"SCH>", b"XFC>", b"ACK>"]), max_size=12))
def test_junk_never_raises_and_slicing_changes_no_message(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    whole, slow = parse(data), parse_slowly(data)
    assert [m for m in whole if not isinstance(m, Damage)] == [m for m in slow if not isinstance(m, Damage)]
    parser = Parser()
    parser.feed(data)
    for _ in range(len(data)):
        parser.abandon()
    assert not parser.unfinished


@given(messages, st.data())
def test_a_changed_byte_is_never_believed_as_another_label(message: TransferComplete, data: st.DataObject) -> None:
    wire = bytearray(message.to_wire())
    place = data.draw(st.integers(4, len(wire) - 1))
    wire[place] ^= data.draw(st.integers(1, 255))
    assert message not in parse(bytes(wire))
    assert not [found for found in parse(bytes(wire)) if isinstance(found, CheckIn | TransferComplete | OfferExpired)]


@given(st.builds(CheckIn, macs, st.none() | reports), messages | st.just(None))
def test_a_lost_byte_of_a_check_in_is_noticed_and_costs_no_other_message(lost: CheckIn, following: TransferComplete | None) -> None:
    wire = lost.to_wire()
    behind = following.to_wire() if following is not None else b"ACK>"
    for place in range(len(wire)):
        found = parse(wire[:place] + wire[place + 1 :] + behind)
        assert any(isinstance(message, Damage) for message in found)
        assert (following or Ack()) in found
        for message in found:
            assert not isinstance(message, CheckIn) or message in (following, lost)


def test_worked_bytes_of_a_first_check_in() -> None:
    wire = bytes.fromhex("4144523e 95 0102030405060000 c0 c8 c9 15 ab0b 33 fc 00 2a00 0b 00 0000000000000000")
    report = LabelReport(200, -55, 21, 2987, 0x33, 0xFC, 0, 0x2A, 11)
    assert parse(wire) == [CheckIn(MAC, report)]
    assert CheckIn(MAC, report).to_wire() == wire


def test_worked_bytes_of_a_short_check_in() -> None:
    wire = bytes.fromhex("4144523e 15 0102030405060000") + bytes(21)
    assert parse(wire) == [CheckIn(MAC, None)]
    assert CheckIn(MAC, None).to_wire() == wire


def test_worked_bytes_of_an_announcement() -> None:
    wire = bytes.fromhex("2a 0102030405060708 090a0b0c af 04 0000 1400 0102030405060000")
    pending = PendingData.from_wire(wire)
    assert pending == PendingData(MAC, DataVer(bytes(range(1, 9))), 0x0C0B0A09, 0xAF, 4, 0, 20)
    assert pending.to_wire() == wire


def test_worked_bytes_of_a_block_request() -> None:
    wire = bytes.fromhex("5251423e 1a b29a8e00c69dfccc 00 0102030405060000")
    assert parse(wire) == [BlockRequest(MAC, DataVer(bytes.fromhex("b29a8e00c69dfccc")), 0)]


def test_worked_bytes_of_the_channel_setup() -> None:
    assert channel_setup(11, 10, None).hex() == "150b0a"
    assert channel_setup(11, 10, 0).hex() == "150b0a00"


def test_worked_bytes_of_a_settings_block() -> None:
    data = bytes.fromhex("0100000001010100009209280000")
    wire = block_to_wire(data)
    assert wire[:18].hex() == "a4aa6daaabaaaaaaabababaaaa38a382aaaa"
    assert wire[18:BLOCK_WIRE_BYTES] == b"\x55" * (BLOCK_WIRE_BYTES - 18)
    assert wire[BLOCK_WIRE_BYTES:] == b"\xf5" * 32


@given(st.binary(min_size=1, max_size=BLOCK_BYTES))
def test_a_block_survives_the_wire_and_a_changed_byte_does_not(data: bytes) -> None:
    wire = block_to_wire(data)[:BLOCK_WIRE_BYTES]
    assert block_from_wire(wire) == data
    assert block_from_wire(bytes([wire[0], wire[1], wire[2], wire[3], wire[4] ^ 1]) + wire[5:]) is None


@given(st.binary(min_size=1, max_size=40))
def test_a_block_of_noise_is_refused_without_raising(noise: bytes) -> None:
    wire = (noise * BLOCK_WIRE_BYTES)[:BLOCK_WIRE_BYTES]
    found = block_from_wire(wire)
    assert found is None or block_to_wire(found)[: 4 + len(found)] == wire[: 4 + len(found)]


def test_replies_and_info_fields_need_no_separators_and_tolerate_newlines() -> None:
    fields = [InfoField("TYP", 0xC6), InfoField("VER", 0x1F), InfoField("MAC", 0x0000665544332211), InfoField("SCH", 255)]
    for between in (b"", b"\n", b"\n\r"):
        wire = between.join([b"ACK>", b"TYP>C6", b"VER>001F", b"MAC>1122334455660000", b"SCH>255", b"NOK>", b"NOQ>", b"RES>"])
        assert parse(wire) == parse_slowly(wire) == [Ack(), *fields, Nok(), Noq(), Restarted()]


def test_return_data_longer_than_any_real_one_is_junk() -> None:
    body = MAC + bytes([102]) + bytes(102)
    assert not [m for m in parse(b"TRD>" + bytes([sum(body) & 255]) + body + b"ACK>") if isinstance(m, ReturnData)]
    assert Ack() in parse(b"TRD>" + bytes([sum(body) & 255]) + body + b"ACK>")


def test_an_info_field_of_letters_that_are_no_digits_is_junk() -> None:
    assert parse(b"VER>00ZZACK>") == [Damage(4), Ack()]


def test_macs_are_printed_reversed() -> None:
    assert printed(MAC) == "0000060504030201"
    with pytest.raises(ValueError):
        mac_from_text("00:00:06")


def test_block_count_and_version() -> None:
    assert [block_count(size) for size in (1, 4096, 4097, 16128)] == [1, 1, 2, 4]
    assert data_version(b"").hex() == "d41d8cd98f00b204"
