"""`python -m tests.chaos.one_stack --seeds 5,6,7`: some seeds on one stack, one after another. What `__main__` runs for each generation.

Says what happens in lines, and of each seed its outcome in one line of JSON. Stops after a seed that fails: what differs would differ
again in every later run. The logs of one that failed are kept.
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
from pathlib import Path

import msgspec

from services.shared.settings import ROOT
from tests.chaos.run import Outcome, Run, World
from tests.chaos.schedule import phases
from tests.chaos.stack import Stack

PLANS = ("guopei-shaanxi-2023", "zhuozhou-2023")
KEPT = Path(tempfile.gettempdir()) / "chalk-chaos-failed"


def say(text: str) -> None:
    print(text, flush=True)


def tell(outcome: Outcome) -> None:
    say(msgspec.json.encode(outcome).decode())


def run(seeds: list[int], learners: int, recount: bool) -> None:
    """The seeds on a new stack; at the end also what `chalk reconcile` says."""
    folder = Path(tempfile.mkdtemp(prefix="chalk-chaos-"))
    texts = {name: (ROOT / "schemas" / "programmes" / f"{name}.yaml").read_text(encoding="utf-8") for name in PLANS}
    try:
        small_disk = any(scene.name == "full" for seed in seeds for phase in phases(seed) for scene in phase.scenes)
        with Stack(folder, texts, small_disk) as stack:
            world = World(dict(texts))
            for seed in seeds:
                say(f"seed {seed}")
                outcome = Run(stack, world, seed, learners, say).run()
                if recount and seed == seeds[-1] and not outcome.differences:
                    _reconcile(stack, outcome)
                if outcome.differences or "CHAOS_KEEP" in os.environ:
                    _keep(folder, seed)
                tell(outcome)
                if outcome.differences:
                    break
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, seed: int) -> None:
    target = KEPT / f"{seed}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "logs", target)
    say(f"  logs: {target}")


def _reconcile(stack: Stack, outcome: Outcome) -> None:
    """The product's own recount has to agree as well."""
    environment = {f"CHALK_{name.upper()}": str(value) for name, value in stack.values.model_dump().items()}
    argv = [sys.executable, "-m", "services.cli", "reconcile", "--wait", "30", "--rounds", "2"]
    clean = {name: text for name, text in os.environ.items() if not name.startswith("CHALK_")}
    done = subprocess.run(argv, cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True, timeout=120)
    lines = done.stdout.strip().splitlines() or [done.stderr[-300:]]
    say(f"  chalk reconcile: {lines[-1]}")
    if done.returncode:
        outcome.differences.append(f"chalk reconcile: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-500:]}")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    logging.disable()  # of clients whose servers are away, which is what this is about
    signal.signal(signal.SIGTERM, _stop)  # so that the stack goes away
    options = argparse.ArgumentParser(prog="python -m tests.chaos.one_stack", description=__doc__)
    options.add_argument("--seeds", required=True, help="such as 4,17")
    options.add_argument("--learners", type=int, default=60, help="learners of one run")
    options.add_argument("--no-reconcile", action="store_true", help="leave out the product's own recount")
    given = options.parse_args()
    run([int(one) for one in given.seeds.split(",")], given.learners, not given.no_reconcile)


if __name__ == "__main__":
    main()
