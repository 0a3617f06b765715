"""From a rule file's document to its sound model, or to the first thing that is wrong with it."""

from __future__ import annotations

from pydantic import ValidationError

from schemas.rulechecks import refusals_of
from schemas.rulemodel import RuleFile
from schemas.ruleyaml import Document, RuleError, Where


def read_rules(document: Document) -> RuleFile:
    """The sound rule file that a document holds. Raises RuleError with the first thing (by line) that is wrong."""
    if not isinstance(document.value, dict):
        raise RuleError(document.path, 1, "must be a mapping of fields")
    try:
        rules = RuleFile.model_validate(document.value)
    except ValidationError as error:
        problems = sorted((document.line(item["loc"]), *_said(item["loc"], item["type"], item["msg"])) for item in error.errors())
        line, place, reason = problems[0]
        raise RuleError(document.path, line, f"{place}: {reason}") from error
    refusals = sorted((document.line(where), reason) for where, reason in refusals_of(rules))
    if refusals:
        raise RuleError(document.path, *refusals[0])
    return rules


def _said(loc: Where, kind: str, message: str) -> tuple[str, str]:
    place = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return place, "unknown key"
    if kind == "missing":
        return place, "is missing"
    if kind == "too_short":
        return place, "must not be empty"
    if kind.startswith(("model", "dict", "list")):
        return place, "must be a list" if kind.startswith("list") else "must be a mapping of fields"
    return place, message.removeprefix("Value error, ")
