"""`python -m tests.chaos` (`make chaos`): run seeds, print what each did and found. Exit status 1 where anything differs.

Seeds of one generation (`schedule.GENERATION`) share a stack, in a process of its own (`one_stack.py`); a seed alone (`--first N --runs 1`,
`make chaos SEED=N`) has the same load and the same schedule on a new one. A seed that fails ends its stack, not the others: those
left are run on a new one.
"""

from __future__ import annotations

import argparse
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby

import msgspec

from services.shared.settings import ROOT
from tests.chaos.run import Outcome
from tests.chaos.schedule import GENERATION

SEED_SECONDS = 400.0
"""After so long without a word about a seed its process is ended."""
END_SECONDS = 90.0
TOLD = 10
"""Up to so many seeds, what each does is printed; else only of those that fail."""
SHOWN = 12


def report(outcome: Outcome, say: Callable[[str], None]) -> None:
    """A line, and what was wrong."""
    say(
        f"seed {outcome.seed}: {outcome.events} events, {outcome.records} records in the log, {outcome.resent} requests sent again; "
        f"{sum(outcome.killed.values())} killed, {outcome.stops} stopped, {outcome.restarts} restarts; "
        f"{sum(outcome.rows.values())} rows compared, {len(outcome.differences)} differences, {outcome.seconds:.1f} s"
    )
    if outcome.left_out:
        say(f"  LEFT OUT: {outcome.left_out} times the disk of scoring should have been full; mounting a tmpfs is not permitted here")
    for text in outcome.differences[:SHOWN]:
        say(f"  ! {text}")
    if outcome.differences:
        say(f"  again: make chaos SEED={outcome.seed}")


def outcomes(seeds: list[int], arguments: list[str], told: bool, say: Callable[[str], None]) -> Iterator[Outcome]:
    """The seeds' outcomes, one after another, whatever happens; after one that failed the rest is run by a new process."""
    left = list(seeds)
    while left:
        argv = [sys.executable, "-m", "tests.chaos.one_stack", "--seeds", ",".join(map(str, left)), *arguments]
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            for outcome in _heard(process, told, say, left):
                left.remove(outcome.seed)
                yield outcome
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)  # it puts its stack away
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(END_SECONDS)


def _heard(process: subprocess.Popen[str], told: bool, say: Callable[[str], None], seeds: list[int]) -> Iterator[Outcome]:
    """What a process says of its seeds; where it ends or falls silent before it has said anything, that of the first as failed."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    heard: list[str] = []
    left = len(seeds)
    while left:
        try:
            line = lines.get(timeout=SEED_SECONDS)
        except queue.Empty:
            line = None
        if line is None:
            broken = Outcome(seeds[0])
            process.send_signal(signal.SIGTERM)
            broken.differences.append("Broken: the process ended, or was silent, without an outcome:\n" + "\n".join(heard[-15:]))
            yield broken
            return
        if not line.startswith("{"):
            heard.append(line)
            if told:
                say(line)
            continue
        outcome = msgspec.json.decode(line, type=Outcome)
        if outcome.differences and not told:
            for one in heard:
                say(one)
        heard.clear()
        left -= 1
        yield outcome
        if outcome.differences:
            return


def summary(found: list[Outcome], wanted: int, seconds: float) -> str:
    rows: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    for outcome in found:
        rows.update(outcome.rows)
        killed.update(outcome.killed)

    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))

    failed = [outcome.seed for outcome in found if outcome.differences]
    return (
        f"\n{len(found)} of {wanted} seeds in {seconds:.0f} s: {sum(one.events for one in found)} events; "
        f"{sum(killed.values())} killed ({listed(killed)}), {sum(one.stops for one in found)} stopped, "
        f"{sum(one.restarts for one in found)} restarts; {sum(rows.values())} rows compared ({listed(rows)}); "
        f"{sum(len(one.differences) for one in found)} differences; seeds that failed: {failed or 'none'}"
    )


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)  # so that the stacks go away
    options = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--seeds", help="these instead, such as 4,17")
    options.add_argument("--jobs", type=int, default=1, help="how many stacks at a time")
    options.add_argument("--learners", type=int, default=60, help="learners of one run")
    options.add_argument("--no-reconcile", action="store_true", help="leave out the product's own recount")
    options.add_argument("--stop", action="store_true", help="stop at the first seed that fails")
    given = options.parse_args()
    began = time.monotonic()
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            print(text, flush=True)

    wanted = [int(one) for one in given.seeds.split(",")] if given.seeds else list(range(given.first, given.first + given.runs))
    arguments = ["--learners", str(given.learners), *(["--no-reconcile"] if given.no_reconcile else [])]
    stacks = [list(seeds) for _, seeds in groupby(wanted, key=lambda seed: seed // GENERATION)]
    found: list[Outcome] = []
    over = threading.Event()

    def work(seeds: list[int]) -> None:
        if over.is_set():
            return
        for outcome in outcomes(seeds, arguments, len(wanted) <= TOLD, say):
            found.append(outcome)
            report(outcome, say)
            if outcome.differences and given.stop:
                over.set()
            if over.is_set():
                return

    try:
        with ThreadPoolExecutor(given.jobs) as pool:
            for working in [pool.submit(work, seeds) for seeds in stacks]:
                working.result()
    except BaseException:
        over.set()
        raise
    finally:
        say(summary(sorted(found, key=lambda one: one.seed), len(wanted), time.monotonic() - began))
    return 1 if any(one.differences for one in found) or len(found) < len(wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
