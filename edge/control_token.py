"""REST's tokens over the control socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from edge.store import tokens
from edge.store.db import Refused, Transaction
from edge.store.journal import rfc3339
from edge.store.store import Store
from edge.store.tokens import ENTROPY_BYTES, Scope
from edge.view import Delta
from protocols.jsonrpc import ErrorCode, RpcError

Method = Callable[[str, Mapping[str, object]], Awaitable[object]]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")]

_S = TypeVar("_S", bound=msgspec.Struct)


class _Add(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    scopes: frozenset[Scope]


class _Revoke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class TokenControl:
    """One per daemon."""

    def __init__(self, store: Store, entropy: Callable[[int], bytes]) -> None:
        self._store = store
        self._entropy = entropy
        self.methods: Mapping[str, Method] = {"token.add": self._add, "token.list": self._list, "token.revoke": self._revoke}

    async def _add(self, actor: str, params: Mapping[str, object]) -> object:
        asked, stamp, entropy = _read(params, _Add), self._store.stamp(), self._entropy(ENTROPY_BYTES)
        text = await self._change(lambda db: (tokens.add(db, stamp, asked.name, asked.scopes, actor, entropy), Delta()))
        return {"name": asked.name, "token": text}

    async def _revoke(self, actor: str, params: Mapping[str, object]) -> object:
        asked, stamp = _read(params, _Revoke), self._store.stamp()
        token_id = await self._change(lambda db: (tokens.revoke(db, stamp, asked.name, actor), Delta()))
        return {"name": asked.name, "id": token_id}

    async def _change(self, transaction: Transaction[str]) -> str:
        try:
            return await self._store.run(transaction)
        except Refused as error:
            raise RpcError(ErrorCode.REFUSED, str(error)) from None

    async def _list(self, actor: str, params: Mapping[str, object]) -> object:
        _read(params, _Nothing)
        return {
            "tokens": [
                {
                    "name": each.name,
                    "id": each.token_id,
                    "scopes": sorted(each.scopes),
                    "created": rfc3339(each.created_wall_ms),
                    "by": each.created_by,
                    "revoked": rfc3339(each.revoked_wall_ms) if each.revoked_wall_ms is not None else None,
                }
                for each in self._store.read(tokens.all_tokens)
            ]
        }


def _read(params: Mapping[str, object], shape: type[_S]) -> _S:
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        raise RpcError(ErrorCode.INVALID_PARAMS, str(error)) from None
