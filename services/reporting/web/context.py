"""What one request is about: who asks, in which language, about which programme and unit, and at which moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from schemas.programme import Programme
from services.reporting.api.figures import Figures
from services.reporting.api.queries import Queries
from services.reporting.api.scope import NotVisible, Scope
from services.reporting.deps import Deps
from services.reporting.web.texts import Translator

OWNERS = {"class": "school", "school": "school", "county": "county", "city": "city"}
"""Whose turn it is where an admin of this level speaks of 'mine'."""


def address(path: str, **query: object) -> str:
    """A path with its query, empty values left out."""
    kept = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return path + ("?" + urlencode(kept) if kept else "")


@dataclass(frozen=True, slots=True)
class Seen:
    """One look of one caller at one programme; `home` is the unit they begin at."""

    deps: Deps
    queries: Queries
    figures: Figures
    t: Translator
    scope: Scope
    rules: Programme
    home: str
    now_ms: int
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.rules.time_zone)

    @property
    def today(self) -> date:
        return date.fromisoformat(self.rules.day_of(self.now_ms))

    @property
    def elapsed(self) -> float:
        """The share of the programme that is over, 0 to 1."""
        length = self.rules.ends_ms - self.rules.starts_ms
        return min(1.0, max(0.0, (self.now_ms - self.rules.starts_ms) / length)) if length else 1.0

    def local(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone)

    def day(self, moment: datetime | None) -> str:
        """`11-07`, with the year where it is not this one."""
        if moment is None:
            return self.t("none")
        local = self.local(moment)
        return f"{local:%m-%d}" if local.year == self.today.year else f"{local:%Y-%m-%d}"

    def minute(self, moment: datetime | None) -> str:
        return self.t("none") if moment is None else f"{self.day(moment)} {self.local(moment):%H:%M}"

    def days_since(self, moment: datetime) -> int:
        """Whole spans of 24 h, as the flags count them."""
        return max(0, self.now_ms - round(moment.timestamp() * 1000)) // 86_400_000

    def path(self, *parts: str) -> str:
        return "/".join(["/p", quote(self.rules.id), *(quote(part) for part in parts)])

    def unit_url(self, unit_id: str) -> str:
        return self.path("units", unit_id)

    def learner_url(self, learner_id: str) -> str:
        return self.path("learners", learner_id)

    def course(self, course_id: str) -> str:
        found = self.rules.courses.get(course_id)
        return self.t.title(dict(found.title)) if found else course_id

    def crumbs(self, path: Sequence[Mapping[str, Any]], link_last: bool = False) -> list[dict[str, str]]:
        """The units above, no higher than the caller's own."""
        ids = [unit["unit_id"] for unit in path]
        first = ids.index(self.scope.unit_id) if self.scope.unit_id in ids else 0
        return [
            {"name": unit["name"] or self.t("unnamed"), "url": self.unit_url(unit["unit_id"]) if link_last or n < len(path) - 1 else ""}
            for n, unit in enumerate(path)
            if n >= first
        ]

    def stamp(self, as_of: datetime) -> dict[str, str]:
        """As of when the page speaks; empty before anything was loaded."""
        if as_of.year < 1990:
            return {"iso": "", "text": ""}
        return {"iso": as_of.astimezone(UTC).isoformat().replace("+00:00", "Z"), "text": f"{self.local(as_of):%Y-%m-%d %H:%M:%S}"}

    def names(self, learner_ids: Iterable[str]) -> dict[str, str]:
        ids = list(learner_ids)
        known = self.deps.identity.names(ids)
        return {learner: known.get(learner, learner) for learner in ids}

    def places(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """`learner_id -> school · class`."""
        rows = list(rows)
        units = self.queries.unit_names({row[level] for row in rows for level in ("school_id", "class_id")})
        return {
            row["learner_id"]: " · ".join(name for level in ("school_id", "class_id") if (name := units.get(row[level], "")))
            or self.t("learner.noclass")
            for row in rows
        }

    def programme(self) -> dict[str, Any]:
        rules, t = self.rules, self.t
        if self.now_ms < rules.starts_ms:
            when = t("programme.before", starts=rules.starts)
        elif self.now_ms >= rules.ends_ms:
            when = t("programme.over", ends=rules.ends)
        else:
            first = date.fromisoformat(rules.starts)
            when = t("programme.day", day=(self.today - first).days + 1, days=len(rules.midnights_ms))
        return {
            "id": rules.id,
            "title": t.title(dict(rules.title)),
            "when": when,
            "zone": rules.time_zone,
            "rules": t("programme.rules", version=rules.rules_version),
        }

    def start_unit(self) -> str:
        """The unit asked for by `?unit=`, else where the caller begins."""
        return self.query.get("unit") or self.home


def latest(programmes: Mapping[str, Programme], among: Iterable[str]) -> str:
    """The programme that started last among those, else of all; `NotVisible` where there is none."""
    ids = [programme for programme in among if programme in programmes] or list(programmes)
    if not ids:
        raise NotVisible("no programme")
    return max(ids, key=lambda programme: (programmes[programme].starts_ms, programme))
