"""`python -m tests.chaos.planted` (`make chaos-planted`): plant each mistake of `planted.txt`, and look by which seed the runs find it.

The tree is copied, the mistake planted in the copy, and seeds are run there until one fails: by a difference, a claim that is not
true, or a pipe that does not come to rest. Exit 0: all were found; 1: some were not; 2: one could not be planted.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tests.chaos.schedule import Phase, phases
from tests.mutants.__main__ import Unplantable, copied, planted
from tests.mutants.catalogue import Mutant, read

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path(__file__).with_name("planted.txt")
LINKED = ("node_modules", "deploy/local/jars")
SEED_SECONDS = 240


class Need(NamedTuple):
    """The scene in which a mistake shows, in which phase: what was lost in a phase that others follow may be made good there.

    `most`: the latest passing of a place at which somebody dies; `both`: whether the other worker is taken along; `state`: where scoring
    keeps its own.
    """

    scene: str
    phase: int = -1
    most: int = 9
    both: bool = False
    state: str = ""

    def has(self, phase: Phase) -> bool:
        scenes = [scene for scene in phase.scenes if scene.name == self.scene]
        counts = [int(place.partition(":")[2]) for place in phase.deaths.values()]
        return (
            bool(scenes)
            and max(counts, default=0) <= self.most
            and (not self.both or bool(scenes[0].taken))
            and phase.rules is None  # else everything is counted anew
            and self.state in ("", phase.state)
        )


NEEDS = {
    "meta-first": Need("after"), "outputs-apart": Need("after", 0), "no-skip": Need("after", 0), "stateless": Need("after", 0),
    "forgets-published": Need("after", 0), "reads-uncommitted": Need("before", both=True), "no-fencing": Need("halt"),
    "acks-first": Need("insert"), "early-freshness": Need("insert", 0), "lost-at-stop": Need("stop", 0),
    "outage-swallowed": Need("outage"), "promises-early": Need("storm", 0), "remembers-early": Need("late storm", 0),
    "early-watermark": Need("after", most=2, both=True), "disk-ahead": Need("before", both=True, state="rocksdb"),
    "stale-copy": Need("both", state="rocksdb"),
}  # fmt: skip
"""Seeds that have it are tried first; others find it as well, but later."""
REST = ("Trouble", "TimeoutError", "KafkaError")
"""How it is told that the pipe came to no rest. On a machine that is busy with other things that proves nothing."""


class Found(NamedTuple):
    """`seed`: which found it, None where none did; `how`: the first thing that was wrong."""

    name: str
    seed: int | None
    how: str
    seconds: float


def catalogue() -> dict[str, list[Mutant]]:
    """Mistake -> its changes."""
    every = sorted(read(CATALOGUE.read_text(encoding="utf-8"), CATALOGUE.name), key=lambda one: one.name)
    return {name: list(changes) for name, changes in groupby(every, key=lambda one: one.name)}


def suited(need: Need | None, most: int) -> list[int]:
    """Seeds whose schedule has the scene, those first that have it in its phase and are short."""

    def score(seed: int) -> tuple[bool, bool, int, int]:
        plan = phases(seed)
        others = sum(scene.name in ("broker", "storm", "late storm") for phase in plan for scene in phase.scenes)
        return (need is not None and not need.has(plan[need.phase]), need is not None and not any(map(need.has, plan)), len(plan), others)

    return sorted(range(400), key=score)[:most]


def copy(folder: Path, changes: Sequence[Mutant]) -> Path:
    """A tree with the changes. Raises Unplantable where a text is not in its file exactly once."""
    copied(folder)
    for name in LINKED:
        (folder / name).symlink_to((ROOT / name).resolve())
    for change in changes:
        path = folder / change.file
        path.write_text(planted(change, path.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def hunt(name: str, changes: Sequence[Mutant], seeds: int) -> Found:
    """Run seeds under a mistake until one fails."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chalk-planted-") as folder:
        tree = copy(Path(folder), changes)
        chosen = ",".join(map(str, suited(NEEDS.get(name), seeds)))
        argv = [sys.executable, "-m", "tests.chaos", "--seeds", chosen, "--stop", "--no-reconcile"]
        environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH" and not key.startswith("CHALK_")}
        with subprocess.Popen(
            argv, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as process:
            try:
                said, _ = process.communicate(timeout=seeds * SEED_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                said, _ = process.communicate()
            except BaseException:
                process.send_signal(signal.SIGTERM)
                process.communicate()
                raise
    wrong = re.search(rf"^  ! ((?!{'|'.join(REST)}).*)", said, re.MULTILINE)
    seen = re.findall(r"^seed (\d+)", said, re.MULTILINE)
    if wrong and seen:
        return Found(name, int(seen[-1]), wrong[1][:230], time.monotonic() - began)
    return Found(name, None, said[-400:] if process.returncode else "", time.monotonic() - began)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)  # so that the folders go away
    options = argparse.ArgumentParser(prog="python -m tests.chaos.planted", description=__doc__)
    options.add_argument("--only", metavar="PATTERN", default="", help="only mistakes whose name matches")
    options.add_argument("--seeds", type=int, default=24, help="most seeds a mistake")
    options.add_argument("--jobs", type=int, default=1, help="how many stacks at a time")
    given = options.parse_args()
    chosen = {name: changes for name, changes in catalogue().items() if re.search(given.only, name)}
    try:
        for change in (one for changes in chosen.values() for one in changes):
            planted(change, (ROOT / change.file).read_text(encoding="utf-8"))
    except Unplantable as error:
        print(error)
        return 2
    found = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for hunting in as_completed([pool.submit(hunt, name, changes, given.seeds) for name, changes in chosen.items()]):
            one = hunting.result()
            fate = f"seed {one.seed}" if one.seed is not None else "NOT FOUND"
            print(f"{one.name:20} {fate:10} {one.seconds:5.0f} s  {one.how}", flush=True)
            found.append(one)
    missed = [one.name for one in found if one.seed is None]
    print(f"\nfound {len(found) - len(missed)} of {len(found)}{': missed ' + ', '.join(missed) if missed else ''}")
    return 1 if missed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
