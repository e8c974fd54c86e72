"""What `shelfd hq publish` makes of a file: messages that stores take whatever is in them, and nothing said where anything is wrong."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.entry import main
from edge.head_office import publish
from edge.head_office.db import log
from edge.head_office.db.seam import Database, open_database
from edge.head_office.history import drafts as history_drafts
from edge.head_office.publishing import BadFile, Draft, SnapshotDraft, from_catalogue, from_item_rows, from_json, from_price_rows
from edge.head_office.settings import HqPart
from protocols.hq import MESSAGE_MAX_BYTES, Signer, Stream, parse_down, public_key
from protocols.hq_messages import ItemBatch, PriceBatch, Refused, SnapshotChunk

SIGNER = Signer("k1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
AUTHOR = log.Author(SIGNER, "s" * 200)
KEYS = {"k1": public_key(SIGNER.public_key)}
EUR = HqPart(key="k1")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    log.prepare(opened, "9" * 32)
    for name in ("a", "b"):
        log.add_store(opened, name)
    yield opened
    opened.close()


def wordy(count: int, chars: int) -> str:
    """Items whose texts do not compress."""
    dice = random.Random(7)
    text = ["".join(dice.choices(string.ascii_letters, k=chars)) for _ in range(6 * count)]
    columns = "sku,name,price,brand,category,origin,attribute:a,attribute:b\n"
    return columns + "".join(f"i{n},{text[6 * n]},1.00,{','.join(text[6 * n + 1 : 6 * n + 6])}\n" for n in range(count))


def said(db: Database, stream: Stream) -> list[object]:
    """What a store makes of a stream."""
    raws = log.messages(db, "a", stream, 1, 10_000)
    assert all(len(raw) <= MESSAGE_MAX_BYTES for raw in raws)
    return [parse_down(f"dn/{stream}", raw, KEYS, "a").body for raw in raws]


# -- sizes


def test_items_with_long_texts_are_said_in_as_many_messages_as_they_need(db: Database) -> None:
    """One that is too large would be refused by the store, and with it everything that ever comes after it."""
    log.append(db, AUTHOR, "a", from_item_rows(wordy(600, 180), "EUR", 2, {}, whole=False))
    bodies = said(db, Stream.PRICE)
    assert not any(isinstance(body, Refused) for body in bodies)
    assert sum(len(body.items) for body in bodies if isinstance(body, ItemBatch)) == 600
    assert sum(len(body.rows) for body in bodies if isinstance(body, PriceBatch)) == 600


def test_a_catalogue_with_long_texts_is_cut_into_smaller_chunks(db: Database) -> None:
    log.append(db, AUTHOR, "a", from_item_rows(wordy(1_100, 180), "EUR", 2, {}, whole=True))
    chunks = [body for body in said(db, Stream.BULK) if isinstance(body, SnapshotChunk)]
    assert [item.sku for chunk in chunks for item in chunk.items] == [f"i{n}" for n in range(1_100)]
    assert [chunk.n for chunk in chunks] == list(range(len(chunks)))


def test_a_catalogue_with_many_prices_of_each_item_is_cut_too() -> None:
    rows = [
        {"sku": f"i{n}", "kind": "promo", "price_id": f"p{k}", "rev": 1, "amount_minor": 1, "currency": "EUR"}
        for n in range(500)
        for k in range(6)
    ]
    (whole,) = from_json(
        json.dumps({"type": "snapshot", "items": [{"sku": f"i{n}", "name": "N"} for n in range(500)], "rows": rows}).encode()
    )
    assert isinstance(whole, SnapshotDraft)
    assert [chunk.rows for chunk in whole.chunks] == [1_500, 1_500]


def test_a_message_that_is_too_large_is_a_bad_file() -> None:
    rows = [{"sku": f"i{n}", "name": "N" * 150, "brand": "B" * 150} for n in range(500)]
    with pytest.raises(BadFile, match=r"entry 0: .* a message has room for"):
        from_json(json.dumps({"type": "item.batch.v1", "data": {"items": rows}}).encode())


def test_long_bindings_are_told_in_pages_that_a_message_has_room_for(db: Database) -> None:
    place = dict.fromkeys(("aisle", "bay", "shelf", "slot"), "x" * 60)
    items = [f"{n}-" + "i" * 60 for n in range(8)]
    bodies = [
        json.dumps({"label": f"L{n}", "items": items, "template": "t", "binding_rev": 1, "place": place}).encode() for n in range(400)
    ]
    pages = history_drafts("1" * 32, bodies, [])
    assert sum(len(json.loads(page.data).get("bindings", ())) for page in pages) == 400
    log.append(db, AUTHOR, "a", pages)
    assert len(said(db, Stream.SYS)) == len(pages) > 2


def test_nothing_that_is_too_large_ever_gets_into_the_log(db: Database) -> None:
    with pytest.raises(ValueError, match=r"price\.release"):
        log.append(db, AUTHOR, "a", [Draft("price.release.v1", b'"' + b"x" * MESSAGE_MAX_BYTES + b'"')])
    assert log.ends_of(db, "a") == {}


# -- bad files


@pytest.mark.parametrize(
    "text, place",
    [
        ("sku,price\n1,2,99\n", "line 2: another number of cells"),  # a decimal comma is no price of 2
        ("sku,price,kind\n1,1.00\n", "line 2: another number of cells"),
        ("sku,price,price\n1,1.00,2.00\n", "line 1"),
        ('"sku"x,price\n1,1.00\n', "line 1"),
    ],
)
def test_a_price_file_with_other_cells_than_headings_is_refused(text: str, place: str) -> None:
    with pytest.raises(BadFile) as caught:
        from_price_rows(text, "EUR", 2, {})
    assert place in str(caught.value)


@pytest.mark.parametrize("text", [b'{"type": "\xff"}', b"[" * 100_000])
def test_a_json_file_that_is_no_text_is_a_bad_file(text: bytes) -> None:
    with pytest.raises(BadFile):
        from_json(text)


def test_an_item_that_is_there_twice_is_a_bad_catalogue() -> None:
    items = [{"sku": "1", "name": "N"}, {"sku": "2", "name": "N"}, {"sku": "1", "name": "M"}]
    with pytest.raises(BadFile, match="item 1 is there twice"):
        from_json(json.dumps({"type": "snapshot", "items": items}).encode())


def test_a_price_of_an_item_that_is_gone_does_not_stop_the_databases_own_catalogue(db: Database) -> None:
    """Else `shelfd hq restored` would end at this store, and no later one would hear of its catalogue."""
    log.append(db, AUTHOR, "a", from_item_rows("sku,name,price\n1,Milk,1.00\n", "EUR", 2, {}, whole=True))
    log.append(db, AUTHOR, "a", from_price_rows("sku,price\n1,1.10\ngone,2.00\n", "EUR", 2, log.price_revs(db, "a")))
    found = from_catalogue(*log.catalogue(db, "a"))
    assert list(found.prices) == [("1", "base")]


# -- who is told


def say(db: Database, stores: list[str], text: bytes) -> list[str]:
    return [each.store for each in publish.publish(db, AUTHOR, stores, text, csv=True, hq=EUR, whole=False)]


def test_nobody_is_told_where_one_of_the_stores_is_not_known(db: Database) -> None:
    with pytest.raises(log.UnknownStore, match="no store z"):
        say(db, ["a", "z"], b"sku,price\n1,1.00\n")
    assert log.position(db) == 0
    assert say(db, ["b", "a", "b"], b"sku,price\n1,1.00\n") == ["b", "a"]
    assert say(db, [], b"sku,price\n1,1.00\n") == ["a", "b"]


def test_a_bad_file_is_refused_where_there_is_no_store_yet(tmp_path: Path) -> None:
    bad = tmp_path / "bad.CSV"
    bad.write_text("sku,price\n1,x\n")
    assert main(["hq", "init", str(tmp_path / "hq"), "--broker", "127.0.0.1", "--plain"]) == 0
    assert main(["hq", "publish", str(bad), "--dir", str(tmp_path / "hq")]) == 2


def test_prices_that_two_people_say_at_once_both_count(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same version, stores would take the second for a repetition of the first."""
    made, others = publish.draft, [b"sku,price\n1,2.00\n"]

    def slow(*args: object, **more: object) -> list[Draft | SnapshotDraft]:
        found = made(*args, **more)  # type: ignore[arg-type]
        if args[1] == "a" and others:  # between reading and saying, somebody else says another price
            log.append(db, AUTHOR, "a", made(db, "a", others.pop(), csv=True, hq=EUR, whole=False))
        return found

    monkeypatch.setattr(publish, "draft", slow)
    say(db, ["a"], b"sku,price\n1,3.00\n")
    rows = [row for body in said(db, Stream.PRICE) if isinstance(body, PriceBatch) for row in body.rows]
    assert [(row.rev, row.curve[0][1]) for row in rows] == [(1, 200), (2, 300)]
