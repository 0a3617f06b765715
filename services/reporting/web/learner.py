"""The learner's page reads as an explanation: points against their maximum, what is missing, what would be enough, one story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from schemas.programme import Mode
from schemas.progress import ITEM_COLUMNS
from services.reporting.api.figures import needed_seconds
from services.reporting.web.attention import shown
from services.reporting.web.context import Seen, address
from services.reporting.web.overview import tone
from services.reporting.web.say import Standing, by_hours, by_points, by_rulings, most, standing
from services.reporting.web.shapes import heat, hundredths, share, tidy
from services.reporting.web.story import story


def _count(seen: Seen, c: Standing, mode: Mode, item: str) -> str:
    t = seen.t
    if item == "study" and mode.study:
        return t(
            "count.study", have=hundredths(seen.rules.study_hours(c.seconds), 1), need=tidy(seen.rules.study_hours(mode.study.seconds))
        )
    if item == "assignments" and mode.assignments:
        return t("count.assignments", have=c.counts.get("assignments", 0), need=mode.assignments.count)
    if item == "interaction" and mode.interaction:
        return t("count.interaction", questions=c.counts.get("questions", 0), replies=c.counts.get("replies", 0))
    if item == "works" and mode.works:
        return t("count.works", have=c.counts.get("works", 0), need=mode.works.count)
    return ""


def course_card(seen: Seen, row: Mapping[str, Any], mode: Mode | None) -> dict[str, Any]:
    """One course: rows of points against their maximum, or hours against hours where the mode has no points."""
    t, rules = seen.t, seen.rules
    c = standing(row, mode)
    course = rules.courses[row["course_id"]]
    untouched = c.seconds == 0 and c.total == 0
    if mode is None:
        hours = rules.study_hours(c.seconds)
        done = c.seconds >= course.seconds
        say, say_tone = by_hours(c, course, rules, t)
        rows = [
            {
                "label": t("item.study"),
                "share": share(hours, course.hours),
                "full": done,
                "count": "",
                "value": f"{hundredths(hours)} / {tidy(course.hours)}",
            }
        ]
        if course.credits:
            rows.append(
                {
                    "label": t("learner.credits"),
                    "share": share(c.credits, course.credits),
                    "full": done,
                    "count": "",
                    "value": f"{hundredths(c.credits)} / {tidy(course.credits)}",
                }
            )
        state = "course.done" if done else "course.untouched" if untouched else "course.open"
        total, of = hundredths(hours), t("course.hours", hours=tidy(course.hours))
    else:
        ended, final = seen.now_ms >= rules.ends_ms, seen.now_ms >= rules.results_final_ms
        say, say_tone = (by_rulings(c, mode, final, t), "care") if ended and not c.passed else by_points(c, mode, rules, t)
        rows = []
        for item in ITEM_COLUMNS:
            top = most(mode, item)
            if top:
                have = c.points[item]
                rows.append(
                    {
                        "label": t(f"item.{item}"),
                        "share": share(have, top),
                        "full": have >= top,
                        "count": _count(seen, c, mode, item),
                        "value": f"{hundredths(have)} / {tidy(top)}",
                    }
                )
        sits = not ended and mode.exam is not None and mode.exam.gate_items is not None and c.gate_met and not c.points["exam"]
        state = "course.maysit" if sits else "course.untouched" if untouched else "course.open"
        state = "course.passed" if c.passed else "course.failed" if final else state
        total, of = hundredths(c.total), t("course.total", pass_at=tidy(mode.pass_at))
    tones = {"course.passed": "ok", "course.done": "ok", "course.maysit": "info"}
    return {
        "id": row["course_id"],
        "title": seen.course(row["course_id"]),
        "state": t(state),
        "tone": tones.get(state, "plain"),
        "done": state == "course.done",
        "may_sit": state == "course.maysit",
        "total": total,
        "of": of,
        "rows": rows,
        "say": say,
        "say_tone": say_tone,
    }


def overall(seen: Seen, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the programme's result still lacks."""
    t, rules = seen.t, seen.rules
    if row["result"] in ("passed", "excellent"):
        return [{"text": t("overall.passed"), "tone": "good"}]
    said = [{"text": t("overall.failed"), "tone": "care"}] if row["result"] == "failed" else []
    wanted = rules.passed
    if wanted.credited_seconds is not None:
        have, need = rules.study_hours(row["credited_seconds"]), rules.study_hours(wanted.credited_seconds)
        if row["credited_seconds"] >= wanted.credited_seconds:
            said.append({"text": t.html("overall.hours.met", need=tidy(need), have=hundredths(have)), "tone": "good"})
        else:
            said.append(
                {"text": t.html("overall.hours", need=tidy(need), have=hundredths(have), short=hundredths(need - have)), "tone": ""}
            )
    if wanted.every_selected:
        if row["courses_selected"]:
            said.append({"text": t.html("overall.every", have=row["courses_passed"], need=row["courses_selected"]), "tone": ""})
        else:
            said.append({"text": t("overall.every.none"), "tone": "care"})
    if wanted.accepted_works is not None:
        activity, n = wanted.accepted_works
        named = rules.activities.get(activity)
        said.append({"text": t.html("overall.works", need=n, activity=t.title(dict(named.title)) if named else activity), "tone": ""})
    return said


def accounts(seen: Seen, learner_id: str, row: Mapping[str, Any], courses: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What opens into an account: the learner as a whole, then each course. `state` changes whenever the learner's row does."""
    base, state = seen.path("learners", learner_id, "explain"), str(row.get("updated_at") or row["as_of"])
    whole = {"id": "whole", "title": seen.t("account.whole"), "sum": seen.t.of("result", row["result"]), "url": base, "state": state}
    return [
        whole,
        *(
            {
                "id": course["id"],
                "title": course["title"],
                "sum": f"{course['total']} {course['of']}",
                "url": address(base, course=course["id"]),
                "state": state,
            }
            for course in courses
        ),
    ]


def page(seen: Seen, learner_id: str) -> dict[str, Any]:
    t, rules, queries = seen.t, seen.rules, seen.queries
    row = queries.learner(rules.id, seen.scope, learner_id)
    person = seen.deps.identity.people([learner_id]).get(learner_id)
    mode = rules.modes.get(row["mode"])
    courses = [course_card(seen, course, mode) for course in row["courses"] if course["course_id"] in rules.courses]
    chosen = [course["course_id"] for course in row["courses"]]
    needed = needed_seconds(rules, dict.fromkeys(chosen, 1))
    hours, whole = rules.study_hours(row["credited_seconds"]), rules.study_hours(needed)
    expected = int(whole * seen.elapsed)
    part, due = share(hours, whole), share(expected, whole)
    told = story(seen, queries.timeline(rules.id, seen.scope, learner_id))
    days = queries.days(rules.id, seen.scope, learner_id)
    last = row["last_active_at"]
    ago = 0 if last is None else (seen.today - seen.local(last).date()).days
    note = "" if last is None else t("learner.today") if ago <= 0 else t("learner.yesterday") if ago == 1 else t("learner.ago", n=ago)
    result = "withdrawn" if row["withdrawn"] else row["result"]
    return {
        "person": {
            "id": learner_id,
            "name": person.name if person else learner_id,
            "mode": t.of("mode", row["mode"]),
            "contacts": [value for value in (person.phone, person.wechat, person.email) if value] if person else [],
        },
        "path": seen.crumbs(row["path"], link_last=True),
        "stamp": seen.stamp(row["as_of"]),
        "flags": shown(seen, row["flags"], {learner_id: row}, {learner_id: chosen}),
        "k": {
            "hours": hundredths(hours),
            "needed": tidy(whole) if whole else "",
            "share": part,
            "expected_share": due if whole else None,
            "expected": hundredths(expected, 1),
            "tone": tone(part, due),
            "tip": t("units.progress.tip", mean=hundredths(hours), expected=hundredths(expected, 1), needed=tidy(whole)),
            "passed": row["courses_passed"] if mode else sum(course["done"] for course in courses),
            "passed_label": t("learner.passed" if mode else "learner.complete"),
            "selected": row["courses_selected"],
            "may_sit": sum(course["may_sit"] for course in courses),
            "credits": hundredths(int(row["credits"] * 100)),
            "credits_of": tidy(sum(rules.courses[course].credits for course in chosen if course in rules.courses)),
            "last": seen.day(last) if last else t("learner.never"),
            "last_note": f"{seen.local(last):%H:%M} · {note}" if last else "",
            "result": t.of("result", result),
            "registered": t("learner.registered", when=seen.day(row["registered_at"]))
            if row["registered_at"]
            else t("learner.unregistered"),
        },
        "overall": overall(seen, row),
        "accounts": accounts(seen, learner_id, row, courses),
        "heat": heat(days, date.fromisoformat(rules.starts), seen.today, t),
        "courses": courses,
        "story": told,
        "follow_url": f"/v1/programmes/{rules.id}/attention/follow-ups",
    }
