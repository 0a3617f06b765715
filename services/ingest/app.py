"""The door: POST /v1/events. Routes only; what becomes of an item is decided in `accept`, what of a record in `publish`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from schemas.organisation import DIRECTORY_TYPES
from services.ingest.accept import MEDIA_TYPES, Door, Item, Rules, TooMany, Unreadable, accept, stamped
from services.ingest.duplicates import Memory, fact_key
from services.ingest.metrics import Metrics
from services.ingest.openapi import add_docs, describe, events_operation
from services.ingest.problems import Problem, unavailable
from services.ingest.publish import ACTIVITY, DIRECTORY, Publisher, Record
from services.ingest.tracing import Tracing
from services.shared.clock import Clock
from services.shared.tokens import Rights, TokenStore, bearer

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Deps:
    """What the door works with, built by `__main__` (or a test)."""

    publisher: Publisher
    tokens: TokenStore
    programmes: Mapping[str, Rules]
    clock: Clock
    memory: Memory
    max_item_bytes: int
    max_body_bytes: int
    max_items: int


def make_app(deps: Deps) -> FastAPI:
    """The ASGI application. Starting it connects to Kafka in the background; stopping it waits for what is on its way."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        deps.publisher.start()
        yield
        await deps.publisher.stop()

    app = FastAPI(
        title="Chalkstream ingest",
        version="1",
        description="The door for learning events: CloudEvents 1.0 in structured mode, each item's fate in the answer.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    metrics = Metrics(deps.publisher)
    app.add_middleware(Tracing)

    @app.exception_handler(Problem)
    async def refused(_: Request, problem: Problem) -> Response:
        return problem.response()

    @app.exception_handler(HTTPException)
    async def no_route(_: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, error.detail, dict(error.headers or {})).response()

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        _log.error("request failed", error=type(error).__name__, exc_info=error)
        return Problem(500, "an error of ours; nothing is promised about the request").response()

    @app.post("/v1/events", openapi_extra=events_operation(), summary="Send events")
    async def events(request: Request) -> Response:
        begun = time.perf_counter()
        status = 500
        try:
            response = await _take(request, deps, metrics)
            status = response.status_code
            return response
        except Problem as problem:
            status = problem.status
            raise
        finally:
            metrics.requests.labels(status).inc()
            metrics.seconds.observe(time.perf_counter() - begun)

    @app.get("/healthz", summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="The door takes events")
    async def readyz() -> Response:
        deps.publisher.gate(0)
        return Response('{"status":"ready"}', media_type="application/json")

    @app.get("/metrics", summary="Prometheus metrics")
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return describe(app)

    add_docs(app)
    return app


async def _take(request: Request, deps: Deps, metrics: Metrics) -> Response:
    rights = _rights(request, deps.tokens)
    media_type = _media_type(request)
    _refuse_length(request, deps.max_body_bytes)
    deps.publisher.gate(0)
    body = await _body(request, deps.max_body_bytes)
    metrics.bytes.inc(len(body))
    deps.publisher.gate(len(body))
    now_ms = deps.clock.now()
    try:
        items = accept(body, media_type, Door(rights, deps.programmes, now_ms, deps.max_item_bytes, deps.max_items))
    except Unreadable as error:
        raise Problem(400, str(error)) from None
    except TooMany as error:
        raise Problem(413, str(error)) from None

    records, fates, new = _sorted_out(items, deps.memory, now_ms)
    applied = await deps.publisher.publish(records, now_ms, lambda: deps.memory.update(new)) if records else {}

    counts = Counter(fates)
    for fate, count in counts.items():
        metrics.items.labels(fate).inc(count)
    for code, count in Counter(verdict.code for item in items for verdict in item.verdicts or ()).items():
        metrics.verdicts.labels(code).inc(count)
    answer = {
        "accepted": counts["accepted"],
        "duplicate": counts["duplicate"],
        "rejected": counts["rejected"],
        "items": [_told(index, item, fate) for index, (item, fate) in enumerate(zip(items, fates, strict=True))],
        "applied": applied,
    }
    all_rejected = bool(items) and counts["rejected"] == len(items)
    return Response(_json(answer), 422 if all_rejected else 202, media_type="application/json")


def _sorted_out(items: list[Item], memory: Memory, now_ms: int) -> tuple[list[Record], list[str], set[bytes]]:
    """The records to send, each item's fate once they are acknowledged, and the keys to remember then."""
    records: list[Record] = []
    fates: list[str] = []
    new: set[bytes] = set()
    for item in items:
        event = item.event
        if event is None:
            fates.append("rejected")
            continue
        key = fact_key(event)
        if key in new or key in memory:
            fates.append("duplicate")
            continue
        new.add(key)
        fates.append("accepted")
        topic = DIRECTORY if event.type in DIRECTORY_TYPES else ACTIVITY
        records.append(Record(topic, event.subject.encode(), stamped(item.text, now_ms)))
    return records, fates, new


def _told(index: int, item: Item, fate: str) -> dict[str, Any]:
    told: dict[str, Any] = {"index": index, "id": item.id, "status": fate}
    if item.verdicts:
        told["errors"] = [verdict._asdict() for verdict in item.verdicts]
    return told


def _json(answer: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:  # a lone surrogate in an id or a field's name: said back as it came, escaped
        return json.dumps(answer).encode()


def _rights(request: Request, tokens: TokenStore) -> Rights:
    challenge = {"WWW-Authenticate": "Bearer"}
    token = bearer(request.headers.get("authorization"))
    if token is None:
        raise Problem(401, "an Authorization header with a bearer token is expected", challenge)
    try:
        rights = tokens.find(token)
    except SQLAlchemyError as error:
        _log.error("the token store does not answer", error=type(error).__name__)
        raise unavailable("tokens can't be checked at the moment", 5) from None
    if rights is None:
        raise Problem(401, "the token is not known, or was revoked", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    if rights.kind != "ingest":
        raise Problem(403, "this token is not one for the door; `chalk tokens issue --source … --programme …` makes one")
    return rights


def _media_type(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise Problem(415, f"one of {', '.join(MEDIA_TYPES)} is expected as the Content-Type", {"Accept": ", ".join(MEDIA_TYPES)})
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise Problem(415, "a body without Content-Encoding is expected", {"Accept-Encoding": "identity"})
    return media_type


def _refuse_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise Problem(413, f"a body of at most {most} bytes is expected; split the batch")


async def _body(request: Request, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise Problem(413, f"a body of at most {most} bytes is expected; split the batch")
            parts.append(part)
    except ClientDisconnect:
        raise Problem(400, "the client went away before the body's end") from None
    return b"".join(parts)
