"""The list of learners: search, filters, sorts, pages by cursor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.progress import KINDS
from services.reporting.api.figures import STATES, needed_seconds
from services.reporting.web.attention import badge
from services.reporting.web.context import Seen, address
from services.reporting.web.overview import tone
from services.reporting.web.shapes import hundredths, share, tidy

PAGE = 50
SORTS = ("-last_active_at", "last_active_at", "credited_seconds", "-credited_seconds", "-courses_passed", "learner_id")
SORT_TEXTS = {
    "credited_seconds": "learners.hours",
    "last_active_at": "learners.last",
    "courses_passed": "learners.courses",
    "learner_id": "attention.who",
}
TONES = {"passed": "ok", "excellent": "ok", "failed": "escalation", "flagged": "plain", "on_track": "info"}


def state_of(row: Mapping[str, Any]) -> str:
    """Where the learner stands, as `Figures` has it; an excellent one is told apart."""
    if row["result"] in ("passed", "excellent", "failed"):
        return str(row["result"])
    if row["registered_at"] is None:
        return "unregistered"
    if row["started_at"] is None:
        return "unstarted"
    return "flagged" if row["flags"] else "on_track"


def page(seen: Seen) -> dict[str, Any]:
    t, query, rules = seen.t, seen.query, seen.rules
    unit_id = seen.start_unit()
    path = seen.queries.visible_path(seen.scope, unit_id)
    state = query.get("state", "") if query.get("state") in STATES else ""
    flag = query.get("flag") if query.get("flag") in KINDS else None
    sort = query.get("sort", "") if query.get("sort") in SORTS else SORTS[0]
    q = query.get("q", "").strip()[:100]
    found = seen.figures.learners(rules.id, seen.scope, state, unit_id, flag, q or None, sort, query.get("cursor"), PAGE)
    courses = seen.figures.selected(rules.id, [row["learner_id"] for row in found.rows])
    names = seen.names(row["learner_id"] for row in found.rows)
    places = seen.places(found.rows)
    keep = {name: query[name] for name in ("unit", "state", "flag", "sort", "q") if query.get(name)}
    here = seen.path("learners")
    rows = []
    for row in found.rows:
        learner_id = row["learner_id"]
        needed = needed_seconds(rules, dict.fromkeys(courses.get(learner_id, ()), 1))
        hours, whole = rules.study_hours(row["credited_seconds"]), rules.study_hours(needed)
        expected = int(whole * seen.elapsed)
        part, due = share(hours, whole), share(expected, whole)
        flags = [{**f, "learner_id": learner_id} for f in row["flags"]][:2]
        rows.append(
            {
                "id": learner_id,
                "name": names[learner_id],
                "place": places[learner_id],
                "url": seen.learner_url(learner_id),
                "state": t("result.excellent") if state_of(row) == "excellent" else t(f"funnel.{state_of(row)}"),
                "tone": TONES.get(state_of(row), "plain"),
                "share": part,
                "expected": due if whole else None,
                "bar_tone": tone(part, due),
                "tip": t("units.progress.tip", mean=hundredths(hours), expected=hundredths(expected, 1), needed=tidy(whole)),
                "hours": hundredths(hours),
                "needed": tidy(whole),
                "passed": row["courses_passed"],
                "selected": row["courses_selected"],
                "credits": hundredths(int(row["credits"] * 100)),
                "last": seen.minute(row["last_active_at"]),
                "flags": [{"severity": f["severity"], "badge": badge(seen, f, row, needed)} for f in flags],
            }
        )

    standing = seen.figures.standing(rules.id, seen.scope, unit_id)

    def option(text: str, current: bool, **change: str) -> dict[str, Any]:
        return {"text": text, "current": current, "url": address(here, **{**keep, **change})}

    states = [{**option(t("learners.state.all"), not state, state=""), "n": sum(standing.values())}]
    states += [
        {**option(t(f"funnel.{name}"), state == name, state=name), "n": standing[name]}
        for name in STATES
        if standing[name] or name == state
    ]
    arrow = {False: "↑", True: "↓"}
    return {
        "path": seen.crumbs(path, link_last=True),
        "stamp": seen.stamp(found.as_of),
        "total": found.total,
        "q": q,
        "kept": [(name, value) for name, value in keep.items() if name != "q"],
        "states": states,
        "flags": [option(t("kind.all"), flag is None, flag="")] + [option(t.of("kind", name), flag == name, flag=name) for name in KINDS],
        "sorts": [
            option(t("learners.sort", column=t(SORT_TEXTS[name.lstrip("-")])) + " " + arrow[name.startswith("-")], sort == name, sort=name)
            for name in SORTS
        ],
        "filtered": bool(q or state or flag),
        "clear": address(here, unit=query.get("unit")),
        "rows": rows,
        "pager": {
            "next": address(here, **{**keep, "cursor": found.next_cursor}) if found.next_cursor else "",
            "first": address(here, **keep) if query.get("cursor") else "",
        },
    }
