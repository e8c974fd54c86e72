"""Who may speak REST: tokens by name. Only a hash is kept, so the file gives no token away; the text is shown once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from edge.store.db import Refused
from edge.store.journal import record
from edge.store.rows import Db, Stamp

TOKENS_MAX: Final = 200  # in use at once: kiosks and scripts of one store
ENTROPY_BYTES: Final = 4 + 32  # of the id and of the secret: 256 random bits need no slow hash
_TEXT: Final = re.compile(r"shelfd_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NOBODY: Final = bytes(32)  # compared with where no token has the id, so that both take the same time


class Scope(StrEnum):
    READ = "read"  # prices, availability and attributes
    IMPORT = "import"  # bring files and rows


@dataclass(frozen=True, slots=True)
class Token:
    token_id: str
    name: str
    scopes: frozenset[Scope]
    created_wall_ms: int
    created_by: str
    revoked_wall_ms: int | None = None
    revoked_by: str | None = None


def add(db: Db, stamp: Stamp, name: str, scopes: frozenset[Scope], actor: str, entropy: bytes) -> str:
    """Make a token of `ENTROPY_BYTES` random bytes and return its text: it cannot be read again. Raises Refused for a name in use."""
    if not scopes:
        raise Refused("a token needs a scope")
    if db.execute("SELECT 1 FROM token WHERE name = ? AND revoked_wall_ms IS NULL", (name,)).get is not None:
        raise Refused(f"there is a token {name}: revoke it first, or take another name")
    count = db.execute("SELECT count(*) FROM token WHERE revoked_wall_ms IS NULL").get
    if isinstance(count, int) and count >= TOKENS_MAX:
        raise Refused(f"{TOKENS_MAX} tokens are in use: revoke one first")
    token_id, secret = entropy[:4].hex(), base64.urlsafe_b64encode(entropy[4:ENTROPY_BYTES]).rstrip(b"=").decode()
    words = " ".join(sorted(scopes))
    db.execute(
        "INSERT INTO token(token_id, name, scopes, hash, created_wall_ms, created_by) VALUES (?, ?, ?, ?, ?, ?)",
        (token_id, name, words, _hash(token_id, secret), stamp.wall_ms, actor),
    )
    record(db, stamp, actor, "token.added", {"token": token_id, "name": name, "scopes": words})
    return f"shelfd_{token_id}_{secret}"


def revoke(db: Db, stamp: Stamp, name: str, actor: str) -> str:
    """End a token, by name or id. Returns its id. Raises Refused where none is in use."""
    row = db.execute("SELECT token_id, name FROM token WHERE (name = ?1 OR token_id = ?1) AND revoked_wall_ms IS NULL", (name,)).fetchone()
    if row is None:
        raise Refused(f"no token {name} is in use")
    db.execute("UPDATE token SET revoked_wall_ms = ?, revoked_by = ?, hash = ? WHERE token_id = ?", (stamp.wall_ms, actor, b"", row[0]))
    record(db, stamp, actor, "token.revoked", {"token": row[0], "name": row[1]})
    return str(row[0])


def check(db: Db, text: str) -> Token | None:
    """The token whose text this is, while it is in use."""
    match = _TEXT.fullmatch(text)
    token_id, secret = (match[1], match[2]) if match is not None else ("", "")
    row = db.execute(f"SELECT {_COLUMNS}, hash FROM token WHERE token_id = ? AND revoked_wall_ms IS NULL", (token_id,)).fetchone()  # noqa: S608
    kept = row[-1] if row is not None else _NOBODY
    return _token(row[:-1]) if hmac.compare_digest(_hash(token_id, secret), kept) and row is not None else None


def all_tokens(db: Db) -> list[Token]:
    """Those in use first, by name, then the newest of those revoked."""
    found = db.execute(
        f"SELECT {_COLUMNS} FROM token ORDER BY revoked_wall_ms IS NOT NULL, revoked_wall_ms DESC, name LIMIT ?",  # noqa: S608
        (2 * TOKENS_MAX,),
    )
    return [_token(row) for row in found]


_COLUMNS: Final = "token_id, name, scopes, created_wall_ms, created_by, revoked_wall_ms, revoked_by"


def _token(row: tuple[Any, ...]) -> Token:
    token_id, name, scopes, *rest = row
    return Token(token_id, name, frozenset(map(Scope, scopes.split())), *rest)


def _hash(token_id: str, secret: str) -> bytes:
    return hashlib.sha256(f"shelfd token {token_id} {secret}".encode()).digest()
