"""`python -m tests.mutants`: plant each fault of the catalogue, one at a time, and see whether the fast tests catch it.

The tree that the tests need is copied, once a worker; the checkout is never touched. First the copy as it stands has to pass.
A mutant is caught where a test fails under it, or where the tests take several times as long as without it. Exit 0: all
caught; 1: some were not; 2: a fault could not be planted (its text is not there exactly once), or broke more than a test.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.mutants.catalogue import Mutant, read_all

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("schemas", "services", "deploy", "tests", "pyproject.toml")
# What kills most of them within a second or two comes first; what needs longer to start sees only who is left.
STAGES = (
    ("tests/golden", "tests/regression"),
    (
        "tests/unit/test_core_edges.py",
        "tests/unit/test_core_attention.py",
        "tests/unit/test_programme.py",
        "tests/unit/test_reading_items.py",
        "tests/unit/test_reading_records.py",
    ),
    ("tests/properties/test_retraction.py", "tests/properties/test_agreement.py::test_numbered_worlds"),
)
READER_STAGES = (("tests/unit/test_quick_reader.py", "tests/unit/test_quick_columns.py", "tests/unit/test_quick_days.py"),)
"""For faults of the compiled reader."""
LONGER = 5  # times as long as without it: then a mutant hangs


class Outcome(NamedTuple):
    """`fate` is caught, survived or broken; `by` the first test that failed, or what went wrong."""

    fate: str
    by: str
    seconds: float


class Unplantable(Exception):
    """The text of a mutant is not in its file exactly once, or what it makes is no Python."""


def planted(mutant: Mutant, text: str) -> str:
    """The file's text with the fault. Raises Unplantable."""
    times = text.count(mutant.old)
    if times != 1:
        raise Unplantable(f"{mutant.name}: its text is {times} times in {mutant.file}, not once: {mutant.old!r}")
    made = text.replace(mutant.old, mutant.new)
    if mutant.file.endswith(".pyx"):
        return made
    try:
        compile(made, mutant.file, "exec")
    except SyntaxError as error:
        raise Unplantable(f"{mutant.name}: makes no Python of {mutant.file}: {error}") from None
    return made


def check(mutants: list[Mutant]) -> list[str]:
    """Everything wrong with the catalogue itself."""
    wrong = [f"{name}: comes twice" for name in {one.name for one in mutants if sum(other.name == one.name for other in mutants) > 1}]
    for one in mutants:
        try:
            planted(one, (ROOT / one.file).read_text(encoding="utf-8"))
        except (Unplantable, OSError) as error:
            wrong.append(str(error))
    return wrong


def copied(folder: Path) -> Path:
    """What the tests need, as a tree of its own."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules", "jars", "target"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def forget(tree: Path, path: Path) -> None:
    """A compiled file knows its source by size and second of change: within one second it could stay. Raises Unplantable."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
    if path.suffix == ".pyx":
        argv = [sys.executable, ROOT / "deploy" / "reader.py", tree, tree, str(path.relative_to(tree))]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Unplantable(f"{path.name} can't be compiled: {done.stdout[-300:]}")


def run(tree: Path, stage: tuple[str, ...], limit: float | None) -> tuple[int | None, str, float]:
    """(exit status, or None where it took longer than `limit` seconds; what pytest said; seconds)."""
    argv = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-W", "ignore", *stage]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # these tests need none, and each costs at every start
    started = time.monotonic()
    with subprocess.Popen(
        argv, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, "", time.monotonic() - started
    return process.returncode, said, time.monotonic() - started


def judged(mutant: Mutant, tree: Path, limits: dict[tuple[str, ...], float]) -> Outcome:
    """Plant, run, and put the file back."""
    path = tree / mutant.file
    whole = path.read_text(encoding="utf-8")
    took = 0.0
    try:
        path.write_text(planted(mutant, whole), encoding="utf-8")
        forget(tree, path)
        for stage in READER_STAGES if path.suffix == ".pyx" else STAGES:
            status, said, seconds = run(tree, stage, limits[stage])
            took += seconds
            if status is None:
                return Outcome("caught", f"takes longer than {limits[stage]:.0f} s", took)
            if status == 0:
                continue
            failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
            if status == 1 and failed:
                return Outcome("caught", failed[1].removeprefix("tests/"), took)
            return Outcome("broken", f"pytest exits {status}: {said[-300:]}", took)
    except Unplantable as error:
        return Outcome("broken", str(error), took)
    finally:
        path.write_text(whole, encoding="utf-8")
        forget(tree, path)
    return Outcome("survived", "", took)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)  # so that the folders go away
    options = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    options.add_argument("--only", metavar="PATTERN", default="", help="only mutants whose `file: name` matches")
    options.add_argument("--jobs", type=int, default=2, help="how many at a time")
    options.add_argument("--list", action="store_true", help="say what there is, and stop")
    given = options.parse_args()
    catalogue = read_all()
    mutants = [one for one in catalogue if re.search(given.only, f"{one.file}: {one.name}")]
    if given.list:
        for one in mutants:
            print(f"{one.name:44} {one.file:38} {one.why}")
        return 0
    wrong = check(catalogue)
    if wrong or not mutants:
        print("\n".join(wrong or [f"nothing matches {given.only}"]))
        return 2

    with tempfile.TemporaryDirectory(prefix="chalk-mutants-") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.jobs):
            trees.put(copied(Path(folder) / str(number)))
        tree = trees.get()
        limits = {}
        for stage in (*STAGES, *READER_STAGES):
            status, said, seconds = run(tree, stage, None)
            if status != 0:
                print(f"the tests fail without any mutant:\n{said[-3000:]}")
                return 2
            print(f"without a mutant all pass in {seconds:.1f} s: {' '.join(stage)}", flush=True)
            limits[stage] = max(60.0, LONGER * seconds * given.jobs)
        trees.put(tree)

        def one_of(mutant: Mutant) -> tuple[Mutant, Outcome]:
            tree = trees.get()
            try:
                return mutant, judged(mutant, tree, limits)
            finally:
                trees.put(tree)

        found = []
        pool = ThreadPoolExecutor(given.jobs)
        try:
            for mutant, outcome in pool.map(one_of, mutants):
                mark = {"caught": " ", "survived": "!", "broken": "?"}[outcome.fate]
                print(f"{mark} {mutant.name:44} {outcome.fate:9} {outcome.seconds:5.1f} s  {outcome.by}", flush=True)
                found.append((mutant, outcome))
        finally:
            pool.shutdown(cancel_futures=True)
    survived = [mutant for mutant, outcome in found if outcome.fate == "survived"]
    broken = [mutant for mutant, outcome in found if outcome.fate == "broken"]
    for mutant in survived:
        print(f"\nnot caught: {mutant.name} in {mutant.file}: {mutant.why}\n- {mutant.old}\n+ {mutant.new}")
    print(f"\ncaught {sum(outcome.fate == 'caught' for _, outcome in found)} of {len(found)}")
    return 2 if broken else 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
