"""docs/systems.md: every file, test, route, page, relation and heading that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from services.reporting.api import calendar_routes, posts, routes
from services.reporting.web import pages
from services.shared.settings import ROOT

PAGE = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([^`]+)`", PAGE)


def named(pattern: str) -> list[str]:
    """What stands in backticks and is wholly of this form, each once."""
    return sorted({text for text in NAMED if re.fullmatch(pattern, text)})


@cache
def runnable(path: Path) -> set[str]:
    """Names of the test functions of a file that run: neither skipped nor expected to fail."""
    functions = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    left_out = re.compile(r"\b(skip|skipif|xfail)\b")
    return {
        one.name
        for one in functions
        if one.name.startswith("test_") and not any(left_out.search(ast.unparse(m)) for m in one.decorator_list)
    }


@pytest.mark.parametrize("name", named(r"tests/[\w/]+\.py::\w+"))
def test_the_test_exists_and_runs(name: str) -> None:
    file, _, function = name.partition("::")
    assert (ROOT / file).is_file(), f"{file} is not there"
    assert function in runnable(ROOT / file), f"{file} has no test {function}"


@pytest.mark.parametrize("name", named(r"(schemas|services|deploy|tests)/[\w/.-]+"))
def test_the_file_exists(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_routes_exist() -> None:
    served = {route.path for router in (routes.router, calendar_routes.router, posts.router) for route in router.routes}  # type: ignore[attr-defined]
    asked = {text.partition(" ")[2] for text in named(r"(GET|POST) /v1\S*")}
    assert len(asked) >= 5
    assert asked - served == set()


def test_the_pages_exist() -> None:
    served = set(re.findall(r'@app\.get\("([^"]+)"', Path(pages.__file__).read_text(encoding="utf-8")))
    asked = set(named(r"/p/\S+"))
    assert len(asked) >= 5
    assert asked - served == set()


def test_the_relations_exist() -> None:
    sql = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "schemas" / "clickhouse").glob("0*.sql")))
    served = set(re.findall(r"CREATE (?:VIEW|TABLE) IF NOT EXISTS (marts\.\w+)", sql))
    asked = set(named(r"marts\.\w+"))
    assert asked
    assert asked - served == set()


def test_the_headings_exist() -> None:
    for page, anchor in set(re.findall(r"\((rules|contracts)\.md#([^)]+)\)", PAGE)):
        heads = re.findall(r"^#+ (.+)$", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert anchor in anchors, f"{page}.md has no heading #{anchor}"


def test_every_system_of_the_plans_is_listed_once() -> None:
    listed = re.findall(r"^\| \*\*(S\d+) ", PAGE, re.MULTILINE)
    assert sorted(listed, key=lambda name: int(name[1:])) == [f"S{n}" for n in range(1, 24)]


def test_what_is_there_names_a_test_and_a_place_where_it_is_seen() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if re.match(r"\| \*\*S\d+ ", line) and line.count(" | ") == 4]
    assert len(rows) == 13  # S1 to S12 and S22
    for row in rows:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", row[3]), row[0]
        assert re.search(r"`(GET /v1|/p/|marts\.)|every route", row[4]), row[0]
