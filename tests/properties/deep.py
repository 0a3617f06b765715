"""`make test-deep`: numbered worlds by the ten thousands through every check, on all cores.

Prints how many event sets passed and how fast; of each that fails its number, the difference, and the world made small. One
number again: `python -m tests.properties.deep --only NUMBER`. Exit status 1 where anything failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from typing import NamedTuple

from tests.properties import checks
from tests.properties.worlds import SETS_A_PROGRAMME, World, message, nth

CHUNK = 20 * SETS_A_PROGRAMME
MOST_FAILURES = 20


class Failure(NamedTuple):
    number: int
    check: str
    what: str


class Done(NamedTuple):
    sets: int
    events: int
    failures: list[Failure]


def trouble(check: str, world: World) -> str | None:
    """What a check says against a world; None where nothing is wrong."""
    try:
        checks.CHECKS[check](world)
    except AssertionError as error:
        return str(error) or traceback.format_exc(limit=-2)
    except Exception:
        return traceback.format_exc()
    return None


def chunk(first: int, sets: int) -> Done:
    """Worlds `first` and following, each through every check."""
    events, failures = 0, []
    for number in range(first, first + sets):
        world = nth(number)
        events += len(world.events)
        for check in checks.CHECKS:
            what = trouble(check, world)
            if what is not None:
                failures.append(Failure(number, check, what))
    return Done(sets, events, failures)


def run(first: int, sets: int, workers: int, say: Callable[[str], None]) -> list[Failure]:
    """Run so many worlds on so many processes; `say` takes lines of progress. Gives up after some failures."""
    began = time.monotonic()
    done = events = 0
    failures: list[Failure] = []
    told = began
    with ProcessPoolExecutor(workers) as pool:
        starts = range(first, first + sets, CHUNK)
        waiting = [pool.submit(chunk, start, min(CHUNK, first + sets - start)) for start in starts]
        for future in as_completed(waiting):
            part = future.result()
            done, events = done + part.sets, events + part.events
            failures += part.failures
            for failure in part.failures:
                say(f"FAILED {failure.check} of {failure.number}: {failure.what}")
            now = time.monotonic()
            if now - told > 10 or done == sets:
                told, rate = now, done / (now - began)
                left = f", {(sets - done) / rate / 60:.0f} min left" if done < sets else ""
                say(f"{done:,} of {sets:,} sets ({events:,} events), {rate:.0f} a second, {len(failures)} failures{left}")
            if len(failures) >= MOST_FAILURES:
                say(f"given up after {len(failures)} failures")
                pool.shutdown(cancel_futures=True)
                break
    return failures


def smaller(check: str, world: World) -> World:
    """The world without every event and moment that the failure does not need."""
    progress = True
    while progress:
        progress = False
        size = max(len(world.events) // 2, 1)
        while size:
            at = 0
            while at < len(world.events) and len(world.events) > size:
                fewer = world.of(world.events[:at] + world.events[at + size :])
                if trouble(check, fewer) is not None:
                    world, progress = fewer, True
                else:
                    at += size
            size //= 2
        for moment in world.moments:
            if len(world.moments) > 1:
                fewer = replace(world, moments=tuple(m for m in world.moments if m != moment))
                if trouble(check, fewer) is not None:
                    world, progress = fewer, True
    return world


def show(check: str, world: World) -> str:
    """A failing world as text to reproduce it from."""
    small = smaller(check, world)
    lines = [f"--- {check}: {trouble(check, small)}", small.rules_text, f"moments {list(small.moments)}, seed {small.seed}"]
    return "\n".join([*lines, *(message(event).decode() for event in small.events)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.properties.deep", description=__doc__)
    parser.add_argument("--sets", type=int, default=100_000, help="event sets (default 100,000)")
    parser.add_argument("--first", type=int, default=1_000, help="number of the first")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help="one number, with the world where it fails")
    options = parser.parse_args()
    if options.only is not None:
        failures = chunk(options.only, 1).failures
    else:
        began = time.monotonic()
        failures = run(options.first, options.sets, options.workers, lambda text: print(text, flush=True))
        span = f"worlds {options.first} to {options.first + options.sets - 1}"
        print(f"{options.sets:,} sets ({span}) in {time.monotonic() - began:.0f} s, {len(failures)} failures")
    for failure in failures[:3]:
        print(show(failure.check, nth(failure.number)))
        print(f"again: python -m tests.properties.deep --only {failure.number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
