"""Builds the reporting application from what it works with: JSON routes, live stream, reminder door and console."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from clickhouse_driver.errors import Error as ClickHouseError
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from schemas.programme import Programme
from services.reporting.api import calendar_routes, explain_routes, posts, problems, routes
from services.reporting.api.facts import Facts
from services.reporting.api.live import Live
from services.reporting.api.pool import Unavailable
from services.reporting.api.publisher import Publisher
from services.reporting.api.queries import Queries
from services.reporting.deps import Deps
from services.reporting.identity.sessions import Sessions, secret_of
from services.reporting.identity.store import IdentityStore
from services.reporting.reminders.desk import ReminderDesk
from services.reporting.web import mount
from services.shared.clickhouse import connect
from services.shared.clock import Clock
from services.shared.settings import ROOT, Settings
from services.shared.tokens import TokenStore

log = structlog.get_logger()


def build_deps(settings: Settings, clock: Clock, programmes: dict[str, Programme], publisher: Publisher) -> Deps:
    """Everything that holds a file or a connection; nothing connects before its first use."""
    data = settings.data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    identity = IdentityStore(settings.identity)
    queries = Queries(lambda: connect(settings.clickhouse), clock, programmes, identity.search)
    facts = Facts(f"sqlite:///{data}/facts.db", publisher.publish, clock, programmes)
    reminders = ReminderDesk(f"sqlite:///{data}/reminders.db", queries, identity, facts, programmes, clock)
    return Deps(
        queries=queries,
        identity=identity,
        sessions=Sessions(secret_of(settings.session_secret, data), identity),
        programmes=programmes,
        clock=clock,
        settings=settings,
        reminders=reminders,
        facts=facts,
        live=Live(queries),
        tokens=TokenStore(settings.tokens),
    )


def build_app(deps: Deps, ready: Callable[[], bool]) -> FastAPI:
    """The ASGI application. `ready` says whether Kafka can be written to."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await deps.live.start()
        yield
        await deps.live.stop()
        deps.reminders.close()
        deps.facts.close()
        deps.queries.close()
        deps.identity.close()
        deps.tokens.close()

    app = FastAPI(
        title="Chalkstream reporting",
        version="1",
        description="Figures, learners, work lists and reminders. Each caller sees its unit and below, and nothing else.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.deps = deps
    problems.install(app)
    _observe(app, deps, ready)
    _docs(app)
    app.include_router(routes.router, tags=["figures"])
    app.include_router(calendar_routes.router, tags=["calendar"])
    app.include_router(explain_routes.router, tags=["explanation"])
    app.include_router(posts.router, tags=["facts"])
    mount(app, deps)
    return app


def _observe(app: FastAPI, deps: Deps, ready: Callable[[], bool]) -> None:
    """Health, metrics and one log line a request: routes by their pattern, never by their ids."""
    registry = CollectorRegistry()
    requests = Counter("chalk_reporting_requests", "Requests answered", ["method", "route", "status"], registry=registry)
    seconds = Histogram("chalk_reporting_request_seconds", "Time until the answer begins", ["route"], registry=registry)

    @app.middleware("http")
    async def observe(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        status = 500
        try:
            response = await call_next(request)
            status = response.status_code
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Referrer-Policy", "same-origin")
            if request.url.path.startswith("/v1"):
                response.headers.setdefault("Cache-Control", "no-store")
            return response
        finally:
            route = getattr(request.scope.get("route"), "path", "other")
            took = time.perf_counter() - began
            requests.labels(request.method, route, str(status)).inc()
            seconds.labels(route).observe(took)
            if route not in ("/healthz", "/readyz", "/metrics"):
                log.info("request", method=request.method, route=route, status=status, ms=round(took * 1000, 1))

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"])
    def readyz() -> JSONResponse:
        """ClickHouse has the relations and Kafka knows the topic; else 503 with what is missing."""
        missing = []
        try:
            deps.queries.freshness()
        except (Unavailable, ClickHouseError):
            missing.append("clickhouse")
        if not ready():
            missing.append("kafka")
        body: dict[str, Any] = {"status": "ready"} if not missing else {"status": "waiting", "missing": missing}
        return JSONResponse(body, 503 if missing else 200)

    @app.get("/metrics", tags=["operation"])
    def metrics() -> Response:
        """Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def swagger_folder() -> Path | None:
    """Where the assets of `/docs` lie: they are set up with the stack's other packages, never fetched by a browser."""
    found = ROOT / "node_modules" / "swagger-ui-dist"
    return found if found.is_dir() else None


def _docs(app: FastAPI) -> None:
    folder = swagger_folder()
    if folder is not None:
        app.mount("/docs/assets", StaticFiles(directory=folder), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        if folder is None:
            return HTMLResponse("<p>The assets of this page are not set up (swagger-ui-dist). <a href='/openapi.json'>openapi.json</a></p>")
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Chalkstream reporting",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )
