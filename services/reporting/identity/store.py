"""Names, contacts and logins: the only place in the system that knows who a learner is.

SQLAlchemy on SQLite by default, on PostgreSQL by `CHALK_IDENTITY_URL`. Nothing of it goes into events, Kafka, ClickHouse,
logs or metrics; the rest of the system knows pseudonymous ids.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import argon2
from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, delete, event, insert, select

META = MetaData()
PEOPLE = Table(
    "people",
    META,
    Column("learner_id", String(64), primary_key=True),
    Column("name", String(200), nullable=False, index=True),
    Column("phone", String(64), nullable=False, default=""),
    Column("email", String(254), nullable=False, default=""),
    Column("wechat", String(64), nullable=False, default=""),
)
ACCOUNTS = Table(
    "accounts",
    META,
    Column("username", String(64), primary_key=True),
    Column("password", String(200), nullable=False),
    Column("name", String(200), nullable=False),
    Column("unit_id", String(64), nullable=False),
    Column("language", String(8), nullable=False, default="zh"),
)

TRIES = 5
"""Wrong passwords in a row, by username or by address (ten times as many there: a school shares one), before waiting."""
WAIT_SECONDS = 60.0
"""The first wait; each further wrong password doubles it, up to `LONGEST_WAIT`."""
LONGEST_WAIT = 3600.0
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """A person's login. `unit_id` `*` sees everything. `stamp` changes with the password, so old sessions end with it."""

    username: str
    name: str
    unit_id: str
    language: str
    stamp: str


@dataclass(frozen=True, slots=True)
class Person:
    learner_id: str
    name: str
    phone: str = ""
    email: str = ""
    wechat: str = ""


class Throttled(Exception):
    """Too many wrong passwords; try again after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many wrong passwords; try again in {retry_after} s")
        self.retry_after = retry_after


class _Throttle:
    """Counts wrong passwords by key, in memory: an attacker who can restart the process has better ways."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait(self, key: str, tries: int) -> float:
        with self._lock:
            count, last = self._wrong.get(key, (0, 0.0))
        if count < tries:
            return 0.0
        return max(0.0, last + min(LONGEST_WAIT, WAIT_SECONDS * 2.0 ** min(count - tries, 10)) - time.monotonic())

    def wrong(self, key: str) -> None:
        with self._lock:
            count, _ = self._wrong.pop(key, (0, 0.0))
            self._wrong[key] = (count + 1, time.monotonic())
            for old in list(islice(self._wrong, max(0, len(self._wrong) - REMEMBERED))):
                del self._wrong[old]

    def right(self, key: str) -> None:
        with self._lock:
            self._wrong.pop(key, None)


def _stamp(hashed: str) -> str:
    return hashlib.sha256(hashed.encode()).hexdigest()[:16]


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _pragmas(connection: object, _: object) -> None:
            cursor = connection.cursor()  # type: ignore[attr-defined]
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA busy_timeout=10000")
            cursor.close()

    return engine


class IdentityStore:
    """People and accounts. Every method may be called from any thread."""

    def __init__(self, url: str) -> None:
        self._db = _engine(url)
        META.create_all(self._db)
        self._hasher = argon2.PasswordHasher()
        self._throttle = _Throttle()
        # Verified for unknown usernames, so that the answer takes as long as for known ones.
        self._nobody = self._hasher.hash("nobody")

    def close(self) -> None:
        self._db.dispose()

    # people

    def names(self, learner_ids: Iterable[str]) -> dict[str, str]:
        """`learner_id -> name` of those known here; an unknown id is left out (show the id itself)."""
        return {person.learner_id: person.name for person in self.people(learner_ids).values()}

    def people(self, learner_ids: Iterable[str]) -> dict[str, Person]:
        """`learner_id -> Person` with contacts, of those known here."""
        ids = list(dict.fromkeys(learner_ids))
        found: dict[str, Person] = {}
        with self._db.connect() as db:
            for at in range(0, len(ids), 500):
                for row in db.execute(select(PEOPLE).where(PEOPLE.c.learner_id.in_(ids[at : at + 500]))):
                    found[row.learner_id] = Person(row.learner_id, row.name, row.phone, row.email, row.wechat)
        return found

    def search(self, q: str, limit: int = 100_000) -> list[str]:
        """Ids of the learners whose name contains `q`. Not scoped: use it only to narrow a scoped query."""
        text = q.strip()
        if not text:
            return []
        with self._db.connect() as db:
            return list(db.scalars(select(PEOPLE.c.learner_id).where(PEOPLE.c.name.icontains(text, autoescape=True)).limit(limit)))

    def put_people(self, people: Sequence[Person]) -> int:
        """Stores or replaces; returns how many."""
        with self._db.begin() as db:
            for at in range(0, len(people), 500):
                part = {p.learner_id: p for p in people[at : at + 500]}
                db.execute(delete(PEOPLE).where(PEOPLE.c.learner_id.in_(part)))
                db.execute(
                    insert(PEOPLE),
                    [
                        {"learner_id": p.learner_id, "name": p.name, "phone": p.phone, "email": p.email, "wechat": p.wechat}
                        for p in part.values()
                    ],
                )
        return len(people)

    # accounts

    def put_account(self, username: str, password: str, name: str, unit_id: str, language: str = "zh") -> Account:
        """Stores or replaces a login; the password is kept as an argon2id hash only."""
        hashed = self._hasher.hash(password)
        with self._db.begin() as db:
            db.execute(delete(ACCOUNTS).where(ACCOUNTS.c.username == username))
            db.execute(insert(ACCOUNTS).values(username=username, password=hashed, name=name, unit_id=unit_id, language=language))
        return Account(username, name, unit_id, language, _stamp(hashed))

    def accounts(self) -> list[Account]:
        with self._db.connect() as db:
            rows = db.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.username)).all()
        return [Account(r.username, r.name, r.unit_id, r.language, _stamp(r.password)) for r in rows]

    def account(self, username: str) -> Account | None:
        with self._db.connect() as db:
            r = db.execute(select(ACCOUNTS).where(ACCOUNTS.c.username == username)).one_or_none()
        return None if r is None else Account(r.username, r.name, r.unit_id, r.language, _stamp(r.password))

    def set_language(self, username: str, language: str) -> None:
        with self._db.begin() as db:
            db.execute(ACCOUNTS.update().where(ACCOUNTS.c.username == username).values(language=language))

    def remove_account(self, username: str) -> bool:
        """True where there was one; its sessions end at once."""
        with self._db.begin() as db:
            return db.execute(delete(ACCOUNTS).where(ACCOUNTS.c.username == username)).rowcount > 0

    def login(self, username: str, password: str, address: str = "") -> Account | None:
        """The account, or None for a wrong username or password. Raises `Throttled` after too many wrong ones."""
        keys = [(f"user:{username}", TRIES)] + ([(f"from:{address}", TRIES * 10)] if address else [])
        wait = max(self._throttle.wait(key, tries) for key, tries in keys)
        if wait > 0:
            raise Throttled(int(wait) + 1)
        with self._db.connect() as db:
            row = db.execute(select(ACCOUNTS).where(ACCOUNTS.c.username == username)).one_or_none()
        try:
            self._hasher.verify(row.password if row else self._nobody, password)
            right = row is not None
        except argon2.exceptions.VerifyMismatchError:
            right = False
        if row is None or not right:
            for key, _ in keys:
                self._throttle.wrong(key)
            return None
        self._throttle.right(keys[0][0])
        return Account(row.username, row.name, row.unit_id, row.language, _stamp(row.password))
