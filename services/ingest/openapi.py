"""The door's OpenAPI page, with every event type's schema, and its `/docs` from assets that lie on this machine."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Union

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import Field, TypeAdapter

from schemas.reading import EVENTS
from schemas.verdicts import CODES
from services.ingest.accept import BATCH, LINES, ONE
from services.ingest.problems import MEDIA_TYPE
from services.shared.settings import ROOT

ASSETS = ROOT / "node_modules" / "swagger-ui-dist"
_TEMPLATE = "#/components/schemas/{model}"

_ANSWER = {
    "type": "object",
    "required": ["accepted", "duplicate", "rejected", "items", "applied"],
    "properties": {
        "accepted": {"type": "integer", "description": "acknowledged by all in-sync replicas"},
        "duplicate": {"type": "integer", "description": "already acknowledged with the same source, id and content"},
        "rejected": {"type": "integer"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "id", "status"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0},
                    "id": {"type": ["string", "null"], "description": "the item's id as sent, null where it has none"},
                    "status": {"enum": ["accepted", "duplicate", "rejected"]},
                    "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Verdict"}},
                },
            },
        },
        "applied": {
            "type": "object",
            "description": "topic:partition -> next offset of what this request made acknowledged; compare with marts.freshness.applied",
            "additionalProperties": {"type": "integer"},
        },
    },
}
_VERDICT = {
    "type": "object",
    "required": ["pointer", "code", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "RFC 6901; empty: the whole item"},
        "code": {"enum": [code for code in CODES if code != "wrong_partition"]},
        "detail": {"type": "string"},
    },
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_REFUSALS = {
    400: "The body is not UTF-8 JSON, has another shape than its media type says or nests deeper than 64",
    401: "No bearer token, or one that is not known",
    403: "The token is not one for the door",
    413: "The body or its number of events is beyond the limits",
    415: "Another media type than the three",
    503: "The brokers do not acknowledge; send the whole request again after Retry-After",
}


@lru_cache
def event_schemas() -> dict[str, Any]:
    """Component name -> JSON Schema of every event type, and `Event`, the union of them."""
    union: Any = Annotated[Union[tuple(EVENTS.values())], Field(discriminator="type")]  # noqa: UP007
    schema = TypeAdapter(union).json_schema(ref_template=_TEMPLATE)
    components: dict[str, Any] = schema.pop("$defs")
    return {**components, "Event": schema}


def events_operation() -> dict[str, Any]:
    """The OpenAPI operation of POST /v1/events beyond what FastAPI knows."""
    event = {"$ref": "#/components/schemas/Event"}
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: dict[str, Any] = {
        "202": {"description": "At least one item is accepted or duplicate, or there was none", "content": answer},
        "422": {"description": "Every item is rejected", "content": answer},
    }
    responses |= {str(status): {"description": text, "content": problem} for status, text in _REFUSALS.items()}
    return {
        "requestBody": {
            "required": True,
            "content": {
                ONE: {"schema": event},
                BATCH: {"schema": {"type": "array", "items": event}},
                LINES: {"schema": {"type": "string", "description": "one event a line"}},
            },
        },
        "responses": responses,
        "security": [{"bearer": []}],
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole page; made once."""
    if app.openapi_schema is None:
        page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = page.setdefault("components", {})
        components.setdefault("schemas", {}).update({**event_schemas(), "Answer": _ANSWER, "Verdict": _VERDICT, "Problem": _PROBLEM})
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = page
    return app.openapi_schema


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Chalkstream: the door</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"><body><div id="ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null})</script></body></html>"""
_PLAIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Chalkstream: the door</title>
<body><p>The API is described in <a href="/openapi.json">openapi.json</a>. (A page to browse it needs assets that `make setup` fetches.)</p>
</body></html>"""


def add_docs(app: FastAPI) -> None:
    """`/docs`; a plain page that points at openapi.json where the assets are not there."""
    there = (ASSETS / "swagger-ui-bundle.js").is_file()
    if there:
        app.mount("/docs/assets", StaticFiles(directory=ASSETS, follow_symlink=True), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_PAGE if there else _PLAIN)
