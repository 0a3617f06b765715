"""The planted faults can still be planted: whoever changes a line that one of them names moves the fault along."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import check
from tests.mutants.catalogue import Misread, Mutant, read, read_all


def test_every_fault_can_be_planted() -> None:
    found = read_all()
    assert check(found) == []
    assert len(found) >= 200
    assert all(one.why and one.old != one.new for one in found)


def test_what_cannot_be_planted_is_named() -> None:
    marks = "services/scoring/core/marks.py"
    wrong = check(
        [
            Mutant("twice", marks, "import", "import", "comes often"),
            Mutant("gone", marks, "no such text", "", "is not there"),
            Mutant("no-python", marks, "def times(", "def times((", "is no Python"),
            Mutant("no-file", "services/none.py", "a", "b", "has no file"),
            Mutant("gone", marks, "def times(", "def timed(", "has the name of another"),
        ]
    )
    assert [line.partition(":")[0] for line in wrong[:4]] == ["gone", "twice", "gone", "no-python"]
    assert "comes twice" in wrong[0]
    assert "0 times" in wrong[2]
    assert "none.py" in wrong[4]


def test_the_form_of_a_fault() -> None:
    text = "# remark\n\n@ a.py\n\nname: why: so\n-old\n-  more\n+new\n\nremoved: why\n-gone\n"
    assert read(text, "x.txt") == [Mutant("name", "a.py", "old\n  more", "new", "why: so"), Mutant("removed", "a.py", "gone", "", "why")]


@pytest.mark.parametrize(
    "text", ["name: why\n-old\n", "@ a.py\n\nname\n-old\n", "@ a.py\n\nname: why\n+new\n", "@ a.py\n\nname: why\nold\n"]
)
def test_what_has_another_form_is_misread(text: str) -> None:
    with pytest.raises(Misread, match=r"^x\.txt:"):
        read(text, "x.txt")
