"""`shelfd import`, `shelfd imports` and `shelfd token` against the control socket's own methods on a real store."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge import cli_import
from edge.cli import main
from edge.clock import entropy
from edge.control_import import UPLOADS_MAX, ImportControl
from edge.control_token import TokenControl
from edge.import_feed import Decimal, Feed, FeedKind, Mode
from edge.store import tokens
from edge.store.tokens import Scope
from protocols.jsonrpc import RpcError
from tests.edge.import_bench import desk_of
from tests.edge.shop import MILK, Shop, context
from tests.edge.test_cli import Daemon, Output, daemon, refused

__all__ = ["daemon"]  # a fixture of that module

CATALOGUE = b"sku,name,price\nmilk,Milk,1.00\n"
ERP = Feed("erp", FeedKind.ITEMS, Mode.FULL, columns={"sku": "ArtNr", "name": "Bez", "price": "VK"}, decimal=Decimal.COMMA)


class Tools:
    """The methods as the control socket calls them."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop = shop
        self.desk = desk_of(shop, ERP)
        control = ImportControl(shop.store, self.desk, folder)
        self.control = control
        self.methods = {**control.methods, **TokenControl(shop.store, entropy).methods}

    async def __call__(self, method: str, **params: object) -> Any:
        return await self.methods[method]("uid 7", params)

    async def refused(self, method: str, **params: object) -> str:
        with pytest.raises(RpcError) as error:
            await self(method, **params)
        return error.value.detail

    async def send(self, content: bytes, **params: object) -> Any:
        """As the command does it, in two pieces."""
        upload = (await self("import.open", **params))["upload"]
        for piece in (content[:9], content[9:]):
            await self("import.write", upload=upload, data_b64=base64.b64encode(piece).decode())
        return await self("import.run", upload=upload)


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[Tools]:
    shop = Shop(tmp_path, context_=context(prices_from_hq=False))
    shop.open()
    found = Tools(shop, tmp_path)
    yield found
    found.control.close()
    shop.close()


# -- over the control socket -----------------------------------------------------------------------------------------------


async def test_a_file_in_pieces_is_brought_as_its_feed_says(tools: Tools) -> None:
    answer = await tools.send("ArtNr;Bez;VK\nmilk;Käse;1,10\n".encode("cp1252"), feed="erp", source_name="a.csv")
    assert (answer["state"], answer["new"], answer["feed"]) == ("done", 1, "erp")
    assert (tools.shop.store.view.items[MILK].name, tools.shop.charge(MILK)) == ("Käse", 110)
    assert (await tools.send("ArtNr;Bez;VK\nmilk;Käse;1,10\n".encode("cp1252"), feed="erp"))["state"] == "same"
    report = await tools("imports.report", id=answer["import"])
    assert report == {"text": report["text"], "more": False}
    assert report["text"].splitlines()[-1] == "2,new,milk,,,price 1.10"
    assert [each["name"] for each in (await tools("imports.feeds"))["feeds"]] == ["erp"]


async def test_what_cannot_be_sent_is_refused_in_words(tools: Tools) -> None:
    assert "no feed nope" in await tools.refused("import.open", feed="nope")
    assert "brings items, not stock" in await tools.refused("import.open", feed="erp", kind="stock")
    assert "not a valid FeedKind" in await tools.refused("import.open", kind="nope")
    assert "begin again" in await tools.refused("import.run", upload="x")
    first = (await tools("import.open"))["upload"]
    for _ in range(UPLOADS_MAX):
        await tools("import.open")
    assert "begin again" in await tools.refused("import.run", upload=first)
    assert "no import x" in await tools.refused("imports.show", id="x")
    assert "no import waits under x" in await tools.refused("imports.approve", id="x", person="Ann")


async def test_a_held_file_is_listed_and_decided_by_a_named_person(tools: Tools) -> None:
    rows = "".join(f"i{n},N,1.00\n" for n in range(30))
    await tools("import", csv="sku,name,price\n" + rows, mode="full")
    held = await tools("import", csv="sku,name,price\ni1,N,1.00\n", mode="full", source_name="short.csv")
    assert (held["state"], held["removed"], held["persons_needed"]) == ("held", 29, 1)
    assert (await tools("imports.list"))["imports"][0]["file"] == "short.csv"
    assert (await tools("imports.approve", id=held["import"], person="Ann"))["state"] == "done"
    (said,) = tools.shop.rows("SELECT actor, detail FROM audit WHERE what = 'import.approved'")
    assert (said[0], json.loads(said[1])["import"]) == ("Ann (uid 7)", held["import"])


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(tools: Tools) -> None:
    text = (await tools("token.add", name="kiosk-1", scopes=["read"]))["token"]
    store = tools.shop.store
    token = store.read(lambda db: tokens.check(db, text))
    assert token is not None
    assert (token.name, token.scopes) == ("kiosk-1", frozenset({Scope.READ}))
    secret = text.split("_", 2)[2]
    tools.shop.close()
    kept = b"".join(path.read_bytes() for path in tools.shop.path.parent.iterdir() if path.is_file())
    assert secret.encode() not in kept
    tools.shop.open()
    store = tools.shop.store
    for wrong in (text[:-1] + ("A" if text[-1] != "A" else "B"), text.replace("shelfd_", "x_"), "", "shelfd_00000000_" + "A" * 43):
        assert store.read(lambda db, wrong=wrong: tokens.check(db, wrong)) is None  # type: ignore[misc]
    tools.methods = TokenControl(store, entropy).methods  # type: ignore[assignment]
    assert "there is a token kiosk-1" in await tools.refused("token.add", name="kiosk-1", scopes=["import"])
    await tools("token.revoke", name="kiosk-1")
    assert store.read(lambda db: tokens.check(db, text)) is None
    assert "no token kiosk-1" in await tools.refused("token.revoke", name="kiosk-1")
    other = (await tools("token.add", name="kiosk-1", scopes=["import", "read"]))["token"]
    assert other != text
    listed = (await tools("token.list"))["tokens"]
    assert [(each["name"], each["scopes"], each["revoked"] is None) for each in listed] == [
        ("kiosk-1", ["import", "read"], True),
        ("kiosk-1", ["read"], False),
    ]
    assert tools.shop.value("SELECT count(*) FROM audit WHERE what LIKE 'token.%'") == 3


@pytest.mark.parametrize("params", [{"name": "a b", "scopes": ["read"]}, {"name": "a", "scopes": ["all"]}, {"name": "a", "scopes": []}])
async def test_a_token_without_a_name_or_a_scope_is_refused(tools: Tools, params: dict[str, object]) -> None:
    assert await tools.refused("token.add", **params)
    assert tools.shop.value("SELECT count(*) FROM token") == 0


# -- the commands ----------------------------------------------------------------------------------------------------------

DONE = {
    "upload": "u1",
    "import": "i1",
    "state": "done",
    "problems": 0,
    "mistakes": [],
    "rows": 1,
    "reason": "",
    "text": "x\n",
    "more": False,
}


def test_import_sends_the_bytes_as_they_are(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_import, "PIECE_BYTES", 4)
    file, report = tmp_path / "prices.csv", tmp_path / "out.csv"
    file.write_bytes(b"sku\n\xe4\n")
    daemon.answer = DONE
    words = ["--feed", "erp", "--mode", "full", "--dry-run", "--report", str(report)]
    assert main(["--socket", str(daemon.path), "import", str(file), *words]) == 0
    assert daemon.calls == [
        ("import.open", {"source_name": "prices.csv", "dry_run": True, "feed": "erp", "mode": "full"}),
        ("import.write", {"upload": "u1", "data_b64": "c2t1Cg=="}),
        ("import.write", {"upload": "u1", "data_b64": "5Ao="}),
        ("import.run", {"upload": "u1"}),
        ("imports.report", {"id": "i1", "part": 0}),
    ]
    assert report.read_text() == "x\n"


def test_mistakes_are_printed_and_the_exit_code_is_1(daemon: Daemon, tmp_path: Path, capsys: Output) -> None:
    mistake = {"line": 3, "column": "VK", "found": "1.99", "expected": "an amount such as 1,99"}
    daemon.answer = DONE | {"state": "rejected", "problems": 2, "mistakes": [mistake]}
    file = tmp_path / "prices.csv"
    file.write_bytes(CATALOGUE)
    assert main(["--socket", str(daemon.path), "import", str(file)]) == 1
    out = capsys.readouterr().out
    assert "3\tVK\t1.99\tan amount such as 1,99" in out
    assert "and 1 more" in out


def test_a_held_file_says_what_to_do(daemon: Daemon, tmp_path: Path, capsys: Output) -> None:
    daemon.answer = DONE | {"state": "held", "persons_needed": 2, "reason": "changes 9 of 10 prices"}
    file = tmp_path / "prices.csv"
    file.write_bytes(CATALOGUE)
    assert main(["--socket", str(daemon.path), "label", "import", str(file)]) == 1
    assert daemon.calls[0][1]["kind"] == "labels"
    assert "waits for two persons: shelfd imports approve i1 --person NAME" in capsys.readouterr().out


def test_decisions_name_a_person(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = DONE
    assert main(["--socket", str(daemon.path), "imports", "approve", "i1", "--person", "Ann"]) == 0
    assert main(["--socket", str(daemon.path), "imports", "discard", "i1", "--person", "Bob"]) == 0
    assert daemon.calls == [("imports.approve", {"id": "i1", "person": "Ann"}), ("imports.discard", {"id": "i1", "person": "Bob"})]
    capsys.readouterr()
    assert refused(capsys, "--socket", str(daemon.path), "imports", "approve", "i1")[0] == 2


def test_the_tokens_text_is_alone_on_stdout(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = {"name": "k", "token": "shelfd_x_y"}
    assert main(["--socket", str(daemon.path), "token", "add", "k", "--scope", "read", "--scope", "import"]) == 0
    assert daemon.calls == [("token.add", {"name": "k", "scopes": ["import", "read"]})]
    out, err = capsys.readouterr()
    assert out == "shelfd_x_y\n"
    assert "once" in err
    assert main(["--socket", str(daemon.path), "token", "revoke", "k"]) == 0
    capsys.readouterr()
    assert refused(capsys, "--socket", str(daemon.path), "token", "add", "k", "--scope", "all")[0] == 2
