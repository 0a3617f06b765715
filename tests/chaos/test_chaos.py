"""`make chaos` as a test: five seeds on real servers. And without any: that a seed is a seed, and that mistakes can be planted."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from services.shared.settings import ROOT
from tests.chaos.__main__ import summary
from tests.chaos.load import load
from tests.chaos.planted import NEEDS, catalogue, suited
from tests.chaos.run import Outcome
from tests.chaos.schedule import GENERATION, WINDOWS, phases
from tests.chaos.shown import differences
from tests.mutants.__main__ import planted

SEEDS = range(200)


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_whatever_dies_every_row_is_right() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.chaos", "--runs", "5"], cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-1_000:]
    found = re.search(r"^5 of 5 seeds .*; (\d+) killed .*, (\d+) restarts; (\d+) rows compared .* 0 differences", done.stdout, re.MULTILINE)
    assert found, done.stdout[-3_000:]
    killed, restarts, rows = map(int, found.groups())
    assert killed >= 50 and restarts >= 40 and rows > 10_000
    assert "chalk reconcile: ClickHouse agrees with the log" in done.stdout


def test_a_seed_is_the_same_again() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "schemas" / "programmes").glob("*.yaml")}
    for seed in (0, 1, 17):
        assert phases(seed) == phases(seed)
        moments = [phase.start_ms for phase in phases(seed)]
        assert load(seed, texts, moments, 4) == load(seed, texts, moments, 4)
    assert phases(0) != phases(GENERATION)


def test_every_seed_kills_and_every_scene_is_played() -> None:
    scenes: Counter[str] = Counter()
    for seed in SEEDS:
        plan = phases(seed)
        assert sum(action.what == "SIGKILL" for phase in plan for action in phase.actions) >= 8
        starts = [phase.start_ms for phase in plan]
        assert starts == sorted(starts) and WINDOWS[seed % GENERATION] <= starts[0] and starts[-1] < WINDOWS[seed % GENERATION + 1]
        assert plan[-1].speed == 0  # else the end could not be compared
        scenes.update(scene.name for phase in plan for scene in phase.scenes)
    assert min(scenes.values()) >= 10
    assert {need.scene for need in NEEDS.values()} <= scenes.keys()


def test_mistakes_can_be_planted_and_have_seeds_that_suit_them() -> None:
    mistakes = catalogue()
    assert NEEDS.keys() <= mistakes.keys()
    for changes in mistakes.values():
        for change in changes:
            text = (ROOT / change.file).read_text(encoding="utf-8")
            assert planted(change, text) != text
    for name, need in NEEDS.items():
        first, *_ = suited(need, 2)
        assert need.scene in {scene.name for scene in phases(first)[need.phase].scenes}, name


def test_a_difference_is_named_and_counted() -> None:
    right = {("p", "a"): {"credits": 1, "hours": 2}, ("p", "b"): {"credits": 1, "hours": 2}}
    shown = {("p", "a"): {"credits": 1, "hours": 3}, ("p", "c"): {"credits": 1, "hours": 2}}
    found = differences("t", right, shown)
    assert found == ["t p a: hours is 3, not 2", "t p b: is missing", "t p c: is too much"]
    text = summary([Outcome(3, {"kafka": 2}, differences=found), Outcome(4, {"kafka": 1, "loader": 4}, rows={"t": 3})], 2, 9.0)
    assert "7 killed (kafka 3, loader 4)" in text and "3 differences; seeds that failed: [3]" in text
