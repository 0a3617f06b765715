"""`python -m tests.chaos` (`make chaos`): run seeds, print what each did and found. Exit status 1 where anything differs.

Seeds of one generation (`schedule.GENERATION`) share a stack; a seed alone (`--first N --runs 1`, `make chaos SEED=N`) has the same
load and the same schedule on a new one.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from services.shared.settings import ROOT
from tests.chaos.run import Outcome, Run, World
from tests.chaos.schedule import GENERATION
from tests.chaos.stack import Stack

PLANS = ("guopei-shaanxi-2023", "zhuozhou-2023")
SHOWN = 12


def generation(seeds: list[int], learners: int, recount: bool, say: Callable[[str], None]) -> list[Outcome]:
    """The seeds' outcomes, one after another on one stack; at the end also what `chalk reconcile` says."""
    folder = Path(tempfile.mkdtemp(prefix="chalk-chaos-"))
    texts = {name: (ROOT / "schemas" / "programmes" / f"{name}.yaml").read_text(encoding="utf-8") for name in PLANS}
    found = []
    try:
        with Stack(folder, texts) as stack:
            world = World(dict(texts))
            for seed in seeds:
                say(f"seed {seed}")
                outcome = Run(stack, world, seed, learners, say).run()
                found.append(outcome)
                tell(outcome, say)
                if outcome.differences:
                    break  # what differs would differ again in every later run
            if recount and not found[-1].differences:
                _reconcile(stack, found[-1], say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _reconcile(stack: Stack, outcome: Outcome, say: Callable[[str], None]) -> None:
    """The product's own recount has to agree as well."""
    environment = {f"CHALK_{name.upper()}": str(value) for name, value in stack.values.model_dump().items()}
    argv = [sys.executable, "-m", "services.cli", "reconcile", "--wait", "30", "--rounds", "2"]
    done = subprocess.run(argv, cwd=ROOT, env={**_clean(), **environment}, capture_output=True, text=True, timeout=120)
    lines = done.stdout.strip().splitlines() or [done.stderr[-300:]]
    say(f"  chalk reconcile: {lines[-1]}")
    if done.returncode:
        outcome.differences.append(f"chalk reconcile: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-500:]}")


def _clean() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("CHALK_")}


def tell(outcome: Outcome, say: Callable[[str], None]) -> None:
    say(
        f"  {outcome.events} events, {outcome.records} records in the log, {outcome.resent} requests sent again; {outcome.kills} killed, "
        f"{outcome.stops} stopped, {outcome.deaths} restarts; {sum(outcome.rows.values())} rows compared, "
        f"{len(outcome.differences)} differences, {outcome.seconds:.1f} s"
    )
    for text in outcome.differences[:SHOWN]:
        say(f"  ! {text}")
    if outcome.differences:
        say(f"  again: make chaos SEED={outcome.seed}")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    logging.disable()  # of clients whose servers are away, which is what this is about
    signal.signal(signal.SIGTERM, _stop)  # so that the stack goes away
    options = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--seeds", help="these instead, such as 4,17")
    options.add_argument("--learners", type=int, default=60, help="learners of one run")
    options.add_argument("--no-reconcile", action="store_true", help="leave out the product's own recount")
    options.add_argument("--stop", action="store_true", help="stop at the first seed that fails")
    given = options.parse_args()
    began = time.monotonic()
    found: list[Outcome] = []

    def say(text: str) -> None:
        print(text, flush=True)

    wanted = [int(one) for one in given.seeds.split(",")] if given.seeds else list(range(given.first, given.first + given.runs))
    for _, seeds in groupby(wanted, key=lambda seed: seed // GENERATION):
        found += generation(list(seeds), given.learners, not given.no_reconcile, say)
        if given.stop and found[-1].differences:
            break
    rows: Counter[str] = Counter()
    for outcome in found:
        rows.update(outcome.rows)
    failed = [outcome.seed for outcome in found if outcome.differences]
    say(
        f"\n{len(found)} of {len(wanted)} runs in {time.monotonic() - began:.0f} s: {sum(one.events for one in found)} events, "
        f"{sum(one.kills for one in found)} killed, {sum(one.stops for one in found)} stopped, "
        f"{sum(one.deaths for one in found)} restarts, "
        f"{sum(rows.values())} rows compared ({', '.join(f'{name} {n}' for name, n in sorted(rows.items()))}), "
        f"{sum(len(one.differences) for one in found)} differences; seeds that failed: {failed or 'none'}"
    )
    return 1 if failed or len(found) < len(wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
