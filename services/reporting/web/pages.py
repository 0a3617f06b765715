"""The console's routes: who asks and in which language, then one view, then one template.

Every page is also answered as a fragment (header `X-Fragment`), which the open page walks into itself when there is news.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Form, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope as AsgiScope

from services.reporting.api.figures import Figures, OneLook
from services.reporting.api.scope import NotVisible, Scope
from services.reporting.deps import Deps
from services.reporting.identity.sessions import same_origin
from services.reporting.identity.store import Account, Throttled
from services.reporting.web import attention, calendar, catalogue, explain, learner, learners, overview
from services.reporting.web.context import Seen, address, latest
from services.reporting.web.shapes import count
from services.reporting.web.texts import LANGUAGES, TEXTS, Language, Translator, language_of

HERE = Path(__file__).parent
LANGUAGE_COOKIE, THEME_COOKIE = "chalk_language", "chalk_theme"
YEAR = 365 * 86_400
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing from elsewhere: what a name or a note says can't become script."""
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "X-Frame-Options": "DENY", "Vary": "Cookie, X-Fragment"}
DEMO_LOGINS = "demo-logins.json"
"""In the data folder, written by the demo only: `{"password": …, "accounts": [{"username": …, "name": …}, …]}`."""


@cache
def static(name: str) -> str:
    """The address of a static file, with its content's digest, so that it may be kept for ever."""
    return f"/static/{name}?v={hashlib.sha256((HERE / 'static' / name).read_bytes()).hexdigest()[:12]}"


class _Kept(StaticFiles):
    """Static files, kept for ever where the address carries the digest."""

    async def get_response(self, path: str, scope: AsgiScope) -> Response:
        response = await super().get_response(path, scope)
        kept = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable" if kept else "no-cache"
        return response


def environment() -> Environment:
    """Templates: everything is escaped, an unknown name is an error."""
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters["count"] = count
    env.globals["static"] = static
    return env


def _language(request: Request, account: Account | None) -> Language:
    """Switched to on this machine, else the account's, else the browser's."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return language_of(chosen)
    if account is not None:
        return language_of(account.language)
    return language_of(request.headers.get("accept-language", "zh"))


def _within(path: str) -> str:
    """A path of ours to go on to; anything else becomes `/`."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


class Console:
    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.figures = Figures(deps.queries)
        self.env = environment()

    # parts

    def render(self, request: Request, template: str, t: Translator, status: int = 200, **values: Any) -> HTMLResponse:
        fragment = "x-fragment" in request.headers
        theme = request.cookies.get(THEME_COOKIE, "auto")

        def switch(language: str) -> str:
            query = [(k, v) for k, v in request.query_params.multi_items() if k != "lang"]
            return f"{request.url.path}?{urlencode([*query, ('lang', language)])}" if request.method == "GET" else f"/login?lang={language}"

        frame: dict[str, Any] = {
            "layout": "fragment.html" if fragment else "base.html",
            "theme": theme if theme in ("light", "dark") else "auto",
            "t": t,
            "switch": switch,
            "programmes": [],
            "programme": None,
            "open_count": 0,
            "here": "",
            "who": {"name": "", "initial": "", "unit": ""},
            "clock": self.deps.clock.now(),
            "speed": self.deps.clock.speed,
            "live": "",
        }
        return HTMLResponse(self.env.get_template(template).render({**frame, **values}), status, HEADERS)

    def switched(self, request: Request, account: Account | None) -> Response | None:
        """The answer to `?lang=`: the same page again, in that language from now on."""
        language = request.query_params.get("lang")
        if language not in LANGUAGES:
            return None
        query = [(k, v) for k, v in request.query_params.multi_items() if k != "lang"]
        response = RedirectResponse(request.url.path + (f"?{urlencode(query)}" if query else ""), 303, HEADERS)
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR, samesite="lax", path="/")
        return response

    def home(self, programme: str, scope: Scope) -> str:
        """The unit a caller begins at; one of everything begins at the largest top."""
        if not scope.everything:
            return scope.unit_id
        tops = self.figures.tops(programme)
        if not tops:
            raise NotVisible("no unit has learners yet")
        return str(tops[0]["unit_id"])

    def seen(self, request: Request, t: Translator, scope: Scope, programme: str) -> Seen:
        rules = self.deps.queries.programme(programme)
        query = dict(request.query_params)
        queries = OneLook(self.deps.queries)
        return Seen(self.deps, queries, Figures(queries), t, scope, rules, self.home(programme, scope), self.deps.clock.now(), query)

    def frame(self, seen: Seen, account: Account, here: str) -> dict[str, Any]:
        """What stands around every page of a programme."""
        t, deps = seen.t, self.deps
        mine = set(deps.programmes) if seen.scope.everything else seen.figures.inhabited(seen.scope.unit_id)
        offered = [p for key, p in deps.programmes.items() if key in mine or key == seen.rules.id]
        offered.sort(key=lambda p: (-p.starts_ms, p.id))
        own = seen.queries.unit_path(seen.scope.unit_id) if not seen.scope.everything else []
        turn = attention.mine_of(seen, own)
        counts = seen.figures.open_counts(seen.rules.id, seen.scope)
        unit = seen.query.get("unit", "")
        return {
            "here": here,
            "programme": seen.programme(),
            "programmes": [
                {"id": p.id, "title": t.title(dict(p.title)), "starts": p.starts, "ends": p.ends, "url": f"/p/{p.id}"} for p in offered
            ],
            "nav": {
                "overview": seen.unit_url(unit or seen.home),
                "attention": address(seen.path("attention"), unit=unit),
                "learners": address(seen.path("learners"), unit=unit),
                "calendar": address(seen.path("calendar"), unit=unit),
            },
            "open_count": sum(attention.tally(counts, turn).values()),
            "who": {
                "name": account.name,
                "initial": account.name[:1],
                "unit": own[-1]["name"] if own else t("account.everything") if seen.scope.everything else seen.scope.unit_id,
            },
            "live": "/v1/live",
        }

    def page(self, request: Request, programme: str, here: str, template: str, view: Callable[[Seen], dict[str, Any]]) -> Response:
        account = self.deps.sessions.read(request)
        if account is None:
            return self.to_login(request)
        if switched := self.switched(request, account):
            return switched
        t = Translator(_language(request, account))
        scope = Scope(account.unit_id, frozenset(), account.username, account.name, account.language, "session")
        seen = self.seen(request, t, scope, programme)
        return self.render(request, template, t, **{**self.frame(seen, account, here), **view(seen)})

    def to_login(self, request: Request) -> Response:
        if "x-fragment" in request.headers:
            return Response(status_code=401, headers=HEADERS)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse("/login?" + urlencode({"next": path}) if path != "/" else "/login", 303, HEADERS)

    def demo(self) -> dict[str, Any] | None:
        """The demo's accounts, as far as they still exist."""
        try:
            told = json.loads((self.deps.settings.data / DEMO_LOGINS).read_text())
            known = {account.username for account in self.deps.identity.accounts()}
            accounts = [{"username": a["username"], "name": a["name"]} for a in told["accounts"] if a["username"] in known]
            return {"password": str(told["password"]), "accounts": accounts} if accounts else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def login_page(self, request: Request, problem: str = "", username: str = "", next_: str = "/", status: int = 200) -> Response:
        t = Translator(_language(request, None))
        text = t(problem) if problem in TEXTS else problem
        return self.render(request, "login.html", t, status, problem=text, username=username, next=_within(next_), demo=self.demo())

    def error(self, request: Request, status: int, detail: str) -> Response:
        """The page for what our code raised outside `/v1`."""
        account = self.deps.sessions.read(request)
        t = Translator(_language(request, account))
        message = t("error.404") if status in (404, 405) else t("error.503") if status >= 500 else t("error.400", reason=detail)
        who = {
            "name": account.name if account else "",
            "initial": account.name[:1] if account else "",
            "unit": account.unit_id if account else "",
        }
        return self.render(request, "error.html", t, status, message=message, who=who)


def mount(app: FastAPI, deps: Deps) -> None:
    """Adds the console to the application: pages under `/`, `/login`, `/logout` and `/p/…`, files under `/static`."""
    console = Console(deps)
    app.mount("/static", _Kept(directory=HERE / "static"), name="static")
    app.state.html_error = console.error

    @app.get("/login", include_in_schema=False)
    def login_form(request: Request) -> Response:
        account = deps.sessions.read(request)
        if switched := console.switched(request, account):
            return switched
        if account is not None:
            return RedirectResponse("/", 303, HEADERS)
        return console.login_page(request, next_=request.query_params.get("next", "/"))

    @app.post("/login", include_in_schema=False)
    def login(
        request: Request,
        username: Annotated[str, Form(max_length=64)] = "",
        password: Annotated[str, Form(max_length=1000)] = "",
        next_: Annotated[str, Form(alias="next", max_length=2000)] = "/",
    ) -> Response:
        if not same_origin(request):
            return console.login_page(request, "login.origin", username, next_, 403)
        try:
            account = deps.identity.login(username.strip(), password, request.client.host if request.client else "")
        except Throttled as error:
            t = Translator(_language(request, None))
            return console.login_page(request, t("login.wait", seconds=error.retry_after), username, next_, 429)
        if account is None:
            return console.login_page(request, "login.wrong", username, next_, 401)
        response = RedirectResponse(_within(next_), 303, HEADERS)
        deps.sessions.start(response, account, request)
        return response

    @app.post("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        response = RedirectResponse("/login", 303, HEADERS)
        if same_origin(request):
            deps.sessions.end(response)
        return response

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> Response:
        return await run_in_threadpool(start, request)

    def start(request: Request) -> Response:
        account = deps.sessions.read(request)
        if account is None:
            return console.to_login(request)
        scope = Scope(account.unit_id)
        found = (
            console.figures.inhabited(account.unit_id) if not scope.everything else {p for p in deps.programmes if console.figures.tops(p)}
        )
        return RedirectResponse(f"/p/{latest(deps.programmes, found)}", 303, HEADERS)

    @app.get("/p/{programme}", include_in_schema=False)
    def programme_home(request: Request, programme: str) -> Response:
        account = deps.sessions.read(request)
        if account is None:
            return console.to_login(request)
        deps.queries.programme(programme)
        unit = console.home(programme, Scope(account.unit_id))
        return RedirectResponse(f"/p/{programme}/units/{unit}", 303, HEADERS)

    @app.get("/p/{programme}/units/{unit_id}", include_in_schema=False)
    def unit_page(request: Request, programme: str, unit_id: str) -> Response:
        def view(seen: Seen) -> dict[str, Any]:
            found = overview.page(seen, unit_id)
            return {**found, "nav": console_nav(seen, unit_id)}

        return console.page(request, programme, "overview", "overview.html", view)

    def console_nav(seen: Seen, unit_id: str) -> dict[str, str]:
        """From a unit's overview the other pages open on that unit."""
        return {
            "overview": seen.unit_url(unit_id),
            "attention": address(seen.path("attention"), unit=unit_id if unit_id != seen.home else ""),
            "learners": address(seen.path("learners"), unit=unit_id if unit_id != seen.home else ""),
            "calendar": address(seen.path("calendar"), unit=unit_id if unit_id != seen.home else ""),
        }

    @app.get("/p/{programme}/attention", include_in_schema=False)
    def attention_page(request: Request, programme: str) -> Response:
        return console.page(request, programme, "attention", "attention.html", attention.page)

    @app.get("/p/{programme}/calendar", include_in_schema=False)
    def calendar_page(request: Request, programme: str) -> Response:
        return console.page(request, programme, "calendar", "calendar.html", calendar.page)

    @app.get("/p/{programme}/catalogue", include_in_schema=False)
    def catalogue_page(request: Request, programme: str) -> Response:
        return console.page(request, programme, "calendar", "catalogue.html", catalogue.page)

    @app.get("/p/{programme}/learners", include_in_schema=False)
    def learners_page(request: Request, programme: str) -> Response:
        return console.page(request, programme, "learners", "learners.html", learners.page)

    @app.get("/p/{programme}/learners/{learner_id}", include_in_schema=False)
    def learner_page(request: Request, programme: str, learner_id: str) -> Response:
        return console.page(request, programme, "learners", "learner.html", lambda seen: learner.page(seen, learner_id))

    @app.get("/p/{programme}/learners/{learner_id}/explain", include_in_schema=False)
    def explain_page(request: Request, programme: str, learner_id: str) -> Response:
        return console.page(request, programme, "learners", "explain.html", lambda seen: explain.page(seen, learner_id))
