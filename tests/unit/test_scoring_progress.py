"""What scoring says of how long a recovery or a rebuild takes: of all its partitions together, since one may be read before the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.scoring import metrics
from services.scoring.metrics import SAY_SECONDS, _Bars


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Every line: what, partitions, done, of, seconds left. The module's own logger may be bound to another test's output by now."""
    lines: list[tuple[Any, ...]] = []

    def info(what: str, **values: Any) -> None:
        assert list(values) == ["partitions", "done", "of", "seconds_left"]
        lines.append((what, *values.values()))

    monkeypatch.setattr(metrics, "_log", SimpleNamespace(info=info))
    return lines


def test_what_is_left_is_that_of_all_partitions(clock: list[float], said: list[Any]) -> None:
    bars = _Bars()
    for partition in range(4):
        bars.told("counting anew", partition, 500, 1_500)
    for second in range(1, 5):  # one partition alone, at 250 a second
        clock[0] = 100.0 + second
        bars.told("counting anew", 2, 500 + 250 * second, 1_500)
    clock[0] = 110.0
    bars.told("counting anew", 0, 1_500, 1_500)
    assert said == [
        ("counting anew", [0, 1, 2, 3], 2_750, 6_000, 13),  # 3,250 of 4,000 are left after 3 s
        ("counting anew", [1, 3], 4_000, 6_000, 10),  # 2,000 in 10 s, 2,000 to go
    ]


def test_what_is_over_is_forgotten_and_begins_anew(clock: list[float], said: list[Any]) -> None:
    bars = _Bars()
    bars.told("recovering", 1, 0, 10)
    bars.told("counting anew", 1, 0, 100)
    bars.told("recovering", 1, 10, 10)
    clock[0] += 50
    bars.told("recovering", 1, 0, 10)
    clock[0] += SAY_SECONDS
    bars.told("recovering", 1, 5, 10)
    assert said == [("recovering", [1], 5, 10, round(SAY_SECONDS))]


def test_a_partition_that_goes_elsewhere_is_not_waited_for(clock: list[float], said: list[Any]) -> None:
    bars = _Bars()
    for partition in (1, 2):
        bars.told("counting anew", partition, 0, 100)
    bars.gone(2)
    clock[0] += 4
    bars.told("counting anew", 1, 50, 100)
    bars.gone(1)
    bars.gone(1)
    clock[0] += 4
    bars.told("counting anew", 1, 50, 100)
    clock[0] += 1
    bars.told("counting anew", 1, 60, 100)
    assert said == [("counting anew", [1], 50, 100, 4)]


def test_nothing_to_do_is_not_told(clock: list[float], said: list[Any]) -> None:
    bars = _Bars()
    bars.told("recovering", 1, 0, 0)
    clock[0] += 60
    bars.told("recovering", 1, 0, 0)
    assert said == []
