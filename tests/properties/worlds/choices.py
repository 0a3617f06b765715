"""Where generated worlds take their choices from: Hypothesis (which shrinks what fails) or a seed (which is fast)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

_T = TypeVar("_T")


class Choices(Protocol):
    """Small numbers are the plain choice: 0 is the first of a sequence, and what shrinking goes to."""

    def integer(self, low: int, high: int) -> int: ...

    def choice(self, options: Sequence[_T]) -> _T: ...

    def chance(self, percent: int) -> bool: ...

    def some(self, options: Sequence[_T], at_least: int = 0) -> list[_T]: ...

    def many(self, make: Callable[[Choices], _T], most: int) -> list[_T]: ...


class _Base:
    def integer(self, low: int, high: int) -> int:
        raise NotImplementedError

    def choice(self, options: Sequence[_T]) -> _T:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """True so often of a hundred."""
        return self.integer(0, 99) >= 100 - percent

    def some(self, options: Sequence[_T], at_least: int = 0) -> list[_T]:
        """So many or more different ones, in any order."""
        left, found = list(options), []
        for _ in range(self.integer(at_least, len(left))):
            found.append(left.pop(self.integer(0, len(left) - 1)))
        return found


class Seeded(_Base):
    """Choices from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random.random() * (high - low + 1))

    def many(self, make: Callable[[Choices], _T], most: int) -> list[_T]:
        return [make(self) for _ in range(self.integer(0, most))]


@lru_cache(4096)
def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


class Drawn(_Base):
    """Choices that Hypothesis draws."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(_integers(low, high)))

    def many(self, make: Callable[[Choices], _T], most: int) -> list[_T]:
        least = self.choice((0, most // 4, most // 2, most // 8))  # left alone, lists are mostly shorter than that
        found: list[_T] = self._draw(st.lists(_made(make), min_size=least, max_size=most))
        return found


@st.composite
def _made(draw: st.DrawFn, make: Callable[[Choices], Any]) -> Any:
    return make(Drawn(draw))
