"""The audit calls over a real control socket, as a person asks them."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import importlib.util
import json
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cryptography.exceptions import InvalidSignature

from edge import cli
from edge.control_audit import AuditControl
from edge.evidence_key import BadKey, EvidenceKey, load_or_make
from edge.model import Curve, Offer
from edge.renderer import RenderFailed
from edge.rpc import ConnectionLimiter, RpcHooks, RpcServer
from edge.store import journal, people
from edge.store.people import Retire, Who
from edge.store.shelf import NewAttempt
from edge.store.store import ATTEMPT_NUMBER_MODULUS
from protocols.jsonrpc import Request
from tests.edge.evidence_day import ask, day, sell, tamper
from tests.edge.shop import BREAD, HOUR_MS, L1, L2, MILK, R1, Entropy, Shop, price

BERLIN = ZoneInfo("Europe/Berlin")
Output = pytest.CaptureFixture[str]


class Drawn:
    """A renderer that gives back the picture that was stored, or another one, or none."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.differently = False
        self.fails = False

    async def draw_again(self, fields: str, attempt_number: int, scale: int) -> tuple[str, bytes]:
        self.numbers.append(attempt_number)
        if self.fails:
            raise RenderFailed("planted")
        return ("other" if self.differently else json.loads(fields).get("picture", "none")), b"png"


class Office:
    """The shop's audit calls on a socket, and what the command line does with them."""

    def __init__(self, shop: Shop, folder: Path, key: EvidenceKey | None) -> None:
        self.shop = shop
        self.folder = folder
        self.renderer = Drawn()
        renderer: Any = self.renderer
        self.control = AuditControl(shop.store, shop.desk, renderer, shop.clock, BERLIN, "demo-01", key, Entropy("office"))
        self.methods = frozenset(self.control.methods)
        self.path = folder / "control.sock"

    def call(self, request: Request) -> object:
        return self.control.methods[request.method]("uid 0", request.params)

    def closed(self) -> None:
        """Nothing is kept for a connection."""

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        answer = await self.control.methods[method]("uid 0", params)
        assert isinstance(answer, dict)
        return answer

    async def type(self, *words: str) -> int:
        """`shelfd audit ...`, in a thread: it waits for answers that this loop gives."""
        return await asyncio.to_thread(cli.main, ["--socket", str(self.path), "audit", *words])


@pytest.fixture
async def office(stocked: Shop, tmp_path: Path) -> AsyncIterator[Office]:
    found = Office(stocked, tmp_path, load_or_make(tmp_path))
    server = RpcServer(
        "control",
        found.path,
        lambda peer: found,
        limiter=ConnectionLimiter(),
        hooks=RpcHooks(lambda error: pytest.fail(str(error))),
        clock=time.perf_counter,
    )
    await server.start()
    yield found
    await server.close()


def local(at_ms: int) -> str:
    """An instant as a person of the store writes it, with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(BERLIN).replace(tzinfo=None).isoformat(timespec="milliseconds")


# -- at --------------------------------------------------------------------------------------------------------------------


async def test_the_answer_names_target_lane_labels_sales_and_who_decided(office: Office, capsys: Output) -> None:
    at = await day(office.shop)
    assert await office.type("at", "--item", "milk", "--time", local(at["half"]), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["target"]["curve"], told["target"]["kind"], told["target"]["rev"]) == ([[1, 120]], "base", 2)
    lane = {"quantity": 1, "price_minor": 100, "target_minor": 120, "guard": "shelf_lower", "at_most_minor": 100}
    assert {key: told["lane"][key] for key in lane} == lane
    assert told["lane"]["held_by"].startswith(f"label {L2}")
    assert [(each["label"], each["shown"], each["grade"], each["prices"][0]["total_minor"]) for each in told["labels"]] == [
        (L1, "proven", "inferred", 120),
        (L2, "proven", "inferred", 100),
    ]
    assert [each["what"] for each in told["quotes_and_sales"]] == ["quote", "sale"]
    assert told["trouble"] == []
    assert told["decisions"][0]["detail"]["label"] in (L1, L2)


async def test_the_table_says_it_in_words(office: Office, capsys: Output) -> None:
    at = await day(office.shop)
    assert await office.type("at", "--item", "4006381333931", "--time", local(at["half"])) == 0
    out = capsys.readouterr().out
    assert "item" in out
    assert "price minor    100" in out.replace("  price minor", "price minor")
    assert "nobody saw the panel" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--item", "nothing", "--time", "2026-01-09T14:00"), "no item nothing"),
        (("--item", "milk", "--time", "yesterday"), "found 'yesterday', expected such as"),
        (("--item", "milk", "--time", "2999-01-01"), "has not come yet"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_one_line(office: Office, capsys: Output, words: tuple[str, ...], told: str) -> None:
    assert await office.type("at", *words) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err


async def test_local_time_is_the_store_s(office: Office) -> None:
    at = await day(office.shop)
    utc = (await office.ask("audit.at", item="milk", time=journal.rfc3339(at["half"]), pictures=False))["time"]
    assert (await office.ask("audit.at", item="milk", time=local(at["half"]), pictures=False))["time"] == utc == journal.rfc3339(at["half"])


async def test_a_picture_is_drawn_again_with_its_own_number_and_saved(office: Office, capsys: Output) -> None:
    shop = office.shop
    attempt = await drawn_attempt(shop, L1, 100)
    folder = office.folder / "pictures"
    assert await office.type("at", "--item", "milk", "--time", local(shop.clock.wall), "--pictures", str(folder), "--json") == 0
    out = json.loads(capsys.readouterr().out)
    assert [each["picture"] for each in out["labels"]] == ["as sent"]
    assert "png_b64" not in out["labels"][0]
    assert [file.name for file in folder.iterdir()] == [f"{L1}-{attempt}.png"]
    assert office.renderer.numbers == [shop.store.attempt_number(attempt)]


async def test_the_number_in_a_picture_is_that_of_its_incarnation(office: Office) -> None:
    shop = office.shop
    attempt = await drawn_attempt(shop, L1, 100)
    number = shop.store.attempt_number(attempt)
    at_ms = shop.clock.wall
    shop.close()
    tamper(shop.path, "DELETE FROM meta WHERE key = 'incarnation'")
    shop.clock.pass_ms(HOUR_MS)
    shop.open()
    restored = Office(shop, office.folder, None)
    assert shop.store.attempt_number(attempt) != number
    told = await restored.ask("audit.at", item="milk", time=journal.rfc3339(at_ms))
    assert restored.renderer.numbers == [number % ATTEMPT_NUMBER_MODULUS]
    assert told["labels"][0]["picture"] == "as sent"


async def test_a_picture_that_this_version_draws_differently_says_so(office: Office) -> None:
    await drawn_attempt(office.shop, L1, 100)
    office.renderer.differently = True
    told = await office.ask("audit.at", item="milk", time=journal.rfc3339(office.shop.clock.wall))
    assert told["labels"][0]["picture"] == "this version of the renderer draws it differently: other"
    assert "png_b64" not in told["labels"][0]
    office.renderer.fails = True
    told = await office.ask("audit.at", item="milk", time=journal.rfc3339(office.shop.clock.wall))
    assert told["labels"][0]["picture"] == "cannot be drawn by this version: planted"


async def test_a_changed_picture_is_trouble_and_exit_code_one(office: Office, capsys: Output) -> None:
    shop = office.shop
    await drawn_attempt(shop, L1, 100)
    tamper(shop.path, "UPDATE attempt SET fields = '{\"picture\":\"forged\"}', picture_hash = 'forged' WHERE kind = 'picture'")
    assert await office.type("at", "--item", "milk", "--time", local(shop.clock.wall), "--json") == 1
    out, err = capsys.readouterr()
    assert "attempt.sent" in err
    assert json.loads(out)["trouble"]


async def drawn_attempt(shop: Shop, label: str, amount: int) -> int:
    """A proven picture of milk whose stored fields name the picture that they draw."""
    await shop.heard(label)
    await shop.bind(label, MILK)
    attempt_id = await shop.store.new_attempt_id()
    fields = json.dumps({"picture": f"picture {attempt_id}"})
    offers = (Offer(MILK, Curve.plain(amount)),)
    await shop.store.begin_attempt(NewAttempt(attempt_id, label, "hash", f"picture {attempt_id}", "md5", fields, offers, R1, HOUR_MS))
    await shop.store.accept_offer(label, R1, attempt_id)
    assert await shop.prove(label, attempt_id)
    return attempt_id


# -- verify ----------------------------------------------------------------------------------------------------------------


async def test_verify_says_what_it_checked_and_compares_with_hq(office: Office, capsys: Output) -> None:
    await day(office.shop)
    head = ask(office.shop.path, journal.audit_head)
    incarnation = office.shop.store.outbox_state().incarnation
    assert (
        await office.type("verify", "--head", f"{head.entry}:{head.hash}", "--head", f"{incarnation}:{head.entry}:{head.hash}", "--json")
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["entries"], told["hash"], told["trouble"]) == (head.entry, head.hash, [])
    assert await office.type("verify", "--head", f"{head.entry}:{'0' * 64}") == 1
    assert "is not the one that HQ holds" in capsys.readouterr().err
    assert await office.type("verify", "--head", "nonsense") == 1
    assert "expected ENTRY:HASH" in capsys.readouterr().err


async def test_verify_names_the_first_bad_entry(office: Office, capsys: Output) -> None:
    await day(office.shop)
    tamper(office.shop.path, "UPDATE audit SET detail = '{}' WHERE entry_id = 7")
    assert await office.type("verify") == 1
    out, err = capsys.readouterr()
    assert "audit entry 7 is not chained to entry 6" in err
    assert "broken at   7" in out


# -- bundles ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """docs/reference/verify_bundle.py as somebody else would use it: it knows nothing of this project."""
    path = Path(__file__).parents[2] / "docs" / "reference" / "verify_bundle.py"
    assert len(path.read_text("utf-8").splitlines()) <= 60
    spec = importlib.util.spec_from_file_location("verify_bundle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def exported(office: Office, from_ms: int, to_ms: int, name: str = "bundle.jsonl") -> Path:
    file = office.folder / name
    assert await office.type("export", str(file), "--from", local(from_ms), "--to", local(to_ms)) == 0
    return file


async def test_a_bundle_of_any_stretch_holds_without_us(office: Office, script: ModuleType) -> None:
    at = await day(office.shop)
    head = ask(office.shop.path, journal.audit_head)
    for number, (first, last) in enumerate((("shown", "end"), ("half", "half"), ("raised", "all"))):
        content = (await exported(office, at[first], at[last], f"{number}")).read_bytes()
        manifest = script.verify(content)
        assert (manifest["store"], manifest["changed"]) == ("demo-01", [])
        assert manifest["incarnation"] == office.shop.store.outbox_state().incarnation
        assert manifest["head"] == {"entry": head.entry, "hash": head.hash}
        times = [json.loads(line)["wall_ms"] for line in content.splitlines() if line.startswith(b'{"entry"')]
        assert len(times) == manifest["last"] - manifest["first"] + 1
        assert all(at[first] <= wall_ms <= at[last] for wall_ms in times)


async def test_a_bundle_says_in_its_texts_what_was_sold_and_promised(office: Office) -> None:
    at = await day(office.shop)
    content = (await exported(office, at["shown"] - 1, at["end"])).read_text("utf-8")
    texts = [json.loads(line)["text"] for line in content.splitlines() if line.startswith('{"text"')]
    assert sum('"s2","lane-1"' in text for text in texts) == 1
    assert all(hashlib.sha256(text.encode()).hexdigest() in content for text in texts)


async def test_every_change_of_one_byte_is_found(office: Office, script: ModuleType) -> None:
    at = await day(office.shop)
    content = (await exported(office, at["half"], at["half"] + HOUR_MS // 2)).read_bytes()
    script.verify(content)
    for place in range(len(content)):
        for change in (1, 32) if place % 7 == 0 else (32,):
            forged = bytearray(content)
            forged[place] ^= change
            with pytest.raises((ValueError, KeyError, TypeError, InvalidSignature)):
                script.verify(bytes(forged))
    for cut in (1, 2, 100, len(content) // 2):
        with pytest.raises((ValueError, KeyError, TypeError, InvalidSignature)):
            script.verify(content[:-cut])
    for more in (b"\n", b"x", b"{}\n"):
        with pytest.raises((ValueError, KeyError, TypeError, InvalidSignature)):
            script.verify(content + more)


async def test_lines_left_out_or_exchanged_are_found(office: Office, script: ModuleType) -> None:
    at = await day(office.shop)
    *lines, manifest, signature = (await exported(office, at["shown"], at["end"])).read_bytes().splitlines(keepends=True)
    for broken in (lines[1:], lines[:-1], lines[:3] + lines[4:], [lines[1], lines[0], *lines[2:]], lines + lines[-1:]):
        with pytest.raises(ValueError):
            script.verify(b"".join([*broken, manifest, signature]))


async def test_a_bundle_signed_by_another_key_or_of_another_chain_is_found_by_what_hq_holds(office: Office, script: ModuleType) -> None:
    at = await day(office.shop)
    shop = office.shop
    content = (await exported(office, at["half"], at["end"])).read_bytes()
    manifest = script.verify(content)
    number, wanted = shop.rows("SELECT entry_id, hash FROM audit WHERE entry_id = ?", manifest["last"])[0]
    script.verify(content, load_or_make(office.folder).public, f"{number}:{wanted}")
    with pytest.raises(ValueError, match="another key"):
        script.verify(content, "A" * 43 + "=")
    with pytest.raises(ValueError, match="is not the one that head office holds"):
        script.verify(content, None, f"{number}:{'0' * 64}")
    with pytest.raises(ValueError, match="or not in this bundle"):
        script.verify(content, None, f"1:{wanted}")


async def test_rows_that_were_changed_have_no_text_and_are_named(office: Office, script: ModuleType, capsys: Output) -> None:
    at = await day(office.shop)
    tamper(office.shop.path, "UPDATE sale_line SET total_minor = 1 WHERE sale_id = 's2'")
    file = office.folder / "changed"
    assert await office.type("export", str(file), "--from", local(at["shown"]), "--to", local(at["end"])) == 1
    (entry,) = office.shop.value("SELECT group_concat(entry_id) FROM audit WHERE what = 'sale' AND detail LIKE '%\"s2\"%'").split(",")
    assert f"audit entry {entry} does not hold" in capsys.readouterr().err
    assert script.verify(file.read_bytes())["changed"] == [int(entry)]


async def test_the_script_runs_as_documented(office: Office) -> None:
    at = await day(office.shop)
    file = await exported(office, at["half"], at["end"])
    path = Path(__file__).parents[2] / "docs" / "reference" / "verify_bundle.py"
    run = [sys.executable, "-I", str(path), str(file)]
    good = await asyncio.to_thread(subprocess.run, [*run, load_or_make(office.folder).public], capture_output=True, text=True)
    assert (good.returncode, good.stdout.startswith("holds: store demo-01, entries ")) == (0, True)
    file.write_bytes(file.read_bytes().replace(b"lane-1", b"lane-2", 1))
    bad = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True)
    assert (bad.returncode, bad.stderr) == (1, "DOES NOT HOLD: a line was changed\n")


async def test_a_bundle_is_read_in_pages_and_sealed_only_when_whole(
    office: Office, monkeypatch: pytest.MonkeyPatch, script: ModuleType
) -> None:
    monkeypatch.setattr("edge.control_audit.PAGE_ENTRIES", 4)
    at = await day(office.shop)
    begun = await office.ask("audit.export", **{"from": local(at["unknown"]), "to": local(at["end"])})
    lines: list[str] = []
    pages = 0
    done = False
    while not done:
        page = await office.ask("audit.export.page", export=begun["export"])
        lines, done, pages = lines + page["lines"], page["done"], pages + 1
        if not done:
            with pytest.raises(Exception, match="more pages"):
                await office.ask("audit.export.seal", export=begun["export"])
    assert pages > 5
    sealed = await office.ask("audit.export.seal", export=begun["export"])
    script.verify("".join(f"{line}\n" for line in [*lines, sealed["manifest"], sealed["signature"]]).encode())
    with pytest.raises(Exception, match="begin again"):
        await office.ask("audit.export.seal", export=begun["export"])


async def test_a_time_without_entries_and_a_file_that_exists_are_refused(office: Office, capsys: Output) -> None:
    at = await day(office.shop)
    file = office.folder / "there"
    assert await office.type("export", str(file), "--from", "2020-01-01", "--to", "2020-02-01") == 1
    assert "nothing was noted" in capsys.readouterr().err
    file.write_text("x")
    assert await office.type("export", str(file), "--from", local(at["half"]), "--to", local(at["end"])) == 2
    assert file.read_text() == "x"


async def test_without_a_key_nothing_is_signed(stocked: Shop, tmp_path: Path) -> None:
    at = await day(stocked)
    office = Office(stocked, tmp_path, None)
    begun = await office.ask("audit.export", **{"from": local(at["half"]), "to": local(at["half"])})
    while not (await office.ask("audit.export.page", export=begun["export"]))["done"]:
        pass
    with pytest.raises(Exception, match="no key to sign with"):
        await office.ask("audit.export.seal", export=begun["export"])


# -- the key ---------------------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    first = load_or_make(tmp_path)
    assert load_or_make(tmp_path).public == first.public
    assert [file.name for file in tmp_path.iterdir()] == ["evidence.key"]
    assert stat.S_IMODE((tmp_path / "evidence.key").stat().st_mode) == 0o600


def test_a_half_written_key_of_a_crash_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "evidence.part").write_bytes(b"-----BEGIN")
    assert load_or_make(tmp_path).public


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_not_replaced_in_silence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "evidence.key").write_bytes(content)
    with pytest.raises(BadKey):
        load_or_make(tmp_path)
    assert (tmp_path / "evidence.key").read_bytes() == content


# -- accuracy --------------------------------------------------------------------------------------------------------------


async def test_accuracy_compares_every_label_with_the_lane(office: Office, capsys: Output) -> None:
    shop = office.shop
    await day(shop)
    assert await office.type("accuracy", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["labels"], told["all"]["equal"], told["all"]["over"], told["all"]["right_percent"]) == (2, 2, 0, 100.0)
    await shop.prices(price("milk", 110, rev=3), price("bread", 180, rev=3))
    told = await office.ask("audit.accuracy")
    assert (told["all"]["under"], told["all"]["right_percent"], told["all"]["passes"]) == (2, 0.0, False)
    assert [(each["item"], each["label_minor"], each["lane_minor"], each["verdict"]) for each in told["not_equal"]] == [
        (MILK, 120, 110, "under"),
        (BREAD, 190, 180, "under"),
    ]
    await shop.attempt(L1, [(MILK, 110)])
    assert (await office.ask("audit.accuracy"))["all"]["unknown"] == 1


async def test_an_overcharge_is_exit_code_one(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await day(office.shop)
    monkeypatch.setattr(office.control, "charge", lambda item_id, quantity, audience: 500)
    assert (await office.ask("audit.accuracy"))["all"]["over_to_under"] == "2:0"
    assert await office.type("accuracy") == 1


async def test_the_sample_goes_to_a_spreadsheet_and_comes_again_with_its_seed(office: Office, capsys: Output) -> None:
    await day(office.shop)
    file = office.folder / "sample.csv"
    assert await office.type("accuracy", "--sample", "50", "--seed", "7", "--csv", str(file)) == 0
    assert "seed" in capsys.readouterr().out
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    assert {row["item"] for row in rows} == {MILK, BREAD}
    assert all(row["verdict"] == "equal" and row["found_minor"] == "" for row in rows)
    first = await office.ask("audit.accuracy", sample=1, seed="a")
    assert (await office.ask("audit.accuracy", sample=1, seed="a"))["inspect"] == first["inspect"]
    assert {(await office.ask("audit.accuracy", sample=1, seed=str(n)))["inspect"][0]["item"] for n in range(20)} == {MILK, BREAD}


async def test_a_retired_label_is_not_compared(office: Office) -> None:
    shop = office.shop
    await day(shop)
    stamp = shop.store.stamp()
    await shop.store.run(lambda db: people.retire(db, stamp, L1, Retire.REMOVED, Who("ann", "test"), 0))
    assert (await office.ask("audit.accuracy"))["labels"] == 1
    await sell(shop, "s9")
