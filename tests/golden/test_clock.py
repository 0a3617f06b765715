"""`CHALK_CLOCK` in each of its forms, by the contract's "Commands" page."""

from __future__ import annotations

import time

import pytest

from services.shared.clock import parse_clock

ANCHOR_MS = 1_795_507_200_000  # 2026-11-24T08:00:00Z
START_MS = 1_685_548_800_000  # 2023-06-01T00:00:00+08:00
START, ANCHOR = "2023-06-01T00:00:00+08:00", "2026-11-24T08:00:00Z"


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The machine's clock, in ms, to be set."""
    moment = [ANCHOR_MS]
    monkeypatch.setattr(time, "time_ns", lambda: moment[0] * 1_000_000 + 999_999)
    return moment


def test_the_systems_clock(real: list[int]) -> None:
    for later in (0, 1, 86_400_000):
        real[0] = ANCHOR_MS + later
        assert parse_clock("system").now() == ANCHOR_MS + later
    assert parse_clock("system").text() == "system"


@pytest.mark.parametrize(
    ("speed", "real_ms", "clock_ms"),
    [
        ("3600", 0, 0),
        ("3600", 1000, 3_600_000),  # one real second is an hour
        ("3600", 1, 3600),
        ("3600", -1000, -3_600_000),  # before the anchor
        ("1", 1500, 1500),
        ("0.5", 3000, 1500),
        ("0", 1_000_000_000, 0),  # stands still
    ],
)
def test_so_many_clock_seconds_pass_in_each_real_one(real: list[int], speed: str, real_ms: int, clock_ms: int) -> None:
    found = parse_clock(f"{START}@{speed}/{ANCHOR}")
    real[0] = ANCHOR_MS + real_ms
    assert found.now() == START_MS + clock_ms
    assert parse_clock(found.text()).now() == START_MS + clock_ms


def test_without_an_anchor_it_is_anchored_once_and_handed_on(real: list[int]) -> None:
    found = parse_clock(f"{START}@60")
    assert found.now() == START_MS
    real[0] = ANCHOR_MS + 2000
    assert found.now() == START_MS + 120_000
    assert found.text() == "2023-05-31T16:00:00.000Z@60/2026-11-24T08:00:00.000Z"
    assert parse_clock(found.text()).now() == START_MS + 120_000  # another process, started later
    assert parse_clock(f"{START}@60").now() == START_MS  # whereas the same text again is another clock


@pytest.mark.parametrize(
    "text", ["2023-06-01t00:00:00+08:00@1/2026-11-24t08:00:00z", "2023-05-31T16:00:00.000Z@1.0/2026-11-24T16:00:00+08:00"]
)
def test_offsets_and_letters_as_in_events(real: list[int], text: str) -> None:
    assert parse_clock(text).now() == START_MS


@pytest.mark.parametrize("speed", ["1000000", "1234567", "86400.25", "0.00001", "0.1", "100000"])
def test_every_speed_reaches_the_other_processes(real: list[int], speed: str) -> None:
    found = parse_clock(f"{START}@{speed}/{ANCHOR}")
    again = parse_clock(found.text())
    assert (again.speed, again.start_ms, again.anchor_ms) == (float(speed), START_MS, ANCHOR_MS)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "neither"),
        ("System", "neither"),
        ("2023-06-01T00:00:00+08:00", "neither"),
        (f"{START}@-1/{ANCHOR}", "neither"),
        (f"{START}@1e3/{ANCHOR}", "neither"),
        (f"{START}@/{ANCHOR}", "neither"),
        (f"2023-06-01T00:00:00@1/{ANCHOR}", "START"),
        (f"2023-06-01T00:00:60+08:00@1/{ANCHOR}", "START"),
        (f"2023-06-31T00:00:00+08:00@1/{ANCHOR}", "START"),
        (f"{START}@1/2026-11-24T08:00:00", "ANCHOR"),
        (f"{START}@1/tomorrow", "ANCHOR"),
    ],
)
def test_what_is_no_clock_is_refused_with_its_part(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"CHALK_CLOCK: .*{part}"):
        parse_clock(text)
