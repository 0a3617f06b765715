"""The page about rule files (docs/rules.md) and the validator say the same: its example is sound, and each of its refusals is one.

Then every single value of that example is made wrong in every way that its kind allows, and has to be refused at its line and path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml
from core_world import ROOT

from schemas.programme import load_text
from schemas.rulefile import read_rules
from schemas.ruleyaml import Document, Problem, RuleError

PAGE = (ROOT / "docs" / "rules.md").read_text("utf-8")
EXAMPLE = re.search(r"## Rule files.*?```yaml\n(.*?)```", PAGE, re.S)[1]  # type: ignore[index]
REFUSED = re.search(r"### What is refused\n\n(.*?)\n\n", PAGE, re.S)[1].replace("\n", " ").rstrip(".")  # type: ignore[index]


def problems(text: str) -> list[Problem]:
    try:
        read_rules(Document("rules.yaml", text))
    except RuleError as error:
        return list(error.problems)
    return []


def test_the_example_of_the_page_is_sound() -> None:
    programme = load_text(EXAMPLE, "example.yaml")
    assert (programme.id, len(programme.courses), sorted(programme.modes)) == ("example-2024", 1, ["disc", "online"])
    # no condition counts what learners publish in the example's activity, and the warning says so
    assert [one.split(": ", 1)[1] for one in programme.warnings] == ["activities.0.id: no condition of result counts works of research"]


CAPPED = ("cap_at_course_hours: false", "cap_at_course_hours: true")
PHRASES: dict[str, list[tuple[tuple[str, str], ...]]] = {
    "Unknown keys and modes": [
        (("selection:", "selektion:"),),
        (("  disc:", "  paper:"),),
        (("forms: [online],", "forms: [online], best: 1,"),),
    ],
    "a `calendar` out of order": [
        (("starts: 2024-06-01", "starts: 2024-05-19"),),
        (("ends: 2024-12-31", "ends: 2024-05-31"),),
        (("results_final: 2025-01-15", "results_final: 2024-12-31"),),
    ],
    "an unknown time zone": [(("Asia/Shanghai", "Asia/Zhuozhou"),), (("Asia/Shanghai", "../etc/passwd"),), (("Asia/Shanghai", "+08:00"),)],
    "ids that come twice": [
        (("courses:\n", "courses:\n  - {id: c-reading, title: {zh: a, en: a}, hours: 16}\n"),),
        (("activities: ", "activities:\n  - {id: research, title: {zh: a, en: a}}\nx: "), ("x: ", "")),
        (("phases: ", "phases:\n    - {id: roster, title: {zh: a, en: a}, due: 2024-05-28, level: school}\nx: "), ("x: ", "")),
    ],
    "a `result` part without any condition": [
        (("passed: {courses: every_selected}", "passed: {}"),),
        (("excellent: {mean_total_at_least: 90}", "excellent: {}"),),
    ],
    "`kinds: []`": [(("kinds: [classroom_record, lesson_design, teaching_narrative, teaching_case]", "kinds: []"),)],
    "an exam without forms": [(("forms: [online],", "forms: [],"),), (("forms: [online],", ""),)],
    "two items of a kind in one mode": [
        (("- {item: process, points: 20}", "- {item: process, points: 10}\n      - {item: process, points: 10}"),),
    ],
    "a gate that names an item the mode does not have, or `exam`": [
        (("gate: {items: [study,", "gate: {items: [process,"),),
        (("gate: {items: [study,", "gate: {items: [exam,"),),
        (("gate: {items: [study, assignments, interaction]", "gate: {items: []"),),
    ],
    "an unknown course in `due`": [(("due: {c-reading: 2024-10-31}", "due: {c-writing: 2024-10-31}"),)],
    "an unknown activity": [(("passed: {courses: every_selected}", "passed: {accepted_works: {activity: talk, count: 1}}"),)],
    "`tutors` whose numbers do not rise": [
        (("{at_least: 50, at_most: 200}", "{at_least: 201, at_most: 200}"),),
        (("{from_learners: 100, tutors: 2}", "{from_learners: 1, tutors: 2}"),),
        (("{from_learners: 100, tutors: 2}", "{from_learners: 100, tutors: 0}"),),
    ],
    "hours that are not above 0 or make no whole number of seconds": [
        (("hours: 16, credits", "hours: 0, credits"),),
        (("threshold, hours: 16", "threshold, hours: 0"),),
        (("passed: {courses: every_selected}", "passed: {credited_hours: 0}"),),
        (("study_hour_minutes: 60", "study_hour_minutes: 45.01"), ("hours: 16, credits", "hours: 0.33, credits")),
    ],
    "a study item longer than any one course where courses are capped": [(CAPPED, ("threshold, hours: 16", "threshold, hours: 16.01"))],
    "`not_registered` without `registration`": [(("  registration: {within_days: 2, from: enrolled}\n", ""),)],
}  # fmt: skip


def test_every_phrase_of_the_page_has_its_cases() -> None:
    assert [" ".join(phrase.split()) for phrase in REFUSED.split("; ")] == list(PHRASES)


@pytest.mark.parametrize(("phrase", "changes"), [(phrase, case) for phrase, cases in PHRASES.items() for case in cases])
def test_what_the_page_refuses_is_refused(phrase: str, changes: tuple[tuple[str, str], ...]) -> None:
    text = EXAMPLE
    for old, new in changes:
        if (old, new) == ("x: ", ""):
            text = re.sub(r"\nx: +#.*", "", text)  # the comment that stood behind a list
            continue
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    assert problems(text), phrase


Mark = tuple[str, int, int, int]
"""(path, line, begin, end) of a value in the example's text."""


def scalars(node: yaml.Node, path: str = "") -> Iterator[tuple[Mark, str]]:
    """Every value with its text."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from scalars(value, f"{path}.{key.value}" if path else key.value)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from scalars(value, f"{path}.{index}")
    else:
        yield (path, node.start_mark.line + 1, node.start_mark.index, node.end_mark.index), node.value


def mappings(node: yaml.Node, path: str = "") -> Iterator[tuple[str, int, int, str]]:
    """(path, line, where a key can be put in, what goes around it) of every mapping but that of `due`, whose keys are courses."""
    if isinstance(node, yaml.MappingNode):
        if not path.endswith(".due"):
            if node.flow_style:
                yield path, node.start_mark.line + 1, node.start_mark.index + 1, "{}, " if node.value else "{}"
            else:
                first = node.value[0][0].start_mark
                yield path, first.line + 1, first.index, "{}\n" + " " * first.column
        for key, value in node.value:
            yield from mappings(value, f"{path}.{key.value}" if path else key.value)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from mappings(value, f"{path}.{index}")


TREE = yaml.compose(EXAMPLE, Loader=yaml.BaseLoader)


KINDS: dict[str, tuple[str, list[str]]] = {
    "numbers": (r"\d+(\.\d+)?", ["1.005", '"1"', "-1", "1e12", ".inf", "0x10", "1_0", "yes"]),
    "marks": (r"true|false", ["yes", "1", '"true"']),
    "days": (r"\d{4}-\d\d-\d\d", ["2024-02-30", "24-01-01", "2024-1-1", "20240101", "2024-06-01T00:00:00Z", "1969-12-31", "2100-01-01"]),
    "times": (r"\d\d:\d\d", ['"24:00"', '"8:00"', '"08:60"', "1260", '"08:00:00"']),
    "anything": (r".*", ["{a: 1}", "[[1]]"]),
}


@pytest.mark.parametrize(("kind", "wrong"), [(kind, wrong) for kind, (_, values) in KINDS.items() for wrong in values])
def test_every_value_of_a_kind_made_wrong_at_once_is_refused_at_its_place(kind: str, wrong: str) -> None:
    marks = [mark for mark, value in scalars(TREE) if re.fullmatch(KINDS[kind][0], value) and not mark[0].endswith(".item")]
    text = EXAMPLE
    for _, _, begin, end in reversed(marks):
        text = text[:begin] + wrong + text[end:]
    assert len(marks) >= 2 or kind == "marks"
    found = {(one.line, one.place) for one in problems(text)}
    assert found >= {(line, path) for path, line, _, _ in marks}


def test_a_value_that_was_forgotten_is_refused_or_warned_of() -> None:
    count = 0
    for (path, line, begin, end), _ in scalars(TREE):
        text = EXAMPLE[:begin] + "null" + EXAMPLE[end:]
        found = problems(text)
        if found:
            assert all(one.line == line and one.place and path.startswith(one.place) for one in found), (path, found)
        else:
            assert f"rules.yaml:{line}: {path}: has no value: that is as if it were left out" in load_text(text).warnings
            count += 1
    assert 1 <= count < 10  # of optional fields


def test_every_mapping_of_the_example_takes_no_unknown_key() -> None:
    count = 0
    for path, line, at, around in mappings(TREE):
        found = problems(EXAMPLE[:at] + around.format("zzz: 1") + EXAMPLE[at:])
        assert [(one.line, one.text) for one in found] == [(line, f"{path}.zzz: unknown key".lstrip("."))]
        count += 1
    assert count > 40
