"""Whether schools have the tutors that the programme asks for (DOMAIN S10; docs/rules.md, Tutors).

Learners come from `marts.learner_progress`, tutors from `store.staff`, the folded directory. SQL and scope as in `queries.py`.
"""

from __future__ import annotations

from schemas.programme import Programme
from services.reporting.api.queries import Queries, Row
from services.reporting.api.scope import Scope, below

BREACHES = ("too_few", "too_many")


def breach_of(rules: Programme, learners: int, assigned: int) -> str | None:
    """`too_few`, `too_many` (more than required, and each with fewer learners than the least) or None."""
    if rules.tutors is None or not learners:
        return None
    required = rules.tutors.required(learners)
    if assigned < required:
        return "too_few"
    return "too_many" if assigned > required and learners < rules.tutors.at_least * assigned else None


def staffing(queries: Queries, rules: Programme, scope: Scope, unit_id: str) -> Row:
    """`{path, as_of, rule, learners, required, assigned, too_few, too_many, schools}` of a unit and below.

    `schools [{school_id, name, learners, required, assigned, learners_each, breach}]`: those with learners, breaches first, then by name;
    `learners_each` is rounded up, None without a tutor. `required`, `assigned` are their sums (a tutor of two schools counts in both),
    `too_few`, `too_many` how many schools are in breach. A programme without the rule has `rule` None, nothing required and no breach;
    a class has no schools. Raises `NotVisible`.
    """
    path = queries.visible_path(scope, unit_id)
    as_of = queries.as_of("learner_progress")
    condition, params = below(unit_id, "unit")
    params = {"p": rules.id, **params}
    learners: dict[str, int] = {}
    if path[-1]["level"] != "class":
        rows = queries.pool.rows(
            f"SELECT school_id, count() AS n FROM marts.learner_progress WHERE programme = %(p)s AND {condition} "
            "AND withdrawn = 0 AND school_id != '' GROUP BY school_id",
            params,
        )
        learners = {row["school_id"]: row["n"] for row in rows}
    tutors = _tutors(queries, rules.id) if learners else {}
    names = queries.unit_names(learners)
    schools: list[Row] = []
    for school_id, n in learners.items():
        assigned = tutors.get(school_id, 0)
        schools.append(
            {
                "school_id": school_id,
                "name": names.get(school_id, ""),
                "learners": n,
                "required": rules.tutors.required(n) if rules.tutors else 0,
                "assigned": assigned,
                "learners_each": -(-n // assigned) if assigned else None,
                "breach": breach_of(rules, n, assigned),
            }
        )
    order = {breach: n for n, breach in enumerate(BREACHES)}
    schools.sort(key=lambda school: (order.get(school["breach"], len(order)), school["name"], school["school_id"]))
    rule = rules.tutors
    return {
        "path": path,
        "as_of": as_of,
        "rule": {"at_least": rule.at_least, "at_most": rule.at_most, "school": [list(step) for step in rule.school]} if rule else None,
        **{name: sum(school[name] for school in schools) for name in ("learners", "required", "assigned")},
        **{breach: sum(school["breach"] == breach for school in schools) for breach in BREACHES},
        "schools": schools,
    }


def _tutors(queries: Queries, programme: str) -> dict[str, int]:
    """school -> people assigned as tutor to it or to one of its classes."""
    mine = "programme = %(p)s AND role = 'tutor' AND assigned = 1"
    rows = queries.pool.rows(
        f"SELECT school, uniqExact(staff_id) AS n FROM (SELECT staff_id, unit_id AS school FROM store.staff FINAL WHERE {mine} "
        "UNION ALL SELECT s.staff_id AS staff_id, c.school_id AS school "
        f"FROM (SELECT staff_id, unit_id FROM store.staff FINAL WHERE {mine}) AS s "
        "INNER JOIN store.class_paths AS c ON c.class_id = s.unit_id) GROUP BY school",
        {"p": programme},
    )
    return {row["school"]: row["n"] for row in rows}
