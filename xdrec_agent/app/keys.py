"""API keys. Reads a key, produces who it stands for; makes, lists and revokes keys in the store's database.

A key is 256 random bits, so it cannot be guessed from its hash and a plain SHA-256 is right for it: slow hashes with
salts protect what people choose, and would cost every request tens of milliseconds. The key itself is shown once.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Final, Literal

import sqlalchemy as sa

from retrieval.errors import UsageError
from retrieval.store import INTEGER, TEXT, Tables
from retrieval.types import Frozen

Role = Literal["user", "operator"]

_PREFIX: Final = "xdr_"
_BYTES: Final = 32

_tables = sa.MetaData()
_keys = sa.Table(
    "api_keys",
    _tables,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("hash", TEXT, nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("role", TEXT, nullable=False),
    sa.Column("user", TEXT, index=True),
    sa.Column("created_at", INTEGER, nullable=False),
    sa.Column("revoked_at", INTEGER),
)


class Key(Frozen):
    """What is kept of a key: not the key. `user` is None for an operator; times are in Unix seconds."""

    id: str
    name: str
    role: Role
    user: str | None = None
    created_at: int
    revoked_at: int | None = None


class Keys(Tables):
    """The keys of a store."""

    metadata = _tables

    def create(self, name: str, *, user: str | None = None) -> tuple[Key, str]:
        """A new key and the secret to call with, which cannot be had again.

        Args:
            user: whom the key is bound to; None: an operator, who acts for whomever a request names.
        """
        secret = _PREFIX + secrets.token_urlsafe(_BYTES)
        role: Role = "operator" if user is None else "user"
        key = Key(id=secrets.token_hex(4), name=name, role=role, user=user, created_at=int(time.time()))
        self.database.execute(sa.insert(_keys).values(key.model_dump() | {"hash": _hashed(secret)}))
        return key, secret

    def find(self, secret: str) -> Key | None:
        """The key with this secret; None if there is none or it was revoked."""
        query = sa.select(_keys).where(_keys.c.hash == _hashed(secret), _keys.c.revoked_at.is_(None))
        return next(map(_key, self.database.fetch(query)), None)

    def list(self, user: str | None = None) -> tuple[Key, ...]:
        """All keys, or those bound to a user, oldest first."""
        query = sa.select(_keys).order_by(_keys.c.created_at, _keys.c.id)
        if user is not None:
            query = query.where(_keys.c.user == user)
        return tuple(map(_key, self.database.fetch(query)))

    def revoke(self, id_: str) -> None:
        """Refuse the key from now on.

        Raises:
            UsageError: there is no such key, or it was revoked before.
        """
        now = int(time.time())
        statement = sa.update(_keys).where(_keys.c.id == id_, _keys.c.revoked_at.is_(None)).values(revoked_at=now)
        if not self.database.execute(statement):
            raise UsageError(f"no key {id_!r} is in use", hint="xdrec keys list")

    def delete_user(self, user: str) -> int:
        """Delete the keys bound to a user; how many there were."""
        return self.database.execute(sa.delete(_keys).where(_keys.c.user == user))


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    values = row._asdict()
    del values["hash"]
    return Key.model_validate(values)
