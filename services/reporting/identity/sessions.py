"""Sessions of people who logged in: a signed cookie, nothing kept on the server but the key.

A session ends with its age, with the account, and with the account's password (the cookie carries the account's stamp).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response

from services.reporting.identity.store import Account, IdentityStore

COOKIE = "chalk_session"
MAX_AGE = 12 * 3600
"""Seconds of real time: a session is about a person at a screen, not about the programme's clock."""


def secret_of(given: str, data: Path) -> str:
    """The key that signs sessions: the given one, else one made once and kept under the data folder, readable by us only."""
    if given:
        return given
    data.mkdir(parents=True, exist_ok=True)
    path = data / "session.key"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        key = secrets.token_urlsafe(32)
        file.write(key)
    return key


def same_origin(request: HTTPConnection) -> bool:
    """Whether a browser says that the request comes from our own pages; a request that says nothing is not believed.

    Browsers send `Origin` with every POST; `Sec-Fetch-Site` can't be set by a page's script.
    """
    origin = request.headers.get("origin")
    if origin:
        return urlsplit(origin).netloc == request.headers.get("host", "")
    return request.headers.get("sec-fetch-site") == "same-origin"


class Sessions:
    """Issues and reads session cookies."""

    def __init__(self, secret: str, identity: IdentityStore) -> None:
        self._signer = URLSafeTimedSerializer(secret, salt="chalkstream-session")
        self._identity = identity

    def start(self, response: Response, account: Account, request: HTTPConnection) -> None:
        """Sets the cookie on `response`; call it after `IdentityStore.login` gave an account."""
        response.set_cookie(
            COOKIE,
            self._signer.dumps([account.username, account.stamp]),
            max_age=MAX_AGE,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
            path="/",
        )

    def end(self, response: Response) -> None:
        response.delete_cookie(COOKIE, path="/")

    def read(self, request: HTTPConnection) -> Account | None:
        """The account whose valid session the request carries, else None."""
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            return None
        try:
            username, stamp = self._signer.loads(cookie, max_age=MAX_AGE)
        except (BadSignature, ValueError, TypeError):
            return None
        account = self._identity.account(str(username))
        return account if account is not None and secrets.compare_digest(account.stamp, str(stamp)) else None
