"""A rule file as the page reads it: YAML, numbers exact, nothing rounded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import yaml

from tests.properties.reference.local_days import midnight

DAY_MS = 86_400_000
NOTHING = (None, "", "~", "null")

Yaml = Mapping[str, Any]


def read_rules(text: str) -> dict[str, Any]:
    """A rule file's text as dicts and lists whose values are the texts that were written, so that 7.5 is no float."""
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    return loaded


def number(value: object) -> Fraction:
    """A number of the file, exactly. Takes texts and ints (a float has lost what was written)."""
    if isinstance(value, float):
        raise TypeError("read rule files with read_rules: a float is not what was written")
    return Fraction(str(value))


def is_true(value: object) -> bool:
    return str(value).lower() == "true"


def length_ms(days: object) -> int:
    """So many days of 24 hours."""
    ms = number(days) * DAY_MS
    assert ms.denominator == 1, "days have at most two decimals"
    return int(ms)


class Rules:
    """The programme's rule file with its calendar as instants (ms since 1970 UTC) and its lengths in seconds."""

    def __init__(self, rules: Yaml) -> None:
        self.file = rules
        self.zone = str(rules["time_zone"])
        calendar = rules["calendar"]
        days = {name: date.fromisoformat(str(calendar[name])) for name in ("opens", "starts", "ends", "results_final")}
        self.first_day, self.last_day = days["starts"], days["ends"]
        self.opens = midnight(self.zone, days["opens"])
        self.starts = midnight(self.zone, days["starts"])
        self.end = midnight(self.zone, days["ends"] + timedelta(days=1))
        self.results_final = midnight(self.zone, days["results_final"])
        self.courses: dict[str, Yaml] = {str(course["id"]): course for course in self.part("courses") or []}
        self.everybodys = rules["selection"] == "all"

    def part(self, *path: str) -> Any:
        """What stands at a path of the file; None where it is absent or null."""
        found: Any = self.file
        for name in path:
            if not isinstance(found, Mapping) or name not in found:
                return None
            found = found[name]
        return None if isinstance(found, str | None) and found in NOTHING else found

    def seconds(self, hours: object) -> Fraction:
        """Study hours in seconds: hours x study_hour_minutes x 60."""
        return number(hours) * number(self.file["study_hour_minutes"]) * 60

    def course_seconds(self, course_id: str) -> Fraction:
        return self.seconds(self.courses[course_id]["hours"])

    def item(self, mode: str, kind: str) -> Yaml | None:
        """The mode's item of that kind, if it has one."""
        for item in self.part("scoring", mode, "items") or []:
            if item["item"] == kind:
                return dict(item)
        return None

    def is_scored(self, mode: str) -> bool:
        return self.part("scoring", mode) is not None

    def inside(self, ms: int) -> bool:
        return self.starts <= ms < self.end

    def before_the_end(self, ms: int) -> bool:
        """In [opens, the end)."""
        return self.opens <= ms < self.end

    def midnights(self) -> list[int]:
        """The local midnights inside the programme, in order."""
        days = (self.last_day - self.first_day).days + 1
        found = {midnight(self.zone, self.first_day + timedelta(days=n)) for n in range(days)}
        return sorted(ms for ms in found if self.inside(ms))

    def due(self, course_id: str) -> int | None:
        """The end of the course's due day for assignments."""
        days = self.part("attention", "assignment_overdue", "due") or {}
        if course_id not in days:
            return None
        return midnight(self.zone, date.fromisoformat(str(days[course_id])) + timedelta(days=1))
