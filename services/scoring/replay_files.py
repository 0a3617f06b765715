"""What `chalk replay` keeps under CHALK_DATA/replay: per generation its rule files, logs and lock; the rule files it took out of use.

    replay/NAME/rules/*.yaml   replay/NAME/scoring.log, loader.log   replay/NAME/lock   replay/.former-N/*.yaml

A generation's folder is held by one command at a time. Rule files come into CHALK_PROGRAMMES by renaming, all together within
milliseconds; services take a set once it has been at rest for seconds (`services.shared.rules_watch`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from schemas.programme import Programme, RuleError, digest, load_programmes
from schemas.rulefile import read_rules
from schemas.ruleyaml import read_document
from services.shared.generation import Generation

YAML = (".yaml", ".yml")
FORMER = ".former-"
UNDONE = ".undone-"


class Refused(Exception):
    """What was asked for can't be done; the text says why, and what can."""


def rule_files(folder: Path) -> list[Path]:
    """The rule files of a folder, by name. Raises Refused."""
    try:
        return sorted(one for one in folder.iterdir() if one.suffix in YAML and one.is_file())
    except OSError as error:
        raise Refused(f"{folder} is no folder of rule files: {error.strerror}") from error


def proposed(rules: Path, running: Path) -> dict[str, bytes]:
    """File name -> text of the rules to replay by: those of a folder; or, for one file, the running ones with its programme's replaced.

    Raises Refused, RuleError.
    """
    if rules.is_dir():
        found = {one.name: one.read_bytes() for one in rule_files(rules)}
        if not found:
            raise Refused(f"{rules} has no rule file (*.yaml, *.yml)")
        load_programmes(rules)
        return found
    if not rules.is_file():
        raise Refused(f"{rules} is neither a rule file nor a folder of them")
    found = {one.name: one.read_bytes() for one in rule_files(running)}
    mine = read_rules(read_document(rules)).id
    same = [one.name for one in rule_files(running) if read_rules(read_document(one)).id == mine]
    name = same[0] if same else rules.name
    if not same and name in found:
        raise Refused(f"{rules} is of programme {mine}, but {running / name} is of another: give the file another name")
    return found | {name: rules.read_bytes()}


class Shadow:
    """One generation's folder. Raises `BadName` for a name that none can have."""

    def __init__(self, data: Path, name: str) -> None:
        self.generation = Generation(name)
        if not name:
            raise Refused("a generation needs a name, such as 2024-gate: the one without is the live one")
        self.root = data.resolve() / "replay"
        self.folder = self.root / name
        self.rules = self.folder / "rules"
        self.was_live = self.folder / "was-live"
        """There once the live services were told to stand on it: from then on its own topics and tables lack what happened."""

    @property
    def exists(self) -> bool:
        return self.rules.is_dir()

    def programmes(self) -> dict[str, Programme]:
        """Of the rule files kept. Raises Refused, RuleError."""
        if not self.exists:
            raise Refused(f"there is no generation {self.generation.name} here ({self.folder}); `chalk replay list` says which there are")
        return load_programmes(self.rules)

    def keep(self, files: Mapping[str, bytes]) -> dict[str, Programme]:
        """Keep the rule files; those that are kept already must say the same. Raises Refused, RuleError."""
        fresh = self.folder / "rules.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            for name, text in files.items():
                (fresh / name).write_bytes(text)
            programmes = load_programmes(fresh)
            if not self.exists:
                fresh.rename(self.rules)
            elif digest(programmes) != digest(self.programmes()):
                name = self.generation.name
                raise Refused(f"{name} was made by other rules ({self.rules}); choose another name, or `chalk replay drop {name}` first")
            return programmes
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """For one command alone. A folder that no rule files came into goes away again. Raises Refused where another has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / "lock", f"another `chalk replay` works on {self.generation.name}"):
            try:
                yield
            finally:
                if not self.exists:
                    shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def busy(self) -> bool:
        """Whether a command works on it now."""
        if not self.folder.is_dir():
            return False
        try:
            with self.held():
                return False
        except Refused:
            return True


@contextmanager
def _locked(path: Path, otherwise: str) -> Iterator[None]:
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(otherwise) from None
        yield
    finally:
        os.close(lock)


class Programmes:
    """CHALK_PROGRAMMES and the sets of rule files that were there before."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self._root = folder.resolve(), data.resolve() / "replay"

    @contextmanager
    def held(self) -> Iterator[None]:
        """For one command that changes them. Raises Refused."""
        self._root.mkdir(parents=True, exist_ok=True)
        with _locked(self._root / ".lock", "another `chalk replay switch` or `back` is under way"):
            yield

    def former(self) -> Path | None:
        """The set that was last taken out of use."""
        kept = self._numbered(FORMER)
        return kept[max(kept)] if kept else None

    def _numbered(self, prefix: str) -> dict[int, Path]:
        if not self._root.is_dir():
            return {}
        found = [one for one in self._root.iterdir() if one.name.startswith(prefix) and one.name[len(prefix) :].isdigit()]
        return {int(one.name[len(prefix) :]): one for one in found}

    def put(self, source: Path) -> Path:
        """Put a folder's rule files in place of these, which are kept: returns where. Raises Refused, RuleError, before anything moves."""
        load_programmes(source)
        kept = self._keep(FORMER)
        self._install(source)
        return kept

    def put_back(self) -> Path:
        """The set last taken out of use, in place of these; returns where these are kept. Raises Refused."""
        former = self.former()
        if former is None:
            raise Refused(f"{self._root} keeps no former rule files: nothing was switched from here")
        kept = self._keep(UNDONE)
        self._install(former)
        shutil.rmtree(former)
        return kept

    def _keep(self, prefix: str) -> Path:
        numbers = self._numbered(FORMER).keys() | self._numbered(UNDONE).keys()
        kept = self._root / f"{prefix}{max(numbers, default=0) + 1}"
        making = self._root / ".making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for path in rule_files(self.folder):
            shutil.copy2(path, making / path.name)
        making.rename(kept)  # a death before this leaves nothing that looks like a kept set
        return kept

    def _install(self, source: Path) -> None:
        """Copies lie ready beside the files before the first is renamed, so that nothing slow comes between two of them."""
        files = rule_files(source)
        staged = []
        try:
            for path in files:
                ready = self.folder / f".{path.name}.new"  # no rule file by its suffix
                shutil.copy2(path, ready)
                staged.append((ready, self.folder / path.name))
            gone = [one for one in rule_files(self.folder) if one.name not in {path.name for path in files}]
            for ready, place in staged:
                os.replace(ready, place)
            for path in gone:
                path.unlink()
        except OSError as error:
            for ready, _ in staged:
                ready.unlink(missing_ok=True)
            raise Refused(f"{self.folder} can't be written: {error}; put the rule files there yourself, from {source}") from error


def same(one: Path, other: Path) -> bool:
    """Whether two folders' rule files say the same. Raises RuleError."""
    return digest(load_programmes(one)) == digest(load_programmes(other))


def generations(data: Path) -> list[str]:
    """Names of the generations that have a folder here."""
    root = data.resolve() / "replay"
    if not root.is_dir():
        return []
    return sorted(one.name for one in root.iterdir() if (one / "rules").is_dir() and not one.name.startswith("."))


__all__ = ["Programmes", "Refused", "RuleError", "Shadow", "generations", "proposed", "rule_files", "same"]
