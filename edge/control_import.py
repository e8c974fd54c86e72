"""Files and tokens over the control socket. A file travels in pieces, so that no call is large and nothing has to fit in memory."""

from __future__ import annotations

import asyncio
import base64
import binascii
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TypeVar

import msgspec
from msgspec import Meta

from edge.import_desk import Brought, ImportDesk, outcome_counts
from edge.import_feed import Feed
from edge.import_folder import report_texts
from edge.import_frames import FILE_BYTES_MAX, Format
from edge.import_reader import ReaderFailed
from edge.import_report import heading
from edge.import_text import Problem
from edge.store import import_keep, imports
from edge.store.db import Refused
from edge.store.imports import Import
from edge.store.journal import make_id, rfc3339
from edge.store.store import Store
from protocols.jsonrpc import ErrorCode, RpcError

UPLOADS_MAX: Final = 4  # files being sent at once; one more ends the oldest, which nobody may be sending any longer
PIECE_BYTES_MAX: Final = 1 << 20
PROBLEMS_SHOWN: Final = 100  # in an answer; the report names all
LIST_MAX: Final = 200
REPORT_BYTES: Final = 1 << 20  # of a report in one answer

Method = Callable[[str, Mapping[str, object]], Awaitable[object]]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")]

_S = TypeVar("_S", bound=msgspec.Struct)


class _What(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which file it is. Without `feed`, a plain one of its `kind`."""

    source_name: Name = "file"
    feed: str | None = None
    kind: str | None = None
    mode: str | None = None
    dry_run: bool = False


class _Inline(_What, frozen=True, forbid_unknown_fields=True, kw_only=True):
    csv: str


class _Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    upload: Id
    data_b64: str


class _Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    upload: Id


class _One(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    part: Annotated[int, Meta(ge=0)] = 0


class _Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    person: Name


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class ImportControl:
    """One per daemon."""

    def __init__(self, store: Store, desk: ImportDesk, spool: Path) -> None:
        """`spool`: a folder of the daemon's own; what lies there has no name."""
        self._store = store
        self._desk = desk
        self._spool = spool
        self._uploads: dict[str, tuple[_What, BinaryIO]] = {}
        self.methods: Mapping[str, Method] = {
            "import": self._import,
            "import.open": self._open,
            "import.write": self._write,
            "import.run": self._run,
            "imports.list": self._list,
            "imports.show": self._show,
            "imports.report": self._report,
            "imports.approve": self._approve,
            "imports.discard": self._discard,
            "imports.feeds": self._feeds,
        }

    def close(self) -> None:
        """Drop what was being sent."""
        for _, file in self._uploads.values():
            file.close()
        self._uploads.clear()

    # -- bringing ------------------------------------------------------------------------------------------------------

    async def _import(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Inline)
        with tempfile.TemporaryFile(dir=self._spool) as file:
            await asyncio.to_thread(file.write, asked.csv.encode())
            return await self._bring(asked, file, actor)

    async def _open(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _What)
        self._feed(asked)
        while len(self._uploads) >= UPLOADS_MAX:
            self._uploads.pop(next(iter(self._uploads)))[1].close()
        upload = make_id(self._store.stamp(), "upload")
        self._uploads[upload] = asked, tempfile.TemporaryFile(dir=self._spool)  # noqa: SIM115 - closed by import.run
        return {"upload": upload}

    async def _write(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Piece)
        try:
            data = base64.b64decode(asked.data_b64, validate=True)
        except binascii.Error as error:
            raise RpcError(ErrorCode.INVALID_PARAMS, f"data_b64: {error}") from None
        _, file = self._upload(asked.upload)
        if len(data) > PIECE_BYTES_MAX or file.tell() + len(data) > FILE_BYTES_MAX:
            raise RpcError(ErrorCode.REFUSED, f"a file has at most {FILE_BYTES_MAX >> 20} MB, a piece {PIECE_BYTES_MAX >> 20}")
        await asyncio.to_thread(file.write, data)
        return {"bytes": file.tell()}

    async def _run(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Upload)
        what, file = self._upload(asked.upload)
        del self._uploads[asked.upload]
        with file:
            return await self._bring(what, file, actor)

    def _upload(self, upload: str) -> tuple[_What, BinaryIO]:
        found = self._uploads.get(upload)
        if found is None:
            raise RpcError(ErrorCode.NOT_FOUND, "this file is not being sent any more: begin again")
        return found

    async def _bring(self, what: _What, file: BinaryIO, actor: str) -> object:
        feed = self._feed(what)
        await asyncio.to_thread(file.flush)
        file.seek(0)
        try:
            brought = await self._desk.bring(file, feed, what.source_name, actor, dry_run=what.dry_run, format_=Format.CSV)
        except (Refused, ReaderFailed) as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None
        return answer(self._store, brought)

    def _feed(self, what: _What) -> Feed:
        try:
            return self._desk.feed(what.feed, what.kind, what.mode)
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None

    # -- deciding ------------------------------------------------------------------------------------------------------

    async def _approve(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Decision)
        try:
            return answer(self._store, Brought(await self._desk.approve(asked.id, asked.person, actor)))
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None

    async def _discard(self, actor: str, params: Mapping[str, object]) -> object:
        asked = _read(params, _Decision)
        try:
            return answer(self._store, Brought(await self._desk.discard(asked.id, asked.person, actor)))
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _list(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        return {"imports": [_summary(each) for each in self._store.read(lambda db: imports.recent(db, LIST_MAX))]}

    async def _show(self, actor: str, params: Mapping[str, object]) -> object:
        return answer(self._store, Brought(self._one(_read(params, _One).id)))

    async def _report(self, actor: str, params: Mapping[str, object]) -> object:
        """A report in parts of about `REPORT_BYTES`; `more` says whether there is a next one."""
        asked = _read(params, _Part)
        account = self._one(asked.id)
        part, text, size = 0, heading(account, same=False), 0
        for more in report_texts(self._store, account):
            if size > REPORT_BYTES:
                if part == asked.part:
                    return {"text": text, "more": True}
                part, text, size = part + 1, "", 0
            text, size = text + more if part == asked.part else "", size + len(more)
            await asyncio.sleep(0)  # lanes come first
        return {"text": text if part == asked.part else "", "more": False}

    async def _feeds(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        return {"feeds": [msgspec.to_builtins(feed) for feed in self._desk.feeds.values()]}

    def _one(self, import_id: str) -> Import:
        account = self._desk.find(import_id)
        if account is None:
            raise RpcError(ErrorCode.NOT_FOUND, f"no import {import_id}")
        return account


def answer(store: Store, brought: Brought) -> dict[str, object]:
    """What became of a file, with the first of its mistakes."""
    account = brought.account
    problems = store.read(lambda db: import_keep.problems_of(db, account.import_id, 0, PROBLEMS_SHOWN)) if not brought.same else []
    return {
        "import": account.import_id,
        "feed": account.feed,
        "file": account.name,
        "state": "same" if brought.same else str(account.state),
        **outcome_counts(account),
        "reason": account.reason,
        "persons_needed": account.persons_needed,
        "persons": account.persons,
        "mistakes": [problem_view(each) for each in problems],
    }


def problem_view(problem: Problem) -> dict[str, object]:
    return {"line": problem.line, "column": problem.column, "found": problem.found, "expected": problem.expected}


def _summary(account: Import) -> dict[str, object]:
    counts = account.counts
    return {
        "id": account.import_id,
        "began": rfc3339(account.began_wall_ms),
        "feed": account.feed,
        "file": account.name,
        "state": str(account.state),
        "rows": counts.rows,
        "new": counts.new,
        "changed": counts.changed,
        "removed": counts.removed,
        "mistakes": counts.problems,
        "reason": account.reason,
        "persons": account.persons,
        "by": account.actor,
    }


def _read(params: Mapping[str, object], shape: type[_S]) -> _S:
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        raise RpcError(ErrorCode.INVALID_PARAMS, str(error)) from None
