"""The geometry of charts and how numbers are written. Everything here is for the eye: floats are fine, nothing is summed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from services.reporting.web.texts import Translator

LEFT, RIGHT, TOP, BOTTOM = 36.0, 756.0, 20.0, 296.0
SQUARE, STEP, HEAD = 12, 15, 16


def count(n: int) -> str:
    """A number of people or things: `2,553`."""
    return f"{n:,}"


def hundredths(n: int, places: int = 2) -> str:
    """1/100 as text, cut to `places`: 3165 -> `31.65`, with one place `31.6`."""
    sign, n = ("-", -n) if n < 0 else ("", n)
    whole = f"{n // 100:,}"
    return sign + (whole if places == 0 else f"{whole}.{n % 100:02d}"[: len(whole) + 1 + places])


def tidy(n: int) -> str:
    """1/100 as text without trailing zeros: 2700 -> `27`, 750 -> `7.5`."""
    text = hundredths(n)
    return text.rstrip("0").rstrip(".")


def percent(part: int, whole: int) -> str:
    """`24.0%`; an empty whole is `0%`."""
    return f"{part * 1000 // whole / 10:.1f}%" if whole else "0%"


def share(part: int, whole: int) -> float:
    """0 to 100, for widths."""
    return round(min(100.0, part * 100 / whole), 2) if whole > 0 else 0.0


def spell(seconds: int, t: Translator) -> str:
    """A length of time in hours and minutes."""
    minutes = seconds // 60
    return t("time.hm", h=minutes // 60, m=minutes % 60) if minutes >= 60 else t("time.m", m=minutes)


def _ceiling(n: int) -> int:
    """The smallest round number at or above n that divides into four whole steps."""
    if n <= 4:
        return 4
    size = max(1, int("1" + "0" * (len(str(n)) - 2)))
    for factor in (12, 16, 20, 24, 32, 40, 60, 80):
        if factor * size >= n:
            return factor * size
    return 100 * size


def trend(rows: Sequence[Mapping[str, Any]], t: Translator) -> dict[str, Any]:
    """The trend chart of `{day, active_learners, credited_seconds}`, oldest first, the last being today."""
    values = [int(row["active_learners"]) for row in rows]
    top = _ceiling(max(values, default=0))
    step = (RIGHT - LEFT - 8) / max(1, len(rows) - 1)
    xs = [round(LEFT + 4 + n * step, 1) for n in range(len(rows))]
    ys = [round(BOTTOM - value / top * (BOTTOM - TOP), 1) for value in values]
    points = [f"{x},{y}" for x, y in zip(xs, ys, strict=True)]
    hits, weekends, labels = [], [], []
    for n, (row, x, y) in enumerate(zip(rows, xs, ys, strict=True)):
        day: date = row["day"]
        tip = t(
            "trend.tip",
            day=f"{day:%m-%d}",
            weekday=t(f"weekday.{day.weekday()}"),
            n=count(values[n]),
            hours=count(row["credited_seconds"] // 3600),
        )
        if n == len(rows) - 1:
            tip += "\n" + t("trend.today")
        hits.append({"left": round(x - step / 2, 1), "w": round(step, 1), "x": x, "y": y, "tip": tip})
        if day.weekday() >= 5:
            weekends.append({"x": round(x - step / 2, 1), "w": round(step, 1)})
        if (len(rows) - 1 - n) % 7 == 0:
            labels.append(
                {
                    "x": x,
                    "text": f"{day:%m-%d}",
                    "anchor": "end" if n == len(rows) - 1 else "middle",
                    "odd": "odd" if (len(rows) - 1 - n) % 14 else "",
                }
            )
    return {
        "days": len(rows),
        "grid": [{"y": round(BOTTOM - k / 4 * (BOTTOM - TOP), 1), "text": count(top * k // 4)} for k in range(5)],
        "line": " ".join(points[:-1] or points),
        "area": " ".join([f"{xs[0]},{BOTTOM}", *points, f"{xs[-1]},{BOTTOM}"]) if points else "",
        "x1": xs[-2] if len(xs) > 1 else LEFT,
        "y1": ys[-2] if len(ys) > 1 else BOTTOM,
        "x2": xs[-1] if xs else LEFT,
        "y2": ys[-1] if ys else BOTTOM,
        "hits": hits,
        "weekends": weekends,
        "labels": labels,
        "label": t("trend.label", days=len(rows), low=min(values, default=0), high=max(values, default=0), now=values[-1] if values else 0),
    }


def spark(values: Sequence[int]) -> dict[str, Any]:
    """A line of 96 x 24 for a table's cell."""
    top = max(max(values, default=0), 1)
    xs = [round(2 + n * 90 / max(1, len(values) - 1), 1) for n in range(len(values))]
    ys = [round(21 - value / top * 18, 1) for value in values]
    return {"points": " ".join(f"{x},{y}" for x, y in zip(xs, ys, strict=True)), "x": xs[-1], "y": ys[-1], "now": values[-1]}


def heat_level(seconds: int) -> int:
    """0 nothing, then under 20 minutes, under 45, under 90, and more."""
    return 0 if seconds <= 0 else 1 + sum(seconds >= minutes * 60 for minutes in (20, 45, 90))


def heat(days: Sequence[Mapping[str, Any]], first: date, today: date, t: Translator) -> dict[str, Any]:
    """The calendar of `{day, credited_seconds, active}` from `first` to `today`, a column a week, Monday on top."""
    known: dict[date, Mapping[str, Any]] = {row["day"]: row for row in days}
    first = min(first, *[day for day in known if day <= today], first)
    first = min(first, today - timedelta(weeks=15))
    start = first - timedelta(days=first.weekday())
    cells: list[dict[str, Any]] = []
    months: list[dict[str, Any]] = []
    for n in range((today - start).days + 1):
        day = start + timedelta(days=n)
        x, y = n // 7 * STEP + 1, n % 7 * STEP + HEAD
        if day.day == 1 or n == 0:
            text = t("month", m=day.month) if t.language == "zh" else f"{day:%b}"
            if len(months) == 1 and x - months[0]["x"] < 30:
                months.clear()  # a month of which only some days are shown makes room for the next
            months.append({"x": x, "text": text})
        row = known.get(day)
        seconds = int(row["credited_seconds"]) if row else 0
        act = bool(row and row["active"] and seconds == 0)
        key = "heat.tip" if seconds else "heat.tip.act" if act else "heat.tip.none"
        tip = t(key, day=f"{day:%Y-%m-%d}", weekday=t(f"weekday.{day.weekday()}"), time=spell(seconds, t))
        cells.append({"x": x, "y": y, "level": heat_level(seconds), "act": act, "today": day == today, "tip": tip})
    studied = [int(row["credited_seconds"]) for row in days if row["credited_seconds"] > 0]
    values = {"days": len(studied), "longest": spell(max(studied, default=0), t)}
    return {
        "cells": cells,
        "months": months,
        "size": SQUARE,
        "width": ((today - start).days // 7 + 1) * STEP + 2,
        "height": 7 * STEP + HEAD,
        "label": t("heat.label", **values),
        "summary": t("heat.summary", **values) if studied else t("heat.empty"),
    }
