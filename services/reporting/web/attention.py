"""Flags as the pages show them (badge, why in one line, last contact, whose turn), and the work list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.progress import KINDS
from services.reporting.api.figures import needed_seconds
from services.reporting.web.context import OWNERS, Seen, address
from services.reporting.web.shapes import hundredths

SEVERE_FIRST = ("escalation", "warning", "notice")
PAGE = 60
FIRST = {"escalation": 25, "warning": 15, "notice": 10}
"""Rows of a group where all groups are shown; the rest a click away."""
Row = Mapping[str, Any]


def badge(seen: Seen, flag: Row, learner: Row | None, needed: int) -> str:
    """The flag in two or three words."""
    t, kind = seen.t, flag["kind"]
    name = t.of("kind", kind)
    if kind == "inactive" and learner and learner["last_active_at"]:
        return t("badge.inactive", days=seen.days_since(learner["last_active_at"]))
    if kind == "behind" and learner and needed:
        under = round(seen.elapsed * 100 - learner["credited_seconds"] * 100 / needed)
        return t("badge.behind", percent=under) if under > 0 else name
    if kind == "exam_due":
        return t("badge.exam_due", days=max(0, seen.rules.ends_ms - seen.now_ms) // 86_400_000)
    days = seen.days_since(flag["raised_at"])
    return t("badge.days", kind=name, days=days) if kind in ("not_registered", "assignment_overdue") and days else name


def why(seen: Seen, flag: Row, learner: Row | None, needed: int) -> str:
    """Why this flag is open, in one line."""
    t, kind = seen.t, flag["kind"]
    hours = hundredths(seen.rules.study_hours(learner["credited_seconds"]), 1) if learner else t("none")
    if kind == "not_started" and learner:
        return t("why.not_started", when=seen.day(learner["registered_at"]))
    if kind == "inactive" and learner:
        return (
            t("why.inactive", when=seen.minute(learner["last_active_at"]), hours=hours)
            if learner["last_active_at"]
            else t("why.inactive.never")
        )
    if kind == "behind":
        if not needed:
            return t("why.behind.short", hours=hours)
        return t("why.behind", expected=hundredths(seen.rules.study_hours(int(needed * seen.elapsed)), 1), hours=hours)
    if kind in ("assignment_overdue", "exam_due"):
        return t(f"why.{kind}", course=seen.course(flag["ref"]), ends=seen.rules.ends[5:])
    if kind == "plagiarism_suspected":
        return t("why.plagiarism_suspected", ref=flag["ref"])
    return t.of("why", kind)


def turn_since(seen: Seen, flag: Row) -> datetime:
    """Since when it is this level's turn: the rule file's days after the flag, or after the last contact if that is later."""
    start: datetime = max(flag["raised_at"], flag["last_follow_up_at"] or flag["raised_at"])
    rules = seen.rules.attention
    after = {"county": rules.county_after_ms, "city": rules.city_after_ms}.get(flag["owner_level"]) or 0
    return min(start + timedelta(milliseconds=after), datetime.fromtimestamp(max(seen.now_ms / 1000, start.timestamp()), UTC))


def shown(seen: Seen, flags: Sequence[Row], learners: Mapping[str, Row], courses: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Rows of `needs_attention` for a template."""
    names = seen.names(dict.fromkeys(flag["learner_id"] for flag in flags))
    places = seen.places(flags)
    rows = []
    for flag in flags:
        learner_id = flag["learner_id"]
        needed = needed_seconds(seen.rules, dict.fromkeys(courses.get(learner_id, ()), 1))
        learner = learners.get(learner_id)
        last = ""
        if flag["last_follow_up_at"]:
            last = f"{seen.day(flag['last_follow_up_at'])} · {seen.t.of('outcome', flag['last_outcome'] or 'other')}"
        rows.append(
            {
                "key": "-".join(part for part in (learner_id, flag["kind"], flag["ref"]) if part),
                "learner_id": learner_id,
                "kind": flag["kind"],
                "ref": flag["ref"],
                "severity": flag["severity"],
                "name": names[learner_id],
                "place": places[learner_id],
                "url": seen.learner_url(learner_id),
                "badge": badge(seen, flag, learner, needed),
                "why": why(seen, flag, learner, needed),
                "last": last,
                "contacts": flag["follow_ups"],
                "owner": seen.t.of("owner", flag["owner_level"]),
                "since": seen.day(turn_since(seen, flag)),
            }
        )
    return rows


def rows_of(seen: Seen, flags: Sequence[Row]) -> list[dict[str, Any]]:
    """`shown`, with what it needs of the learners fetched."""
    ids = list(dict.fromkeys(flag["learner_id"] for flag in flags))
    return shown(seen, flags, seen.figures.rows(seen.rules.id, ids), seen.figures.selected(seen.rules.id, ids))


def tally(rows: Sequence[Row], owner: str | None = None, kind: str | None = None) -> dict[str, int]:
    """Open flags by severity, of `Figures.open_counts`."""
    counts = dict.fromkeys(SEVERE_FIRST, 0)
    for row in rows:
        if (owner is None or row["owner_level"] == owner) and (not kind or row["kind"] == kind):
            counts[row["severity"]] += row["n"]
    return counts


def mine_of(seen: Seen, path: Sequence[Row]) -> str | None:
    """The owner level that is the caller's own turn; None for those above city."""
    own = next((unit["level"] for unit in path if unit["unit_id"] == seen.scope.unit_id), "")
    return OWNERS.get(own)


def unit_options(seen: Seen, page: str, path: Sequence[Row], keep: Mapping[str, str]) -> list[dict[str, Any]]:
    """The unit shown, what lies above it as far as the caller sees, and its children."""
    ids = [unit["unit_id"] for unit in path]
    first = ids.index(seen.scope.unit_id) if seen.scope.unit_id in ids else 0
    children = seen.queries.children(seen.rules.id, seen.scope, ids[-1]).rows
    units = [(unit, n - first) for n, unit in enumerate(path) if n >= first] + [(child, len(path) - first) for child in children]
    return [
        {
            "name": "　" * depth + (unit["name"] or seen.t("unnamed")),
            "url": address(seen.path(page), **{**keep, "unit": unit["unit_id"]}),
            "current": unit["unit_id"] == ids[-1],
        }
        for unit, depth in units
    ]


def page(seen: Seen) -> dict[str, Any]:
    """The work list's view."""
    t, query, rules = seen.t, seen.query, seen.rules
    unit_id = seen.start_unit()
    path = seen.queries.visible_path(seen.scope, unit_id)
    mine = mine_of(seen, seen.queries.unit_path(seen.scope.unit_id) if not seen.scope.everything else [])
    kind = query.get("kind") if query.get("kind") in KINDS else None
    counts = seen.figures.open_counts(rules.id, seen.scope, unit_id)
    total = sum(tally(counts).values())
    mine_total = sum(tally(counts, mine).values()) if mine else 0
    owner = "mine" if mine and query.get("owner", "mine" if mine_total else "all") == "mine" else "all"
    level = mine if owner == "mine" else None
    chosen = query.get("severity") if query.get("severity") in SEVERE_FIRST else None
    keep = {name: query[name] for name in ("unit", "kind", "owner", "severity") if query.get(name)}
    here = seen.path("attention")
    severities = tally(counts, level, kind)
    wanted = [chosen] if chosen else [severity for severity in SEVERE_FIRST if severities[severity]]
    pages = {
        severity: seen.queries.attention(
            rules.id,
            seen.scope,
            unit_id,
            kind,
            severity,
            level,
            query.get("cursor") if chosen else None,
            PAGE if chosen else FIRST[severity],
        )
        for severity in wanted
    }
    rows = rows_of(seen, [row for found in pages.values() for row in found.rows])
    kinds = [
        {
            "text": t("kind.all"),
            "n": sum(tally(counts, level).values()),
            "url": address(here, **{**keep, "kind": ""}),
            "current": kind is None,
        }
    ]
    for name in KINDS:
        n = sum(tally(counts, level, name).values())
        if n or name == kind:
            kinds.append({"text": t.of("kind", name), "n": n, "url": address(here, **{**keep, "kind": name}), "current": kind == name})
    groups = []
    for severity, found in pages.items():
        own = [row for row in rows if row["severity"] == severity]
        more = address(here, **{**keep, "severity": severity}) if found.total > len(own) and not chosen else ""
        groups.append({"severity": severity, "n": found.total, "rows": own, "more": more})
    as_of = min((found.as_of for found in pages.values()), default=seen.queries.as_of("needs_attention"))
    next_cursor = pages[chosen].next_cursor if chosen else None
    people = seen.queries.severity_counts(rules.id, seen.scope, unit_id)
    return {
        "path": seen.crumbs(path, link_last=True),
        "stamp": seen.stamp(as_of),
        "counts": {"total": total, "mine": mine_total, "learners": people["learners"]},
        "has_mine": mine is not None,
        "owner": owner,
        "owner_links": {name: address(here, **{**keep, "owner": name}) for name in ("mine", "all")},
        "units": unit_options(seen, "attention", path, keep),
        "kinds": kinds,
        "severity_links": [
            {"text": t("attention.severity.all"), "url": address(here, **{**keep, "severity": ""}), "current": chosen is None}
        ]
        + [{"text": t(f"severity.{s}"), "url": address(here, **{**keep, "severity": s}), "current": chosen == s} for s in SEVERE_FIRST],
        "groups": [group for group in groups if group["rows"]],
        "pager": {
            "next": address(here, **{**keep, "cursor": next_cursor}) if next_cursor else "",
            "first": address(here, **keep) if query.get("cursor") else "",
        },
        "follow_url": f"/v1/programmes/{rules.id}/attention/follow-ups",
    }
