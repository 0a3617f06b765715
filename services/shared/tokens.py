"""Bearer tokens: who may write what through the door, and who may read or act through reporting.

Only a token's SHA-256 is stored: tokens are 256 random bits, so a fast hash is as good as a slow one. A token is shown once,
when it is made.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import JSON, Column, MetaData, String, Table, create_engine, insert, select, update
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

Kind = Literal["ingest", "reporting"]
ANY = "*"

_metadata = MetaData()
_tokens = Table(
    "tokens",
    _metadata,
    Column("token_id", String(16), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("rights", JSON, nullable=False),
    Column("note", String(200), nullable=False, default=""),
    Column("issued_at", String(30), nullable=False),
    Column("revoked_at", String(30)),
)


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token may do. `ingest`: sources and programmes ('*' is every one), the directory; `reporting`: a unit and roles."""

    token_id: str
    kind: Kind
    sources: frozenset[str] = frozenset()
    programmes: frozenset[str] = frozenset()
    directory: bool = False
    unit_id: str = ""
    roles: frozenset[str] = frozenset()

    def may_source(self, source: str) -> bool:
        return source in self.sources or ANY in self.sources

    def may_programme(self, programme: str) -> bool:
        return programme in self.programmes or ANY in self.programmes


@dataclass(frozen=True, slots=True)
class Listed:
    """A stored token, without its secret."""

    rights: Rights
    note: str
    issued_at: str
    revoked_at: str | None


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rights(token_id: str, kind: Kind, stored: dict[str, object]) -> Rights:
    def texts(name: str) -> frozenset[str]:
        found = stored.get(name, [])
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    return Rights(
        token_id,
        kind,
        texts("sources"),
        texts("programmes"),
        stored.get("directory") is True,
        str(stored.get("unit_id", "")),
        texts("roles"),
    )


class TokenStore:
    """Tokens in a SQL database (SQLite by default). `find` is cached for `cache_seconds`, so a revocation holds after that."""

    def __init__(self, url: str, cache_seconds: float = 1.0) -> None:
        target = make_url(url)
        if target.get_backend_name() == "sqlite" and target.database not in (None, "", ":memory:"):
            Path(str(target.database)).parent.mkdir(parents=True, exist_ok=True)
        self._engine: Engine = create_engine(target)
        try:
            _metadata.create_all(self._engine)
        except (OperationalError, ProgrammingError):  # two starters at once: the other one made the table
            _metadata.create_all(self._engine)
        self._cache_seconds = cache_seconds
        self._cache: dict[str, tuple[float, Rights | None]] = {}

    def issue(
        self,
        kind: Kind,
        *,
        sources: list[str] | None = None,
        programmes: list[str] | None = None,
        directory: bool = False,
        unit_id: str = "",
        roles: list[str] | None = None,
        note: str = "",
    ) -> tuple[str, Rights]:
        """A new token: its text, which is not kept anywhere, and its rights."""
        token = f"chalk_{secrets.token_urlsafe(32)}"
        stored: dict[str, object] = {
            "sources": sources or [],
            "programmes": programmes or [],
            "directory": directory,
            "unit_id": unit_id,
            "roles": roles or [],
        }
        token_id = secrets.token_hex(4)
        row = {"token_id": token_id, "sha256": _digest(token), "kind": kind, "rights": stored, "note": note, "issued_at": _now()}
        with self._engine.begin() as connection:
            connection.execute(insert(_tokens).values(row))
        return token, _rights(token_id, kind, stored)

    def adopt(self, token: str, kind: Kind, **rights: object) -> None:
        """Store a token whose text is already known (a demo's, a test's); nothing happens where it is there."""
        row = {
            "token_id": _digest(token)[:8],
            "sha256": _digest(token),
            "kind": kind,
            "rights": rights,
            "note": "adopted",
            "issued_at": _now(),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_tokens).values(row))
        except IntegrityError:
            pass

    def find(self, token: str) -> Rights | None:
        """The rights of a token as sent; None where it is unknown or revoked."""
        now = time.monotonic()
        digest = _digest(token)
        cached = self._cache.get(digest)
        if cached is not None and now - cached[0] < self._cache_seconds:
            return cached[1]
        with self._engine.connect() as connection:
            row = connection.execute(
                select(_tokens.c.token_id, _tokens.c.kind, _tokens.c.rights).where(
                    _tokens.c.sha256 == digest, _tokens.c.revoked_at.is_(None)
                )
            ).first()
        found = None if row is None else _rights(row[0], row[1], row[2])
        if len(self._cache) > 10_000:  # guessers must not fill the memory
            self._cache.clear()
        self._cache[digest] = (now, found)
        return found

    def list(self) -> list[Listed]:
        """All tokens, the oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_tokens).order_by(_tokens.c.issued_at, _tokens.c.token_id)).mappings().all()
        return [Listed(_rights(r["token_id"], r["kind"], r["rights"]), r["note"], r["issued_at"], r["revoked_at"]) for r in rows]

    def revoke(self, token_id: str) -> bool:
        """Make a token worthless; False where there is no such token that still holds."""
        with self._engine.begin() as connection:
            done = connection.execute(
                update(_tokens).where(_tokens.c.token_id == token_id, _tokens.c.revoked_at.is_(None)).values(revoked_at=_now())
            )
        self._cache.clear()
        return bool(done.rowcount)

    def close(self) -> None:
        self._engine.dispose()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def bearer(header: str | None) -> str | None:
    """The token of an `Authorization` header; None where there is none of that kind."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
