"""From a rule file's document to its sound model, or to everything that is wrong with it; and to what looks like a mistake."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from schemas.rulechecks import refusals_of
from schemas.ruleloose import sound_part
from schemas.rulemodel import RuleFile
from schemas.rulewarnings import warnings_of
from schemas.rulewords import said
from schemas.ruleyaml import Document, Problem, RuleError, Where, place_of


def read_rules(document: Document) -> RuleFile:
    """The sound rule file that a document holds. Raises RuleError with everything that is wrong, by line."""
    if not isinstance(document.value, dict):
        raise RuleError(document.path, 1, "must be a mapping of fields")
    found: list[tuple[Where, str]] = []
    rules: RuleFile | None = None
    try:
        rules = RuleFile.model_validate(document.value)
    except ValidationError as error:
        found = said(error)
    found += refusals_of(rules or sound_part(document.value), {where for where, _ in found})
    problems = _in_order(document, found)
    if problems or rules is None:
        first = problems[0]
        raise RuleError(document.path, first.line, first.text, problems)
    return rules


def read_warnings(document: Document, rules: RuleFile) -> list[Problem]:
    """What is allowed in a sound rule file, but is hardly meant, by line."""
    said = [*warnings_of(rules), *_empty(document.value, ())]
    return sorted(Problem(document.line(where), place_of(where), reason) for where, reason in said)


def _empty(value: object, where: Where) -> Iterator[tuple[Where, str]]:
    """What an optional field says whose value was forgotten, or commented out below it."""
    if value is None:
        yield where, "has no value: that is as if it were left out"
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _empty(one, (*where, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _empty(one, (*where, index))


def _in_order(document: Document, found: list[tuple[Where, str]]) -> list[Problem]:
    problems = {Problem(document.line(where), place_of(where), reason) for where, reason in found}
    return sorted(problems.union(document.problems))
