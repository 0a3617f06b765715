"""One line of time out of events and changes of flags: study of a day put together, visits that say nothing left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.reporting.web.context import Seen
from services.reporting.web.shapes import percent, spell

LONGEST = 200
TONES = {
    "study.recorded": "study",
    "learner.registered": "good",
    "learner.reinstated": "good",
    "certificate.issued": "good",
    "exam.marked": "good",
    "follow_up.recorded": "contact",
    "reminder.delivered": "contact",
    "reminder.failed": "contact",
    "learner.withdrawn": "escalation",
    "plagiarism.ruled": "flag",
}


def _seconds(data: Mapping[str, Any]) -> int:
    try:
        return round((datetime.fromisoformat(data["ended_at"]) - datetime.fromisoformat(data["started_at"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return 0


def _score(data: Mapping[str, Any]) -> str:
    try:
        return percent(round(float(data["score"]) * 10_000), 10_000)
    except (KeyError, TypeError, ValueError):
        return "—"


def _event(seen: Seen, row: Mapping[str, Any]) -> tuple[str, str]:
    """Text and note of one event that is not study."""
    t, kind, data = seen.t, row["type"], row["data"]
    course = seen.course(row["course_id"] or data.get("course_id") or "")
    if kind == "post.published":
        return t.of("story", f"post.{data.get('kind', 'published')}", kind).format(course=course), ""
    if kind == "work.reviewed":
        return t.of("story", f"work.{data.get('verdict', '')}", kind), ""
    if kind == "work.published" and not course and data.get("activity_id") in seen.rules.activities:
        course = t.title(dict(seen.rules.activities[data["activity_id"]].title))
    if kind == "plagiarism.ruled":
        return t.of("story", f"plagiarism.{data.get('verdict', '')}", kind), ""
    channel = t.of("channel", str(data.get("channel") or "other"))
    if kind == "follow_up.recorded":
        who = t("story.by", who=data["staff_id"]) if data.get("staff_id") else ""
        note = " · ".join(part for part in (str(data.get("note") or ""), who) if part)
        return t("story.follow_up.recorded", channel=channel, outcome=t.of("outcome", str(data.get("outcome")))), note
    note = str(data.get("reason") or "") if kind == "reminder.failed" else ""
    return t.of("story", kind, kind).format(course=course, channel=channel, percent=_score(data)), note


def _change(seen: Seen, row: Mapping[str, Any]) -> tuple[str, str]:
    """Text and tone of a change of a flag."""
    t = seen.t
    kind = t.of("kind", row["kind"]) + (f"（{seen.course(row['ref'])}）" if row["ref"] in seen.rules.courses else "")
    severity = t.of("severity", row["severity"])
    text = t.of("story", f"flag.{row['change']}", row["change"]).format(
        severity=severity, owner=t.of("owner", row["owner_level"]), kind=kind
    )
    if row["change"] in ("cleared", "retracted"):
        return text, "good"
    return text, "escalation" if row["severity"] == "escalation" else "flag"


def story(seen: Seen, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The timeline, latest first, for a template."""
    told: list[dict[str, Any]] = []
    studied: dict[tuple[str, str], dict[str, Any]] = {}
    busy = {seen.local(row["at"]).date() for row in rows if row["what"] == "flag" or row.get("type") != "platform.visited"}
    visited = set()
    for row in rows:
        local = seen.local(row["at"])
        entry: dict[str, Any] = {"iso": local.isoformat(), "when": seen.minute(row["at"]), "note": "", "tone": "act"}
        if row["what"] == "flag":
            entry["text"], entry["tone"] = _change(seen, row)
        elif row["type"] == "study.recorded":
            key = (str(local.date()), row["course_id"])
            known = studied.get(key)
            if known:
                known["seconds"] += _seconds(row["data"])
                known["n"] += 1
                continue
            studied[key] = entry
            entry |= {"seconds": _seconds(row["data"]), "n": 1, "course": seen.course(row["course_id"]), "tone": "study"}
        elif row["type"] == "platform.visited":
            if local.date() in busy or local.date() in visited:
                continue
            visited.add(local.date())
            entry["text"] = seen.t("story.platform.visited")
        else:
            entry["text"], entry["note"] = _event(seen, row)
            entry["tone"] = TONES.get(row["type"], "act")
        told.append(entry)
    for entry in studied.values():
        text = "story.study.recorded" if entry["n"] == 1 else "story.study.many"
        entry["text"] = seen.t(text, time=spell(entry["seconds"], seen.t), n=entry["n"], course=entry["course"])
    return told[:LONGEST]
