"""The planted faults, read from `faults/*.txt`.

    @ services/scoring/core/marks.py        the file of all that follow

    cuts: 0.0075 is 0.01                    a name, and what would be wrong for people
    -the exact old text                     one or several lines, each after its sign as it stands in the file; a line may be
    +the new text                           a part of one in the file, and there may be no new one

The old text has to be in the file exactly once. Blank lines part faults, `#` begins a remark.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "faults"
# from records and the rule files' numbers over events to flags and their log
AREAS = ("reading", "days", "study", "facts", "marks", "result", "flags", "log", "caches")


class Mutant(NamedTuple):
    """One wrong change of one file."""

    name: str
    file: str
    old: str
    new: str
    why: str


class Misread(ValueError):
    """A file of faults that does not have the form above."""


def read(text: str, origin: str) -> list[Mutant]:
    """The faults of one file. Raises Misread with its place."""
    found: list[Mutant] = []
    file, head = "", ""
    old: list[str] = []
    new: list[str] = []

    def end() -> None:
        nonlocal head, old, new
        if head:
            name, colon, why = head.partition(": ")
            if not (file and colon and old):
                raise Misread(f"{origin}: {head!r} lacks its file, its reason or its old text")
            found.append(Mutant(name, file, "\n".join(old), "\n".join(new), why))
        head, old, new = "", [], []

    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            end()
        elif line.startswith("#") and not head:
            continue
        elif line.startswith("@ ") and not head:
            file = line[2:].strip()
        elif line[0] in "-+" and head:
            (old if line[0] == "-" else new).append(line[1:])
        elif not head:
            head = line
        else:
            raise Misread(f"{origin}:{number}: {line!r} is neither old nor new text")
    end()
    return found


def read_all() -> list[Mutant]:
    """Every fault of every area."""
    return [one for area in AREAS for one in read((FOLDER / f"{area}.txt").read_text(encoding="utf-8"), f"{area}.txt")]
